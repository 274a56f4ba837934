#pragma once
// Inside the kernels room: the AVX2 kernels that use AVX-VNNI. Everything that is not
// declared here is AVX2's.
#include "kernels/avx2.h"

namespace floe::avxvnni {

using namespace avx2;

FLOE_KERNEL(avxvnni, matmul)

void matmul_small(QuantType type, const MatmulCall& call);
void matmul_k(QuantType type, const MatmulCall& call);

}  // namespace floe::avxvnni

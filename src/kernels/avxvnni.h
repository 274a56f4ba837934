#pragma once
// Inside the kernels room: the AVX2 kernels that use AVX-VNNI. Everything else is AVX2's.
#include "kernels/avx2.h"

namespace floe::avxvnni {

using namespace avx2;

std::remove_pointer_t<decltype(KernelTable::matmul)> matmul;

void matmul_small(QuantType type, const MatmulCall& call);
void matmul_k(QuantType type, const MatmulCall& call);

}  // namespace floe::avxvnni

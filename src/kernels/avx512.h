#pragma once
// Inside the kernels room: the AVX-512 kernels (F, BW, VL, DQ, VNNI). Everything that is not
// declared here is AVX2's.
#include "kernels/avx2.h"

namespace floe::avx512 {

using namespace avx2;

FLOE_KERNEL(avx512, matmul)
FLOE_KERNEL(avx512, attn_scores)
FLOE_KERNEL(avx512, attn_values)
FLOE_KERNEL(avx512, softmax_block)
FLOE_KERNEL(avx512, indexer_scores)

void matmul_small(QuantType type, const MatmulCall& call);
void matmul_k(QuantType type, const MatmulCall& call);

}  // namespace floe::avx512

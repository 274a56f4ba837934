#pragma once
// Inside the kernels room: the AVX-512 kernels (F, BW, VL, DQ, VNNI). What has gained nothing from
// the wider vectors is AVX2's.
#include "kernels/avx2.h"

namespace floe::avx512 {

using namespace avx2;

std::remove_pointer_t<decltype(KernelTable::matmul)> matmul;

void matmul_small(QuantType type, const MatmulCall& call);
void matmul_k(QuantType type, const MatmulCall& call);

}  // namespace floe::avx512

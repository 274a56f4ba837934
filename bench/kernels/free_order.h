#pragma once
// The AVX-512 matrix kernels without the promise that a row's bits do not depend on the number of
// rows: Q4_0, Q8_0, Q4_K and Q6_K; other formats as they are.
#include "kernels/kernel_table.h"

namespace floe {

void free_order_matmul(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin,
                       uint32_t group_end, const ActivationRows& x, const uint32_t* ids,
                       uint32_t n_ids, float* out, size_t out_stride);

}  // namespace floe

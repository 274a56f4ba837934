// NEON matrix kernels for machines with smmla.
#include "kernels/matmul_neon.h"

namespace floe::neon_i8mm {

void matmul(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin, uint32_t group_end,
            const ActivationRows& x, const uint32_t* ids, uint32_t n_ids, float* out,
            size_t out_stride) {
  matmul_any<MatrixProducts>(weights.type, matmul_call(weights, plane, group_begin, group_end, x,
                                                       ids, n_ids, out, out_stride));
}

}  // namespace floe::neon_i8mm

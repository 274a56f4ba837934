// AVX-512 matrix kernels of the formats with one scale per 32 columns, and the choice among all
// formats.
#include "kernels/avx512.h"
#include "kernels/matmul_vnni_formats.h"

namespace floe::avx512 {

void matmul_small(QuantType type, const MatmulCall& call) {
  matmul_blocks_small(type, call);
}

void matmul(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin, uint32_t group_end,
            const ActivationRows& x, const uint32_t* ids, uint32_t n_ids, float* out,
            size_t out_stride) {
  matmul_any(weights.type,
             matmul_call(weights, plane, group_begin, group_end, x, ids, n_ids, out, out_stride),
             matmul_small, matmul_k);
}

}  // namespace floe::avx512

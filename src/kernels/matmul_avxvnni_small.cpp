// AVX-VNNI matrix kernels of the formats with one scale per 32 columns, and the choice among all
// formats.
#include "kernels/avxvnni.h"
#include "kernels/matmul_vnni_formats.h"

namespace floe::avxvnni {

void matmul_small(QuantType type, const MatmulCall& call) {
  matmul_blocks_small(type, call);
}

void matmul(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin, uint32_t group_end,
            const ActivationRows& x, const uint32_t* ids, uint32_t n_ids, float* out,
            size_t out_stride) {
  const MatmulCall call =
      matmul_call(weights, plane, group_begin, group_end, x, ids, n_ids, out, out_stride);
  switch (weights.type) {
    case QuantType::F32:
      return matmul_f32(call);
    case QuantType::F16:
      return matmul_f16(call);
    case QuantType::BF16:
      return matmul_bf16(call);
    case QuantType::Q2_K:
    case QuantType::Q3_K:
    case QuantType::Q4_K:
    case QuantType::Q5_K:
    case QuantType::Q6_K:
    case QuantType::IQ4_XS:
      return matmul_k(weights.type, call);
    default:
      return matmul_small(weights.type, call);
  }
}

}  // namespace floe::avxvnni

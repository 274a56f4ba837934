// AVX-512 matrix kernels of the formats with 256-column blocks and sub-block scales.
#include "kernels/avx512.h"
#include "kernels/matmul_vnni_formats.h"

namespace floe::avx512 {

void matmul_k(QuantType type, const MatmulCall& call) {
  matmul_blocks_k(type, call);
}

}  // namespace floe::avx512

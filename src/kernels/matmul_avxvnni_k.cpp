// AVX-VNNI matrix kernels of the formats with 256-column blocks and sub-block scales.
#include "kernels/avxvnni.h"
#include "kernels/matmul_vnni_formats.h"

namespace floe::avxvnni {

void matmul_k(QuantType type, const MatmulCall& call) {
  matmul_blocks_k(type, call);
}

}  // namespace floe::avxvnni

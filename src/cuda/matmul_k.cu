// Formats with blocks of 256 columns and scales of their parts.
#include "cuda/matmul.cuh"

namespace floe::cuda {

void launch_k(cudaStream_t stream, QuantType type, ProductSet& set) {
  switch (type) {
    case QuantType::Q2_K:
      return launch_blocks<QuantType::Q2_K>(stream, set);
    case QuantType::Q3_K:
      return launch_blocks<QuantType::Q3_K>(stream, set);
    case QuantType::Q4_K:
      return launch_blocks<QuantType::Q4_K>(stream, set);
    case QuantType::Q5_K:
      return launch_blocks<QuantType::Q5_K>(stream, set);
    case QuantType::Q6_K:
      return launch_blocks<QuantType::Q6_K>(stream, set);
    case QuantType::IQ4_XS:
      return launch_blocks<QuantType::IQ4_XS>(stream, set);
    default:
      return;
  }
}

}  // namespace floe::cuda

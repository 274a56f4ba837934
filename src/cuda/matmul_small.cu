// Formats with a scale for every 32 columns.
#include "cuda/matmul.cuh"

namespace floe::cuda {

void launch_small(cudaStream_t stream, QuantType type, ProductSet& set) {
  switch (type) {
    case QuantType::Q4_0:
      return launch_blocks<QuantType::Q4_0>(stream, set);
    case QuantType::Q4_1:
      return launch_blocks<QuantType::Q4_1>(stream, set);
    case QuantType::Q5_0:
      return launch_blocks<QuantType::Q5_0>(stream, set);
    case QuantType::Q5_1:
      return launch_blocks<QuantType::Q5_1>(stream, set);
    case QuantType::Q8_0:
      return launch_blocks<QuantType::Q8_0>(stream, set);
    case QuantType::IQ4_NL:
      return launch_blocks<QuantType::IQ4_NL>(stream, set);
    case QuantType::MXFP4:
      return launch_blocks<QuantType::MXFP4>(stream, set);
    default:
      return;
  }
}

}  // namespace floe::cuda

// Formats with a scale for every 32 columns.
#include "cuda/ring_rows.cuh"

namespace floe::cuda {

void launch_small(cudaStream_t stream, QuantType type, ProductSet& set) {
  switch (type) {
    case QuantType::Q4_0:
      return launch_quantised<QuantType::Q4_0>(stream, set);
    case QuantType::Q4_1:
      return launch_quantised<QuantType::Q4_1>(stream, set);
    case QuantType::Q5_0:
      return launch_quantised<QuantType::Q5_0>(stream, set);
    case QuantType::Q5_1:
      return launch_quantised<QuantType::Q5_1>(stream, set);
    case QuantType::Q8_0:
      return launch_quantised<QuantType::Q8_0>(stream, set);
    case QuantType::IQ4_NL:
      return launch_quantised<QuantType::IQ4_NL>(stream, set);
    case QuantType::MXFP4:
      return launch_quantised<QuantType::MXFP4>(stream, set);
    default:
      return;
  }
}

bool launch_small_gated(cudaStream_t stream, QuantType type, ProductSet& set,
                        const GatedRows& out) {
  switch (type) {
    case QuantType::Q4_0:
      return launch_gated<QuantType::Q4_0>(stream, set, out);
    case QuantType::Q4_1:
      return launch_gated<QuantType::Q4_1>(stream, set, out);
    case QuantType::Q5_0:
      return launch_gated<QuantType::Q5_0>(stream, set, out);
    case QuantType::Q5_1:
      return launch_gated<QuantType::Q5_1>(stream, set, out);
    case QuantType::Q8_0:
      return launch_gated<QuantType::Q8_0>(stream, set, out);
    case QuantType::IQ4_NL:
      return launch_gated<QuantType::IQ4_NL>(stream, set, out);
    case QuantType::MXFP4:
      return launch_gated<QuantType::MXFP4>(stream, set, out);
    default:
      return false;
  }
}

}  // namespace floe::cuda

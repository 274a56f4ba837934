// Formats with blocks of 256 columns and scales of their parts.
#include "cuda/ring_rows.cuh"

namespace floe::cuda {

void launch_k(cudaStream_t stream, QuantType type, ProductSet& set) {
  switch (type) {
    case QuantType::Q2_K:
      return launch_quantised<QuantType::Q2_K>(stream, set);
    case QuantType::Q3_K:
      return launch_quantised<QuantType::Q3_K>(stream, set);
    case QuantType::Q4_K:
      return launch_quantised<QuantType::Q4_K>(stream, set);
    case QuantType::Q5_K:
      return launch_quantised<QuantType::Q5_K>(stream, set);
    case QuantType::Q6_K:
      return launch_quantised<QuantType::Q6_K>(stream, set);
    case QuantType::IQ4_XS:
      return launch_quantised<QuantType::IQ4_XS>(stream, set);
    default:
      return;
  }
}

bool launch_k_gated(cudaStream_t stream, QuantType type, ProductSet& set, const GatedRows& out) {
  switch (type) {
    case QuantType::Q2_K:
      return launch_gated<QuantType::Q2_K>(stream, set, out);
    case QuantType::Q3_K:
      return launch_gated<QuantType::Q3_K>(stream, set, out);
    case QuantType::Q4_K:
      return launch_gated<QuantType::Q4_K>(stream, set, out);
    case QuantType::Q5_K:
      return launch_gated<QuantType::Q5_K>(stream, set, out);
    case QuantType::Q6_K:
      return launch_gated<QuantType::Q6_K>(stream, set, out);
    case QuantType::IQ4_XS:
      return launch_gated<QuantType::IQ4_XS>(stream, set, out);
    default:
      return false;
  }
}

}  // namespace floe::cuda

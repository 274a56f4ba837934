#include "engine/stats.h"

#include <algorithm>
#include <bit>

namespace floe {

template <const auto& kBuckets>
void HistogramOf<kBuckets>::observe(double value) {
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), value);
  ++counts[static_cast<size_t>(bucket - kBounds.begin())];
  ++n_observations;
  sum += value;
}

template struct HistogramOf<kSecondsBounds>;
template struct HistogramOf<kExpertsBounds>;

uint32_t batch_bucket(uint32_t n_rows) {
  return std::min(static_cast<uint32_t>(std::bit_width(n_rows - 1)), kBatchBuckets - 1);
}

}  // namespace floe

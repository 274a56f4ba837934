#include "draft/time_model.h"

#include <algorithm>

namespace floe {

double KernelRates::macs_per_second(double rows) const {
  if (rows <= points_.front().rows) return points_.front().macs_per_second;
  for (size_t i = 1; i < points_.size(); ++i) {
    const Point& low = points_[i - 1];
    const Point& high = points_[i];
    if (rows > high.rows) continue;
    const double share = (rows - low.rows) / (high.rows - low.rows);
    const double seconds =
        (1 - share) * low.rows / low.macs_per_second + share * high.rows / high.macs_per_second;
    return rows / seconds;
  }
  return points_.back().macs_per_second;
}

double floor_seconds(const ByteLedger& ledger, const MachineRates& rates) {
  double seconds = 0;
  for (size_t i = 0; i < kLedgerClassCount; ++i) {
    const LedgerClass& kind = kLedgerClasses[i];
    const KernelRates& kernels = rates.kernels[rates.kernels.size() == 1 ? 0 : i];
    const auto n_bytes = static_cast<double>(ledger.*kind.bytes);
    const auto n_macs = static_cast<double>(ledger.*kind.macs);
    if (n_bytes == 0 && n_macs == 0) continue;
    const double n_weights = n_bytes / kernels.bytes_per_weight();
    const double macs_per_second = kind.macs == &ByteLedger::kv_macs
                                       ? rates.f32_macs_per_second
                                       : kernels.macs_per_second(n_macs / n_weights);
    seconds += std::max(n_bytes / rates.bytes_per_second, n_macs / macs_per_second);
  }
  return seconds;
}

double predicted_ratio(const ByteLedger& one, double seconds_of_one, const ByteLedger& many,
                       const MachineRates& rates) {
  const double floor_of_one = floor_seconds(one, rates);
  const double t0 = std::max(0.0, seconds_of_one - floor_of_one);
  return (t0 + floor_seconds(many, rates)) / (t0 + floor_of_one);
}

}  // namespace floe

#include "lab/time_model.h"

#include <algorithm>

namespace floe {

double floor_seconds(const ByteLedger& ledger, const MachineRates& rates) {
  double seconds = 0;
  for (const LedgerClass& kind : kLedgerClasses) {
    const auto n_bytes = static_cast<double>(ledger.*kind.bytes);
    const auto n_macs = static_cast<double>(ledger.*kind.macs);
    if (n_bytes == 0 && n_macs == 0) continue;
    const double n_weights = n_bytes / rates.kernels.bytes_per_weight();
    const double macs_per_second = kind.macs == &ByteLedger::kv_macs
                                       ? rates.f32_macs_per_second
                                       : rates.kernels.macs_per_second(n_macs / n_weights);
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

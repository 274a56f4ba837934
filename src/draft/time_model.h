#pragma once
// How long a forward should take, from what it reads and computes and what the machine can do:
//   t = t0 + sum over the ledger's classes of max(bytes / read bandwidth, MACs / C(rows per
//   weight))
// C is what the kernels reach on weights that come from memory, which depends on their format and
// on how many rows share a weight: with few rows it says how fast the kernels read, with many how
// fast they multiply, and between them how well they do both at once. t0 is what neither explains
// (norms, waits, sampling of the clock), taken from the forward of one row.
//
// The lab measures the rates (lab/kernel_rates.h, lab/floor.h).
#include <utility>
#include <vector>

#include "model/ledger.h"

namespace floe {

// Multiply-adds per second of all threads together, with weights of one format that come from
// memory, by the number of activation rows that share a weight.
class KernelRates {
 public:
  struct Point {
    double rows = 1;
    double macs_per_second = 0;
  };
  // points: at least one, rows ascending. bytes_per_weight: as packed.
  KernelRates(std::vector<Point> points, double bytes_per_weight)
      : points_(std::move(points)), bytes_per_weight_(bytes_per_weight) {}

  double bytes_per_weight() const { return bytes_per_weight_; }
  // Between two points the time that a weight takes runs straight; beyond the ends the rate stays.
  double macs_per_second(double rows) const;

 private:
  std::vector<Point> points_;
  double bytes_per_weight_;
};

struct MachineRates {
  double bytes_per_second = 0;
  // Products with weights: of each of kLedgerClasses, or one for all.
  std::vector<KernelRates> kernels;
  double f32_macs_per_second = 0;  // products with cached keys and values
};

// Without t0. The ledger is of one forward.
double floor_seconds(const ByteLedger& ledger, const MachineRates& rates);

// Predicted time of a forward of many rows over that of one row, which took seconds_of_one. Where
// the measured time is below the floor, t0 is 0.
double predicted_ratio(const ByteLedger& one, double seconds_of_one, const ByteLedger& many,
                       const MachineRates& rates);

}  // namespace floe

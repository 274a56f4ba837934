#pragma once
// How long a forward should take, from what it reads and computes and what the machine can do:
//   t = t0 + sum over the ledger's classes of max(bytes / read bandwidth, MACs / C(rows per
//   weight))
// A class waits for memory or for the arithmetic units, whichever is slower; C is what the kernels
// reach on weights in cache, which depends on how many rows share a weight. t0 is what neither
// explains (norms, waits, sampling of the clock), taken from the forward of one row.
#include "lab/kernel_rates.h"
#include "model/ledger.h"

namespace floe {

struct MachineRates {
  double bytes_per_second = 0;
  const KernelRates& kernels;      // products with weights, all taken as the model's main format
  double f32_macs_per_second = 0;  // products with cached keys and values
};

// Without t0. The ledger is of one forward.
double floor_seconds(const ByteLedger& ledger, const MachineRates& rates);

// Predicted time of a forward of many rows over that of one row, which took seconds_of_one. Where
// the measured time is below the floor, t0 is 0.
double predicted_ratio(const ByteLedger& one, double seconds_of_one, const ByteLedger& many,
                       const MachineRates& rates);

}  // namespace floe

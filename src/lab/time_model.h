#pragma once
// How long a forward should take, from what it reads and computes and what the machine can do:
//   t = t0 + sum over the ledger's classes of max(bytes / read bandwidth, MACs / compute peak)
// A class waits for memory or for the arithmetic units, whichever is slower; t0 is what neither
// explains (barriers, norms, sampling of the clock), taken from the forward of one row.
#include "lab/floor.h"
#include "model/ledger.h"

namespace floe {

struct MachineRates {
  double bytes_per_second = 0;
  double int8_macs_per_second = 0;  // products with weights
  double f32_macs_per_second = 0;   // products with cached keys and values
};

// Without t0. The ledger is of one forward.
double floor_seconds(const ByteLedger& ledger, const MachineRates& rates);

// Predicted time of a forward of many rows over that of one row, which took seconds_of_one. Where
// the measured time is below the floor, t0 is 0.
double predicted_ratio(const ByteLedger& one, double seconds_of_one, const ByteLedger& many,
                       const MachineRates& rates);

}  // namespace floe

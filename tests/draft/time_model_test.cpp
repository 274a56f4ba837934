#include "draft/time_model.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

// 1 s reads 1000 bytes; computes 500 products with weights of one byte where rows share them, 200
// where they do not; or 100 f32 products.
const KernelRates kKernels({{1, 200}, {2, 500}, {8, 500}}, 1.0);
const MachineRates kTimedMachine{1000, {kKernels}, 100};

TEST(KernelRates, TimesPerWeightRunStraightBetweenThePoints) {
  EXPECT_DOUBLE_EQ(kKernels.macs_per_second(0.5), 200);
  EXPECT_DOUBLE_EQ(kKernels.macs_per_second(1), 200);
  // 1 row takes 5 ms, 2 rows 4 ms: one and a half 4.5 ms.
  EXPECT_DOUBLE_EQ(kKernels.macs_per_second(1.5), 1.5 / 0.0045);
  EXPECT_DOUBLE_EQ(kKernels.macs_per_second(2), 500);
  EXPECT_DOUBLE_EQ(kKernels.macs_per_second(100), 500);
}

TEST(TimeModel, EachClassWaitsForTheSlowerOfMemoryAndArithmetic) {
  ByteLedger ledger;
  ledger.attention_bytes = 2000;  // 2 s, of bytes
  ledger.attention_macs = 300;
  ledger.routed_bytes = 1000;
  ledger.routed_macs = 2000;  // 4 s, of products: two rows share a weight
  EXPECT_DOUBLE_EQ(floor_seconds(ledger, kTimedMachine), 6.0);
  ledger.kv_bytes = 100;
  ledger.kv_macs = 50;  // 0.5 s at the f32 rate
  EXPECT_DOUBLE_EQ(floor_seconds(ledger, kTimedMachine), 6.5);
}

TEST(TimeModel, TheResidualOfOneRowIsPaidOnce) {
  ByteLedger one;
  one.dense_bytes = 1000;
  one.dense_macs = 100;
  ByteLedger eight = one;
  eight.dense_macs = 800;  // 4 s: less than one product per weight
  // Measured 1.5 s for a floor of 1 s: 0.5 s that rows do not multiply.
  EXPECT_DOUBLE_EQ(predicted_ratio(one, 1.5, eight, kTimedMachine), 4.5 / 1.5);
  EXPECT_DOUBLE_EQ(predicted_ratio(one, 1.5, one, kTimedMachine), 1.0);
  // Faster than the floor: no negative residual.
  EXPECT_DOUBLE_EQ(predicted_ratio(one, 0.9, eight, kTimedMachine), 4.0);
}

}  // namespace
}  // namespace floe

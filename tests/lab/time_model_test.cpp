#include "lab/time_model.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

// 1 s reads 1000 bytes, computes 500 int8 or 100 f32 products.
constexpr MachineRates kRates{1000, 500, 100};

TEST(TimeModel, EachClassWaitsForTheSlowerOfMemoryAndArithmetic) {
  ByteLedger ledger;
  ledger.attention_bytes = 2000;  // 2 s, of bytes
  ledger.attention_macs = 500;
  ledger.routed_bytes = 1000;
  ledger.routed_macs = 2000;  // 4 s, of products
  EXPECT_DOUBLE_EQ(floor_seconds(ledger, kRates), 6.0);
  ledger.kv_bytes = 100;
  ledger.kv_macs = 50;  // 0.5 s at the f32 rate
  EXPECT_DOUBLE_EQ(floor_seconds(ledger, kRates), 6.5);
}

TEST(TimeModel, TheResidualOfOneRowIsPaidOnce) {
  ByteLedger one;
  one.dense_bytes = 1000;
  one.dense_macs = 100;
  ByteLedger eight = one;
  eight.dense_macs = 800;  // 1.6 s
  // Measured 1.5 s for a floor of 1 s: 0.5 s that rows do not multiply.
  EXPECT_DOUBLE_EQ(predicted_ratio(one, 1.5, eight, kRates), 2.1 / 1.5);
  EXPECT_DOUBLE_EQ(predicted_ratio(one, 1.5, one, kRates), 1.0);
  // Faster than the floor: no negative residual.
  EXPECT_DOUBLE_EQ(predicted_ratio(one, 0.9, eight, kRates), 1.6);
}

}  // namespace
}  // namespace floe

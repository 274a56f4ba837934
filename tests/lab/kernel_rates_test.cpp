#include "lab/kernel_rates.h"

#include <gtest/gtest.h>

#include <cmath>

namespace floe {
namespace {

TEST(KernelRates, AreMeasuredForEveryFormat) {
  ThreadPool pool(1);
  for (const QuantType format :
       {QuantType::Q4_0, QuantType::Q6_K, QuantType::MXFP4, QuantType::F32}) {
    const KernelRates rates = measure_kernel_rates(pool, format);
    for (const uint32_t n_rows : {1u, 16u}) {
      EXPECT_GT(rates.macs_per_second(n_rows), 0);
      EXPECT_TRUE(std::isfinite(rates.macs_per_second(n_rows)));
    }
    const FormatTraits& traits = format_traits(format);
    EXPECT_NEAR(rates.bytes_per_weight(), double{1} * traits.block_bytes / traits.block_elems,
                0.05);
  }
}

}  // namespace
}  // namespace floe

#include "lab/kernel_rates.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

TEST(KernelRates, AreMeasuredForEveryFormat) {
  ThreadPool pool(1);
  for (const QuantType format :
       {QuantType::Q4_0, QuantType::Q6_K, QuantType::MXFP4, QuantType::F32}) {
    const KernelRates rates = measure_kernel_rates(pool, format);
    EXPECT_GT(rates.macs_per_second(1), 1e6);
    EXPECT_GT(rates.macs_per_second(16), rates.macs_per_second(1) / 4);
    const FormatTraits& traits = format_traits(format);
    EXPECT_NEAR(rates.bytes_per_weight(), double{1} * traits.block_bytes / traits.block_elems,
                0.05);
  }
}

}  // namespace
}  // namespace floe

#include "lab/kernel_rates.h"

#include <gtest/gtest.h>

#include <cmath>

namespace floe {
namespace {

TEST(KernelRates, AreMeasuredForEveryFormat) {
  ThreadPool pool(1);
  const std::vector<QuantType> formats = {QuantType::Q4_0, QuantType::Q6_K, QuantType::Q4_0,
                                          QuantType::MXFP4, QuantType::F32};
  const auto measured = measure_kernel_rates(pool, formats);
  ASSERT_TRUE(measured.ok());
  ASSERT_EQ(measured->size(), formats.size());
  EXPECT_EQ((*measured)[0].macs_per_second(4), (*measured)[2].macs_per_second(4));
  for (size_t i = 0; i < formats.size(); ++i) {
    const KernelRates& rates = (*measured)[i];
    for (const uint32_t n_rows : {1u, 16u}) {
      EXPECT_GT(rates.macs_per_second(n_rows), 0);
      EXPECT_TRUE(std::isfinite(rates.macs_per_second(n_rows)));
    }
    const FormatTraits& traits = format_traits(formats[i]);
    EXPECT_NEAR(rates.bytes_per_weight(), double{1} * traits.block_bytes / traits.block_elems,
                0.05);
  }
}

}  // namespace
}  // namespace floe

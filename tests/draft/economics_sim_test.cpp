#include "economics_sim.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

SimOptions adaptive(double acceptance) {
  SimOptions options;
  options.n_tokens = 6000;
  SimDrafter drafter;
  drafter.acceptance = [acceptance](uint32_t, uint32_t) { return acceptance; };
  options.drafters = {drafter};
  return options;
}

double plain_rate(SimOptions options) {
  options.policy.mode = SpecMode::off;
  return simulate(options).tokens_per_second();
}

TEST(EconomicsSim, LosesAlmostNothingAndWinsWhatThereIs) {
  const double plain = plain_rate(adaptive(0));
  EXPECT_GT(simulate(adaptive(0.05)).tokens_per_second() / plain, 0.98);
  EXPECT_GT(simulate(adaptive(0.3)).tokens_per_second() / plain, 0.98);
  EXPECT_GT(simulate(adaptive(0.85)).tokens_per_second() / plain, 1.5);
  EXPECT_GT(simulate(adaptive(0.95)).tokens_per_second() / plain, 2.2);
}

}  // namespace
}  // namespace floe

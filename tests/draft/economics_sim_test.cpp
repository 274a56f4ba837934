// What the controller wins and loses in virtual time, against decoding without guesses on the same
// machine and text.
#include "economics_sim.h"

#include <gtest/gtest.h>

#include <chrono>
#include <tuple>

namespace floe {
namespace {

using Rightness = std::function<double(uint32_t, uint32_t)>;

struct Regime {
  const char* name;
  Rightness acceptance;
  double least_free;  // speed over plain decoding that a free drafter must reach at least
  double least_paid;  // and one whose token costs 4.4 % of a step
};

Rightness constant(double value) {
  return [value](uint32_t, uint32_t) { return value; };
}

Rightness alternating(uint32_t period) {
  return [period](uint32_t, uint32_t p) { return p / period % 2 == 0 ? 0.95 : 0.05; };
}

const Regime kRegimes[] = {
    {"nothing", constant(0.05), 0.98, 0.98},
    {"little", constant(0.3), 0.98, 0.98},
    {"half", constant(0.5), 1.04, 0.98},
    {"most", constant(0.7), 1.2, 1.14},
    {"much", constant(0.85), 1.53, 1.4},
    {"all", constant(0.95), 2.2, 1.95},
    {"by 200", alternating(200), 1.28, 1.15},
    {"by 40", alternating(40), 1.15, 1.02},
    {"bursts", [](uint32_t, uint32_t p) { return p % 900 < 100 ? 0.95 : 0.05; }, 1.02, 0.98},
};

SimOptions with(SimDrafter drafter, uint32_t n_sequences, uint32_t n_tokens) {
  SimOptions options;
  options.n_sequences = n_sequences;
  options.n_tokens = n_tokens;
  options.drafters = {std::move(drafter)};
  return options;
}

SimDrafter free_drafter(Rightness acceptance) {
  return {DraftSource::prompt_lookup, false, 0, std::move(acceptance), {}};
}

SimDrafter paid_drafter(Rightness acceptance) {
  return {DraftSource::mtp, true, 0.044, std::move(acceptance), {}};
}

double plain_rate(SimOptions options) {
  options.policy.mode = SpecMode::off;
  return simulate(options).tokens_per_second();
}

double fixed_rate(SimOptions options, uint32_t n_fixed) {
  options.policy.mode = SpecMode::fixed;
  options.policy.n_fixed = n_fixed;
  return simulate(options).tokens_per_second();
}

class EveryRegime : public ::testing::TestWithParam<std::tuple<Regime, bool>> {};

TEST_P(EveryRegime, LosesAlmostNothingAndWinsWhatThereIs) {
  const auto& [regime, is_free] = GetParam();
  double mean = 0;
  for (const uint64_t seed : {1, 2}) {
    SimOptions options =
        with(is_free ? free_drafter(regime.acceptance) : paid_drafter(regime.acceptance), 1, 10000);
    options.seed = seed;
    const double plain = plain_rate(options);
    const SimResult result = simulate(options);
    EXPECT_GT(result.tokens_per_second() / plain, 0.98);
    EXPECT_GT(result.slowest(500) / plain, 0.95);
    mean += result.tokens_per_second() / plain / 2;
  }
  EXPECT_GT(mean, is_free ? regime.least_free : regime.least_paid);
  RecordProperty("speed", std::to_string(mean));
}

INSTANTIATE_TEST_SUITE_P(Sim, EveryRegime,
                         ::testing::Combine(::testing::ValuesIn(kRegimes), ::testing::Bool()),
                         [](const auto& test) {
                           std::string name = std::get<0>(test.param).name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name + (std::get<1>(test.param) ? "_free" : "_paid");
                         });

class EveryBatch : public ::testing::TestWithParam<uint32_t> {};

TEST_P(EveryBatch, LosesAlmostNothingAndComesNearTheBestFixedNumber) {
  const uint32_t n = GetParam();
  for (const double right : {0.05, 0.5, 0.85}) {
    for (const bool is_free : {true, false}) {
      SimDrafter drafter = is_free ? free_drafter(constant(right)) : paid_drafter(constant(right));
      const SimOptions options = with(std::move(drafter), n, 1600);
      const double plain = plain_rate(options);
      const SimResult result = simulate(options);
      EXPECT_GT(result.tokens_per_second() / plain, 0.98) << right;
      EXPECT_GT(result.slowest(500 * n) / plain, 0.95) << right;
      double best = plain;
      for (const uint32_t k : {1u, 2u, 4u, 8u}) best = std::max(best, fixed_rate(options, k));
      EXPECT_GT(result.tokens_per_second() / best, right == 0.5 ? 0.93 : 0.95)
          << right << (is_free ? " free" : " paid");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sim, EveryBatch, ::testing::Values(1, 2, 4, 8));

TEST(EconomicsSim, AForwardThatTakesAThirdLongerThanItsBytesSayIsFoundOut) {
  for (const double right : {0.3, 0.6, 0.8}) {
    SimOptions options = with(free_drafter(constant(right)), 1, 10000);
    options.verify_surprise = 1.3;
    const double plain = plain_rate(options);
    const SimResult result = simulate(options);
    EXPECT_GT(result.tokens_per_second() / plain, right > 0.7 ? 1.02 : 0.98) << right;
    EXPECT_GT(result.slowest(500) / plain, 0.95) << right;
  }
}

// Where products take the time that bytes do not, bytes alone promise too much: rates tell, and
// without them the timed verifies do.
TEST(EconomicsSim, ComputeBoundRowsAreNotTakenForFree) {
  for (const bool told : {true, false}) {
    SimOptions options = with(free_drafter(constant(0.5)), 1, 6000);
    options.macs_per_second = 1.2 * 19.772e9;
    if (told) {
      options.rates =
          MachineRates{19.772e9, {KernelRates({{1, options.macs_per_second}}, 1)}, 1e30};
    }
    const double plain = plain_rate(options);
    EXPECT_GT(simulate(options).tokens_per_second() / plain, 0.98) << told;
  }
}

// Four texts of which some repeat themselves: rows go where they are worth most.
TEST(EconomicsSim, RowsGoToTheSequencesThatUseThem) {
  const auto mixed = [](uint32_t sequence, uint32_t) {
    constexpr double kRight[] = {0.95, 0.7, 0.2, 0.05};
    return kRight[sequence];
  };
  const SimOptions options = with(free_drafter(mixed), 4, 2000);
  const double adaptive = simulate(options).tokens_per_second();
  for (uint32_t k = 0; k <= 8; ++k) {
    EXPECT_GT(adaptive, 1.05 * fixed_rate(options, k)) << k;
  }
}

// The better drafter guesses, whichever it is.
TEST(EconomicsSim, ABadFreeDrafterDoesNotKeepAGoodOneFromGuessing) {
  for (const double lookup : {0.1, 0.95}) {
    SimOptions options = with(free_drafter(constant(lookup)), 1, 6000);
    options.drafters.push_back(paid_drafter(constant(0.85)));
    const double plain = plain_rate(options);
    EXPECT_GT(simulate(options).tokens_per_second() / plain, lookup > 0.5 ? 2.15 : 1.38) << lookup;
  }
}

// A drafter that knows when it is right is worth more than its average.
TEST(EconomicsSim, ConfidenceIsUsed) {
  const auto is_sure = [](uint32_t, uint32_t p) { return p / 16 % 2 == 0; };
  SimDrafter drafter =
      free_drafter([&](uint32_t s, uint32_t p) { return is_sure(s, p) ? 0.95 : 0.05; });
  const double plain = plain_rate(with(drafter, 1, 6000));
  const double blind = simulate(with(drafter, 1, 6000)).tokens_per_second();
  drafter.confidence = [&](uint32_t s, uint32_t p) {
    return is_sure(s, p) ? uint8_t{7} : uint8_t{1};
  };
  const double seeing = simulate(with(drafter, 1, 6000)).tokens_per_second();
  EXPECT_GT(seeing, 1.1 * blind);
  EXPECT_GT(seeing / plain, 1.3);
}

// A machine that halts for a while now and then, and one that becomes half as fast for good.
TEST(EconomicsSim, SurvivesADisturbedMachine) {
  SimOptions options = with(free_drafter(constant(0.85)), 1, 6000);
  options.disturb = [](uint32_t step, double* seconds) {
    if (step % 97 == 50) *seconds += 3;
    if (step > 1000) *seconds *= 2;
  };
  EXPECT_GT(simulate(options).tokens_per_second() / plain_rate(options), 1.3);
}

// A machine that switches between two speeds costs no more than one that stays.
TEST(EconomicsSim, FollowsAMachineThatChangesItsSpeed) {
  for (const double other : {2.0, 0.5, 1.6}) {
    for (const double right : {0.05, 0.5, 0.9}) {
      SimOptions options = with(free_drafter(constant(right)), 1, 6000);
      const double plain = plain_rate(options);
      const double steady = simulate(options).tokens_per_second();
      double seconds = 0;  // as if it had stayed
      options.disturb = [&](uint32_t step, double* of_step) {
        seconds += *of_step;
        if (step / 300 % 2 == 1) *of_step *= other;
      };
      const double rate = simulate(options).n_tokens / seconds;
      EXPECT_GT(rate / steady, 0.97) << other << " " << right;
      EXPECT_GT(rate / plain, 0.98) << other << " " << right;
    }
  }
}

TEST(EconomicsSim, SurvivesAHiccupOfAnEarlyStep) {
  for (const double right : {0.05, 0.5, 0.9}) {
    SimOptions options = with(free_drafter(constant(right)), 1, 6000);
    const double plain = plain_rate(options);
    const double steady = simulate(options).tokens_per_second();
    for (uint32_t at = 0; at < 8; ++at) {
      options.disturb = [&](uint32_t step, double* seconds) {
        if (step == at) *seconds *= at == 0 ? 10 : 3;
      };
      const double rate = simulate(options).tokens_per_second();
      EXPECT_GT(rate / steady, 0.93) << right << " " << at;
      EXPECT_GT(rate / plain, 0.98) << right << " " << at;
    }
  }
}

// A dense model with a draft head of some weight, that has rows to catch up on when it was not
// asked, on a machine whose verifies take longer than their bytes say.
TEST(EconomicsSim, AHeadThatIsOftenRightAndNotCheapIsUsed) {
  for (const double surprise : {1.0, 1.3}) {
    SimOptions options =
        with({DraftSource::mtp, true, 0.14, {}, {}, {0.8, 0.65, 0.5}, 0.03}, 1, 4000);
    options.expert_bytes = 0;
    options.verify_surprise = surprise;
    const double plain = plain_rate(options);
    double best = 0;
    for (const uint32_t k : {1u, 2u, 3u}) best = std::max(best, fixed_rate(options, k));
    const double rate = simulate(options).tokens_per_second();
    EXPECT_GT(rate / best, 0.95) << surprise;
    EXPECT_GT(rate / plain, 1.3) << surprise;
    // A lookup that is rarely right does not stand in its way.
    options.drafters.insert(options.drafters.begin(), free_drafter(constant(0.1)));
    EXPECT_GT(simulate(options).tokens_per_second() / plain, 1.25) << surprise;
  }
}

TEST(EconomicsSim, AskingADrafterAsideCostsLittleWhateverItCosts) {
  for (const double cost : {0.044, 0.2, 0.5}) {
    SimOptions options = with({DraftSource::mtp, true, cost, constant(0.3), {}}, 1, 10000);
    EXPECT_GT(simulate(options).tokens_per_second() / plain_rate(options), 0.99) << cost;
  }
}

// A head that is of no use and whose layer has to keep up with every row is given up.
TEST(EconomicsSim, ADrafterThatIsOfNoUseIsNotKeptUpWithForever) {
  for (const uint32_t n : {1u, 8u}) {
    SimOptions options = with({DraftSource::mtp, true, 0.14, constant(0.05), {}, {}, 0.05}, n, 500);
    const double plain = plain_rate(options);
    EXPECT_GT(simulate(options).tokens_per_second() / plain, 0.98) << n;
    options.n_tokens = 4000;
    const SimResult result = simulate(options);
    EXPECT_GT(result.tokens_per_second() / plain, 0.995) << n;
    EXPECT_GT(result.slowest(500 * n) / plain, 0.95) << n;
  }
}

TEST(EconomicsSim, ReportVerifiesNothing) {
  SimOptions options = with(free_drafter(constant(0.95)), 2, 500);
  options.policy.mode = SpecMode::report;
  EXPECT_EQ(simulate(options).n_verified, 0u);
}

}  // namespace
}  // namespace floe

#include "draft/step_cost.h"

#include <gtest/gtest.h>

#include "draft/loss_account.h"

namespace floe {
namespace {

ByteLedger plain_ledger(double scale = 1) {
  ByteLedger ledger;
  ledger.dense_bytes = ledger.dense_macs = 500;
  ledger.routed_bytes = ledger.routed_macs = 400;
  ledger.kv_bytes = static_cast<uint64_t>(100 * scale);
  ledger.kv_macs = static_cast<uint64_t>(200 * scale);
  return ledger;
}

const MachineRates kRates{1000, {KernelRates({{1, 2000}, {2, 4000}, {8, 4000}}, 1.0)}, 1000};

TEST(StepCost, IsThePlainTimeTimesTheModelsRatio) {
  StepCost cost(kRates);
  cost.reserve(4);
  EXPECT_FALSE(cost.knows_any());
  cost.observe_plain(1, 100, 8, 2.0, plain_ledger());
  const StepCost::Basis basis = cost.basis(1, 100, 8);
  EXPECT_TRUE(basis.measured);
  EXPECT_DOUBLE_EQ(basis.plain_seconds, 2.0);
  EXPECT_DOUBLE_EQ(cost.seconds(basis, 1, 8), 2.0);
  ByteLedger four = plain_ledger();
  four.dense_macs *= 4;
  four.routed_macs *= 4;
  four.routed_bytes *= 2;
  four.kv_macs *= 4;
  EXPECT_NEAR(cost.seconds(basis, 4, 16), 2.0 * predicted_ratio(plain_ledger(), 2.0, four, kRates),
              1e-9);
}

TEST(StepCost, CountsBytesWhereNoRatesAreKnown) {
  StepCost cost(std::nullopt);
  cost.observe_plain(1, 100, 8, 2.0, plain_ledger());
  EXPECT_DOUBLE_EQ(cost.seconds(cost.basis(1, 100, 8), 3, 16), 2.0 * 1400 / 1000);
}

TEST(StepCost, LearnsWhatVerifiesTook) {
  StepCost cost(kRates);
  cost.observe_plain(1, 100, 8, 2.0, plain_ledger());
  const StepCost::Basis basis = cost.basis(1, 100, 8);
  const double first = cost.seconds(basis, 4, 16);
  const double other = cost.seconds(basis, 9, 20);
  for (int i = 0; i < 60; ++i) {
    cost.observe_verify(basis, 4, cost.seconds(basis, 4, 16), 1.3 * first);
  }
  EXPECT_NEAR(cost.seconds(basis, 4, 16), 1.3 * first, 0.01);
  EXPECT_NEAR(cost.seconds(basis, 9, 20), 1.3 * other, 0.01) << "the nearest that was measured";
  EXPECT_DOUBLE_EQ(cost.seconds(basis, 1, 8), 2.0);
}

TEST(StepCost, FollowsTheContextAndTheBatch) {
  StepCost cost(kRates);
  cost.observe_plain(1, 1000, 8, 1.1, plain_ledger());
  // The floor is 0.5 + 0.4 + 0.2 s; ten times the context is 1.8 s more.
  EXPECT_NEAR(cost.basis(1, 10000, 8).plain_seconds, 2.9, 1e-9);
  // Two sequences of that length each, with twice the experts: each row attends to its own.
  const StepCost::Basis two = cost.basis(2, 2000, 16);
  EXPECT_FALSE(two.measured);
  EXPECT_NEAR(two.plain_seconds, 0.5 + 0.8 + 0.4, 1e-9);
}

TEST(StepCost, AHiccupDoesNotStay) {
  StepCost cost(kRates);
  for (int i = 0; i < 40; ++i) cost.observe_plain(1, 100, 8, i == 20 ? 100 : 2.0, plain_ledger());
  EXPECT_NEAR(cost.basis(1, 100, 8).plain_seconds, 2.0, 0.1);
}

TEST(TimeMean, TakesTheFirstSamplesAsTheirMedian) {
  for (int cold = 0; cold < 3; ++cold) {
    TimeMean mean;
    for (int i = 0; i < 3; ++i) mean.add(i == cold ? 10 : 1, 32);
    EXPECT_DOUBLE_EQ(mean.value(), 1) << cold;
  }
}

TEST(TimeMean, FollowsAMachineThatChangesAtOnce) {
  TimeMean mean;
  for (int i = 0; i < 40; ++i) mean.add(1, 32);
  mean.add(0.5, 32);
  EXPECT_DOUBLE_EQ(mean.value(), 0.5) << "no step is fast by accident";
  for (int i = 0; i < 40; ++i) mean.add(0.5, 32);
  for (int i = 0; i < 3; ++i) mean.add(5, 32);
  EXPECT_LT(mean.value(), 0.53) << "three may be slow by accident";
  mean.add(5, 32);
  EXPECT_DOUBLE_EQ(mean.value(), 5);
}

TEST(StepCost, OneHiccupSaysLittleOfForwardsThatWereNeverTimed) {
  StepCost cost(kRates);
  for (int i = 0; i < 3; ++i) cost.observe_plain(1, 100, 8, 2.0, plain_ledger());
  const StepCost::Basis basis = cost.basis(1, 100, 8);
  cost.observe_verify(basis, 3, 2.0, 20.0);
  EXPECT_LT(cost.residual(1, 8), 1.13);
  const double first = cost.residual(1, 8);
  for (int i = 0; i < 500; ++i) cost.observe_plain(1, 100, 8, 2.0, plain_ledger());
  EXPECT_LT(cost.residual(1, 8), 1 + (first - 1) / 5) << "and that is forgotten";
}

// Plain steps tell whether it is verifies that take longer, or everything.
TEST(StepCost, ASlowerMachineIsNotBlamedOnTheGuesses) {
  for (const bool is_machine : {false, true}) {
    StepCost cost(kRates);
    for (int i = 0; i < 8; ++i) cost.observe_plain(1, 100, 8, 2.0, plain_ledger());
    bool is_time = false;
    uint32_t n_verifies = 0;
    for (; !is_time; ++n_verifies) {
      const StepCost::Basis basis = cost.basis(1, 100, 8);
      const double predicted = cost.seconds(basis, 3, 12);
      is_time = cost.observe_verify(basis, 3, predicted, 2 * predicted);
      ASSERT_LT(n_verifies, 8u);
    }
    EXPECT_EQ(n_verifies, 4u);
    EXPECT_GT(cost.residual(1, 2), 1.3);
    for (int i = 0; i < 3; ++i) {
      cost.observe_plain(1, 100, 8, is_machine ? 4.0 : 2.0, plain_ledger());
    }
    EXPECT_NEAR(cost.basis(1, 100, 8).plain_seconds, is_machine ? 4.0 : 2.0, 1e-9);
    EXPECT_EQ(cost.residual(1, 2) > 1.3, !is_machine);
    EXPECT_EQ(cost.residual(1, 2) == 1, is_machine);
  }
}

TEST(StepCost, TheMeanOfPlainStepsGrowsWithTheContext) {
  StepCost cost(kRates);
  ByteLedger ledger = plain_ledger();
  for (int i = 0; i < 40; ++i) cost.observe_plain(1, 1000, 8, 1.1, ledger);
  ledger.kv_bytes *= 10;
  ledger.kv_macs *= 10;
  cost.observe_plain(1, 10000, 8, 2.9, ledger);
  EXPECT_NEAR(cost.basis(1, 10000, 8).plain_seconds, 2.9, 1e-9);
}

TEST(LossAccount, BoundsTheLossWhateverHappens) {
  LossAccount account(0.02);
  account.set_plain_seconds(1);
  double seconds = 0;
  uint32_t n_tokens = 0;
  // Every verify takes three plain steps and brings one token.
  for (; n_tokens < 5000; ++n_tokens) {
    const double step = account.most_seconds() >= 3 ? 3 : 1;
    account.book(1, step);
    seconds += step;
    ASSERT_LE(seconds, 1.02 * n_tokens + 1.02 + 2 + 1e-6);
  }
  EXPECT_GT(seconds, 1.01 * n_tokens) << "the allowance is there to be used";
}

TEST(LossAccount, AnEarlierGainCanBeLostOnlyInPart) {
  LossAccount account(0.02);
  account.set_plain_seconds(1);
  for (int i = 0; i < 1000; ++i) account.book(3, 1);
  double lost = 0;
  for (int i = 0; i < 500; ++i) {
    const double step = account.most_seconds() >= 3 ? 3 : 1;
    account.book(1, step);
    lost += step - 1;
  }
  EXPECT_LE(lost, 0.05 * 500);
  EXPECT_GT(lost, 5);
}

}  // namespace
}  // namespace floe

#include "draft/probing.h"

#include <gtest/gtest.h>

#include "draft/keep_warm.h"

namespace floe {
namespace {

// Steps of a drafter that takes half a token and brings nothing until it is dropped.
uint32_t steps_until_dropped(KeepWarm& warm) {
  uint32_t n = 1;
  while (!warm.charge(0, 0.5)) ++n;
  return n;
}

TEST(KeepWarmTest, HasLessEveryTimeThatItIsDropped) {
  KeepWarm warm;
  for (const uint32_t tokens : {4u, 2u, 1u}) {
    EXPECT_EQ(steps_until_dropped(warm), 2 * tokens + 1);
  }
  EXPECT_EQ(steps_until_dropped(warm), 2u);
  EXPECT_EQ(steps_until_dropped(warm), 2u);
}

TEST(KeepWarmTest, SitsOutMoreAndMoreSequencesAtTheLeast) {
  KeepWarm warm;
  const auto share_of_64 = [&] {
    uint32_t n = 0;
    for (int i = 0; i < 64; ++i) n += warm.takes_part() ? 1 : 0;
    return n;
  };
  for (int i = 0; i < 3; ++i) steps_until_dropped(warm);
  EXPECT_EQ(share_of_64(), 64u);
  for (const uint32_t share : {32u, 16u, 8u, 4u, 2u, 2u}) {
    steps_until_dropped(warm);
    EXPECT_EQ(share_of_64(), share);
  }
}

TEST(KeepWarmTest, WhatItEarnsBackRestoresAllOfIt) {
  KeepWarm warm;
  for (int i = 0; i < 6; ++i) steps_until_dropped(warm);
  EXPECT_FALSE(warm.charge(1, 0.5));
  EXPECT_TRUE(warm.takes_part());
  EXPECT_EQ(steps_until_dropped(warm), 9u);
}

TEST(KeepWarmTest, NeitherCostNorGuessesChangesNothing) {
  KeepWarm warm;
  for (int i = 0; i < 3; ++i) steps_until_dropped(warm);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(warm.charge(0, 0));
  EXPECT_EQ(steps_until_dropped(warm), 2u);
}

// From one probe, both steps of it, to the next.
uint32_t interval_of(Probing& probing, double cost, bool was_right) {
  probing.probed(cost, was_right);
  EXPECT_TRUE(probing.is_due()) << "the second step follows the first";
  probing.probed(cost, was_right);
  uint32_t n = 2;
  for (; !probing.is_due(); ++n) probing.pass();
  return n;
}

TEST(ProbingTest, IsRarerWhileGuessesAreWrong) {
  Probing probing;
  for (const uint32_t interval : {8u, 16u, 32u, 64u, 64u}) {
    EXPECT_EQ(interval_of(probing, 0, false), interval);
  }
  EXPECT_EQ(interval_of(probing, 0, true), 8u);
}

TEST(ProbingTest, TakesAShareOfTheTimeAtMost) {
  Probing probing;
  EXPECT_EQ(interval_of(probing, 1.0, true), 200u);  // 0.5 %
  EXPECT_EQ(interval_of(probing, 1.0, false), 200u);
}

}  // namespace
}  // namespace floe

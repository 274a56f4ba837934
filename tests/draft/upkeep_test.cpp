#include "draft/upkeep.h"

#include <gtest/gtest.h>

#include "draft/side_asking.h"

namespace floe {
namespace {

// Steps of a drafter that takes half a token and brings nothing until it is given up.
uint32_t steps_until_given_up(Upkeep& upkeep) {
  uint32_t n = 1;
  while (!upkeep.charge(0, 0.5)) ++n;
  return n;
}

TEST(UpkeepTest, HasLessEveryTimeThatItIsGivenUp) {
  Upkeep upkeep;
  for (const uint32_t tokens : {4u, 2u, 1u}) {
    EXPECT_EQ(steps_until_given_up(upkeep), 2 * tokens + 1);
  }
  EXPECT_EQ(steps_until_given_up(upkeep), 2u);
  EXPECT_EQ(steps_until_given_up(upkeep), 2u);
}

TEST(UpkeepTest, SitsOutMoreAndMoreSequencesAtTheLeast) {
  Upkeep upkeep;
  const auto share_of_64 = [&] {
    uint32_t n = 0;
    for (int i = 0; i < 64; ++i) n += upkeep.takes_part() ? 1 : 0;
    return n;
  };
  for (int i = 0; i < 3; ++i) steps_until_given_up(upkeep);
  EXPECT_EQ(share_of_64(), 64u);
  for (const uint32_t share : {32u, 16u, 8u, 4u, 2u, 2u}) {
    steps_until_given_up(upkeep);
    EXPECT_EQ(share_of_64(), share);
  }
}

TEST(UpkeepTest, WhatItEarnsBackRestoresAllOfIt) {
  Upkeep upkeep;
  for (int i = 0; i < 6; ++i) steps_until_given_up(upkeep);
  EXPECT_FALSE(upkeep.charge(1, 0.5));
  EXPECT_TRUE(upkeep.takes_part());
  EXPECT_EQ(steps_until_given_up(upkeep), 9u);
}

TEST(UpkeepTest, NeitherCostNorGuessesChangesNothing) {
  Upkeep upkeep;
  for (int i = 0; i < 3; ++i) steps_until_given_up(upkeep);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(upkeep.charge(0, 0));
  EXPECT_EQ(steps_until_given_up(upkeep), 2u);
}

// From one asking, both steps of it, to the next.
uint32_t interval_of(SideAsking& side, double cost, bool was_right) {
  side.asked(cost, was_right);
  EXPECT_TRUE(side.is_due()) << "the second step follows the first";
  side.asked(cost, was_right);
  uint32_t n = 2;
  for (; !side.is_due(); ++n) side.pass();
  return n;
}

TEST(SideAskingTest, IsRarerWhileGuessesAreWrong) {
  SideAsking side;
  for (const uint32_t interval : {8u, 16u, 32u, 64u, 64u}) {
    EXPECT_EQ(interval_of(side, 0, false), interval);
  }
  EXPECT_EQ(interval_of(side, 0, true), 8u);
}

TEST(SideAskingTest, TakesAShareOfTheTimeAtMost) {
  SideAsking side;
  EXPECT_EQ(interval_of(side, 1.0, true), 200u);  // 0.5 %
  EXPECT_EQ(interval_of(side, 1.0, false), 200u);
}

}  // namespace
}  // namespace floe

#include "draft/economics.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

TEST(Economics, FixedTakesTheFirstKOfEveryDraftWhileRowsAreLeft) {
  Economics economics({SpecMode::fixed, 3}, ModelInfo{});
  const std::vector<DraftToken> five(5), two(2);
  std::vector<SpecCandidate> candidates = {{1, 10, five}, {2, 20, two}, {3, 30, five}};
  economics.allocate(candidates, {0, 7});
  EXPECT_EQ(candidates[0].n_verify, 3u);
  EXPECT_EQ(candidates[1].n_verify, 2u);
  EXPECT_EQ(candidates[2].n_verify, 2u);
}

}  // namespace
}  // namespace floe

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

TEST(SpecPolicy, ReadsWhatTheFlagSays) {
  EXPECT_EQ(parse_spec_policy("on:7").value().n_fixed, 7u);
  for (const char* text : {"off", "on:3", "on:32", "auto", "report"}) {
    EXPECT_EQ(to_string(parse_spec_policy(text).value()), text);
  }
  EXPECT_EQ(to_string(parse_spec_policy("on").value()), "on:3");
  for (const char* text : {"", "on:0", "on:33", "on:x", "on:", "maybe"}) {
    const auto policy = parse_spec_policy(text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_EQ(policy.error().kind, ErrorKind::usage);
  }
}

}  // namespace
}  // namespace floe

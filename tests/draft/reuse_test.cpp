#include "draft/reuse.h"

#include <gtest/gtest.h>

#include <set>

#include "economics_sim.h"

namespace floe {
namespace {

constexpr uint32_t kLayers = 6, kExperts = 77, kActive = 8;

// Rows first .. first + n - 1 of one text, as a forward would log them.
std::vector<uint32_t> routing_of(StickyRouter& router, uint32_t first, uint32_t n) {
  std::vector<uint32_t> routing(size_t{kLayers} * n * kActive);
  for (uint32_t row = 0; row < n; ++row) {
    const std::vector<uint32_t>& chosen = router.at(first + row);
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      std::copy_n(chosen.begin() + layer * kActive, kActive,
                  routing.begin() + (size_t{layer} * n + row) * kActive);
    }
  }
  return routing;
}

double counted_union(StickyRouter& router, uint32_t n_rows, uint32_t n_tokens) {
  double sum = 0;
  uint32_t n_windows = 0;
  for (uint32_t first = 0; first + n_rows <= n_tokens; first += 3, ++n_windows) {
    const std::vector<uint32_t> routing = routing_of(router, first, n_rows);
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      const auto begin = routing.begin() + size_t{layer} * n_rows * kActive;
      sum += static_cast<double>(std::set<uint32_t>(begin, begin + n_rows * kActive).size());
    }
  }
  return sum / n_windows / kLayers;
}

class StickyTexts : public ::testing::TestWithParam<double> {};

TEST_P(StickyTexts, UnionsAreThoseThatCountingGives) {
  constexpr uint32_t kTokens = 1500;
  StickyRouter router(kLayers, kExperts, kActive, GetParam(), 5);
  RouterHistory history(kLayers, kExperts, kActive);
  RouterMemory memory;
  history.begin(memory);
  // Forwards of 1 to 4 rows of which all but the last stay.
  for (uint32_t at = 0, step = 0; at < kTokens; ++step) {
    const uint32_t n_rows = 1 + step % 4;
    const uint32_t n_stay = n_rows == 1 ? 1 : n_rows - 1;
    history.commit(memory, routing_of(router, at, n_rows), n_rows, 0, n_stay);
    at += n_stay;
  }
  for (const uint32_t n : {1u, 2u, 3u, 4u, 8u, 9u, 16u, 32u}) {
    const double counted = counted_union(router, n, kTokens);
    EXPECT_NEAR(history.union_of(n), counted, 0.03 * counted) << n << " rows";
  }
}

INSTANTIATE_TEST_SUITE_P(From, StickyTexts, ::testing::Values(0.0, 0.3, 0.7));

TEST(RouterHistory, ShortAnswersForgetNothingOfLongOnes) {
  RouterHistory history(1, 64, 4);
  const double before = history.union_of(RouterHistory::kMaxRows);
  RouterMemory memory;
  const std::vector<uint32_t> routing = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (int i = 0; i < 300000; ++i) {
    history.begin(memory);
    history.commit(memory, routing, 3, 0, 3);
  }
  // Nothing was found at the distances 1 and 2; what is believed of the others is what it was.
  const double after = history.union_of(RouterHistory::kMaxRows);
  EXPECT_GT(after, before);
  EXPECT_LT(after, before + 20);
}

TEST(RouterHistory, StartsFromIndependentRouting) {
  const RouterHistory history(4, 64, 4);
  EXPECT_DOUBLE_EQ(history.union_of(1), 4);
  EXPECT_NEAR(history.union_of(3), 64 * (1 - std::pow(1 - 4.0 / 64, 3)), 1e-9);
}

// Short texts one after the other: that nothing came before their first tokens is no news about
// how far apart choices of an expert are.
TEST(RouterHistory, ShortTextsDoNotLookDiverse) {
  RouterHistory history(kLayers, kExperts, kActive);
  std::vector<StickyRouter> routers;
  double counted = 0;
  for (uint64_t text = 0; text < 100; ++text) {
    StickyRouter router(kLayers, kExperts, kActive, 0.6, 100 + text);
    RouterMemory memory;
    history.begin(memory);
    for (uint32_t at = 0; at < 12; ++at) {
      history.commit(memory, routing_of(router, at, 1), 1, 0, 1);
    }
    counted += counted_union(router, 6, 12) / 100;
  }
  EXPECT_NEAR(history.union_of(6), counted, 0.04 * counted);
}

TEST(RouterHistory, LearnsHowMuchSequencesShare) {
  RouterHistory history(kLayers, kExperts, kActive);
  const double none = std::pow(1 - history.union_of(1) / kExperts, 8);
  const double independent = history.union_of_batch(none, true);
  EXPECT_NEAR(independent, kExperts * (1 - none), 1e-9);
  for (int i = 0; i < 100; ++i) history.observe_union(none, true, 12);
  EXPECT_NEAR(history.union_of_batch(none, true), 12, 0.1);
  EXPECT_NEAR(history.union_of_batch(none, false), independent, 1e-9) << "kept apart";
}

TEST(RouterHistory, ADenseModelReadsNoExperts) {
  RouterHistory history(10, 0, 0);
  RouterMemory memory;
  history.begin(memory);
  history.commit(memory, {}, 3, 0, 3);
  EXPECT_EQ(history.union_of(4), 0);
  EXPECT_EQ(history.union_of_batch(1, true), 0);
}

}  // namespace
}  // namespace floe

#include "draft/shadow.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace floe {
namespace {

double unit(uint64_t key) {
  return static_cast<double>(mix64(key) >> 11) * 0x1p-53;
}

// Plain steps of a text in which guesses are right with a probability that falls with their place
// in the draft; drafts wait for tokens that come later.
TEST(ShadowScores, AreUnbiasedAtEveryPosition) {
  constexpr double kRight[] = {0.8, 0.6, 0.5, 0.5};
  Acceptance acceptance;
  SequenceAcceptance sequence;
  ShadowScores shadows;
  double estimate[4] = {};
  constexpr uint32_t kSteps = 20000, kWarm = 2000;
  for (uint32_t at = 0; at < kSteps; ++at) {
    std::vector<DraftToken> draft;
    for (uint32_t k = 0; k < 4; ++k) {
      const auto token = static_cast<int32_t>(at + k);
      const bool is_right = unit(uint64_t{at} * 4 + k) < kRight[k];
      draft.push_back({is_right ? token : -1, DraftSource::mtp, 3});
    }
    const int32_t token = static_cast<int32_t>(at);
    shadows.score(acceptance, sequence, draft, {&token, 1});
    if (at < kWarm) continue;
    // Of everybody, not of this sequence: its own tally sees first positions alone.
    for (uint32_t k = 0; k < 4; ++k) {
      estimate[k] += acceptance.probability({}, DraftSource::mtp, 3, 0, k) / (kSteps - kWarm);
    }
  }
  // Positions 3 and 4 share a count.
  for (uint32_t k = 0; k < 4; ++k) EXPECT_NEAR(estimate[k], kRight[k], 0.06) << "position " << k;
}

TEST(ShadowScores, ADroppedDraftCountsForTheSequence) {
  Acceptance acceptance;
  SequenceAcceptance sequence;
  ShadowScores shadows;
  const DraftToken wrong{7, DraftSource::prompt_lookup, 0};
  for (int i = 0; i < 50; ++i) {
    shadows.keep(sequence, {&wrong, 1});
    const int32_t token = 8;
    shadows.score(acceptance, sequence, {}, {&token, 1});
  }
  EXPECT_LT(acceptance.probability(sequence, DraftSource::prompt_lookup, 0, 0, 0), 0.05);
  EXPECT_GT(sequence.of_source[0].wrong, 10);
}

TEST(Acceptance, ANewSequenceStartsFromWhatOthersTaught) {
  Acceptance acceptance;
  SequenceAcceptance first;
  for (int i = 0; i < 200; ++i) {
    acceptance.score(&first, DraftSource::mtp, 5, 0, 0, true);
    acceptance.score(&first, DraftSource::mtp, 1, 0, 0, i % 5 == 0);
  }
  EXPECT_GT(acceptance.probability({}, DraftSource::mtp, 5, 0, 0), 0.95);
  EXPECT_NEAR(acceptance.probability({}, DraftSource::mtp, 1, 0, 0), 0.2, 0.1);
}

// Nobody has taught anything: the source says little, the confidence something.
TEST(Acceptance, BeginsWithTheConfidence) {
  const Acceptance acceptance;
  for (const DraftSource source : {DraftSource::prompt_lookup, DraftSource::eagle3}) {
    EXPECT_NEAR(acceptance.probability({}, source, Acceptance::kAnyConfidence, 0, 0), 0.6, 1e-6);
    const double least = acceptance.probability({}, source, 0, 0, 0);
    const double most = acceptance.probability({}, source, kConfidenceLevels - 1, 0, 0);
    EXPECT_GT(least, 0.3);
    EXPECT_LT(least, 0.6);
    EXPECT_NEAR(most, 0.8, 0.02);
  }
}

TEST(Acceptance, ASequenceGoesItsOwnWay) {
  Acceptance acceptance;
  SequenceAcceptance good, bad;
  for (int i = 0; i < 300; ++i) {
    acceptance.score(&good, DraftSource::mtp, 0, 0, 0, i % 10 != 0);
    acceptance.score(&bad, DraftSource::mtp, 0, 0, 0, i % 10 == 0);
  }
  EXPECT_GT(acceptance.probability(good, DraftSource::mtp, 0, 0, 0), 0.75);
  EXPECT_LT(acceptance.probability(bad, DraftSource::mtp, 0, 0, 0), 0.25);
}

}  // namespace
}  // namespace floe

#include "draft/acceptance.h"

#include <algorithm>
#include <cmath>

namespace floe {

namespace {

// Before anything is known a drafter is given a chance that the loss account can pay for.
constexpr double kFirstGuess = 0.6;
// And the same by confidence: what prompt lookup was measured to reach with the bundled model's own
// texts, and what a probability is worth if it is true.
using ByLevel = std::array<double, kConfidenceLevels>;
constexpr ByLevel kFirstOfLookup = {0.56, 0.73, 0.77, 0.88, 0.94, 0.93, 0.98, 0.99};
constexpr ByLevel kFirstOfProbability = {0.03, 0.12, 0.3, 0.5, 0.7, 0.85, 0.94, 0.98};
constexpr float kPriorSamples = 3;    // a coarser count weighs as much as this many samples
constexpr float kPoolDecay = 0.995f;  // per sample: about the last 200
constexpr float kTallyDecay = 0.95f;  // about the last 20
constexpr double kTallyPrior = 3;     // right and wrong guesses as expected, together
constexpr double kLeast = 0.002, kMost = 0.998;

double first_guess(DraftSource source, uint8_t confidence) {
  const bool looks_up = source == DraftSource::prompt_lookup || source == DraftSource::prediction;
  return (looks_up ? kFirstOfLookup : kFirstOfProbability)[confidence];
}

uint32_t position_bucket(uint32_t position) {
  return position < 2 ? position : position < 4 ? 2 : position < 8 ? 3 : 4;
}

}  // namespace

void Acceptance::Count::add(bool was_right) {
  right = right * kPoolDecay + (was_right ? 1.0f : 0.0f);
  n = n * kPoolDecay + 1;
}

double Acceptance::Count::lean_on(double prior) const {
  return (right + kPriorSamples * prior) / (n + kPriorSamples);
}

double Acceptance::of_all(DraftSource source, uint8_t confidence, uint8_t recent,
                          uint32_t position) const {
  const auto& by_position = counts_[static_cast<size_t>(source)];
  const uint32_t at = position_bucket(position);
  double rate = kFirstGuess;
  for (uint32_t p = 0; p <= at; ++p)
    rate = by_position[p][kAnyConfidence][kAnyRecent].lean_on(rate);
  const BySituation& here = by_position[at];
  if (confidence != kAnyConfidence) {
    rate = here[confidence][kAnyRecent].lean_on((rate + first_guess(source, confidence)) / 2);
  }
  return here[confidence][recent].lean_on(rate);
}

double Acceptance::probability(const SequenceAcceptance& sequence, DraftSource source,
                               uint8_t confidence, uint8_t recent, uint32_t position) const {
  const double rate = std::clamp(of_all(source, confidence, recent, position), kLeast, kMost);
  const SequenceAcceptance::Tally& tally = sequence.of_source[static_cast<size_t>(source)];
  // right / right_expected over wrong / wrong_expected, each leaning on 1.
  const double more_right =
      (tally.right + kTallyPrior / 2) / (tally.right_expected + kTallyPrior / 2);
  const double more_wrong =
      (tally.wrong + kTallyPrior / 2) / (tally.wrong_expected + kTallyPrior / 2);
  const double right = rate * more_right;
  const double wrong = (1 - rate) * more_wrong;
  return std::clamp(right / (right + wrong), kLeast, kMost);
}

void Acceptance::score(SequenceAcceptance* sequence, DraftSource source, uint8_t confidence,
                       uint8_t recent, uint32_t position, bool right) {
  BySituation& here = counts_[static_cast<size_t>(source)][position_bucket(position)];
  if (sequence != nullptr) {
    SequenceAcceptance::Tally& tally = sequence->of_source[static_cast<size_t>(source)];
    const auto expected = static_cast<float>(of_all(source, confidence, recent, position));
    for (float* value :
         {&tally.right, &tally.wrong, &tally.right_expected, &tally.wrong_expected}) {
      *value *= kTallyDecay;
    }
    (right ? tally.right : tally.wrong) += 1;
    tally.right_expected += expected;
    tally.wrong_expected += 1 - expected;
    tally.recent = push(tally.recent, right);
  }
  here[confidence][recent].add(right);
  here[confidence][kAnyRecent].add(right);
  here[kAnyConfidence][recent].add(right);
  here[kAnyConfidence][kAnyRecent].add(right);
}

}  // namespace floe

#pragma once
// How likely a guess is right, given that the guesses before it in its draft are.
//
// Counts, exponential over about the last 200 samples, are kept for all sequences of an engine by
// source, confidence, how the last guesses of that source fared (so that a text that has stopped
// repeating is noticed after two misses), and position in the draft; where a count has few samples
// it leans on a coarser one. A sequence then says how much better or worse than that it goes, in
// odds.
#include <array>
#include <cstdint>

#include "draft/sequence_rows.h"

namespace floe {

// What a sequence knows of its own.
struct SequenceAcceptance {
  struct Tally {
    float right = 0, wrong = 0;                    // of guesses of this source
    float right_expected = 0, wrong_expected = 0;  // by the counts of all sequences
    uint8_t recent = 0;                            // the last outcomes, newest lowest, 1: right
  };
  std::array<Tally, kDraftSources> of_source;
};

class Acceptance {
 public:
  static constexpr uint8_t kAnyConfidence = kConfidenceLevels;
  static constexpr uint32_t kRecentBits = 3;

  // recent: the outcomes before the guess, those of the draft's own guesses (right, or it would not
  // matter) among them.
  static uint8_t push(uint8_t recent, bool right) {
    return static_cast<uint8_t>((recent << 1 | (right ? 1 : 0)) & ((1u << kRecentBits) - 1));
  }

  // position: in the draft, 0 is the first.
  double probability(const SequenceAcceptance& sequence, DraftSource source, uint8_t confidence,
                     uint8_t recent, uint32_t position) const;

  // A guess was compared with the token that came. sequence: nullptr where it was not the newest
  // guess for that token, so that a token moves a sequence's own tally once.
  void score(SequenceAcceptance* sequence, DraftSource source, uint8_t confidence, uint8_t recent,
             uint32_t position, bool right);

 private:
  static constexpr uint32_t kPositions = 5;
  static constexpr uint32_t kRecents = (1u << kRecentBits) + 1;
  static constexpr uint32_t kAnyRecent = kRecents - 1;

  struct Count {
    float right = 0, n = 0;
    void add(bool was_right);
    double lean_on(double prior) const;
  };
  using BySituation = std::array<std::array<Count, kRecents>, kConfidenceLevels + 1>;

  double of_all(DraftSource source, uint8_t confidence, uint8_t recent, uint32_t position) const;

  std::array<std::array<BySituation, kPositions>, kDraftSources> counts_;
};

}  // namespace floe

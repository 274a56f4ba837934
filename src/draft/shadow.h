#pragma once
// Scores guesses against the tokens that came, also those that no forward verified: where guesses
// are made and nothing is speculated, acceptance is learnt all the same, and at no cost.
#include <array>
#include <cstdint>
#include <span>

#include "draft/acceptance.h"
#include "draft/sequence_rows.h"

namespace floe {

// How a source's guesses fared lately, by source.
using RecentOutcomes = std::array<uint8_t, kDraftSources>;
RecentOutcomes recent_outcomes(const SequenceAcceptance& sequence);

// Guesses of one sequence that wait for their tokens. Bounded: where there are too many, the drafts
// that have been compared furthest go.
class ShadowScores {
 public:
  // A step added tokens. draft: the guesses made for them and for tokens after them, verified or
  // not.
  void score(Acceptance& acceptance, SequenceAcceptance& sequence,
             std::span<const DraftToken> draft, std::span<const int32_t> committed);
  // Guesses for the tokens to come that were dropped before the step.
  void keep(const SequenceAcceptance& sequence, std::span<const DraftToken> draft);

 private:
  struct Waiting {
    std::array<DraftToken, kMaxDraftTokens> draft;
    RecentOutcomes recent{};  // when the draft was made, and of its guesses compared since
    uint32_t n_tokens = 0;
    uint32_t n_compared = 0;  // all right
    bool is_done() const { return n_compared == n_tokens; }
  };

  void wait(std::span<const DraftToken> draft, uint32_t n_compared, const RecentOutcomes& recent);

  std::array<Waiting, 8> waiting_;
};

}  // namespace floe

#include "draft/shadow.h"

#include <algorithm>

namespace floe {

RecentOutcomes recent_outcomes(const SequenceAcceptance& sequence) {
  RecentOutcomes recent;
  for (uint32_t s = 0; s < kDraftSources; ++s) recent[s] = sequence.of_source[s].recent;
  return recent;
}

void ShadowScores::score(Acceptance& acceptance, SequenceAcceptance& sequence,
                         std::span<const DraftToken> draft, std::span<const int32_t> committed) {
  const auto is_right = [&](SequenceAcceptance* own, const DraftToken& guess,
                            RecentOutcomes& recent, uint32_t position, int32_t token) {
    uint8_t& bits = recent[static_cast<size_t>(guess.source)];
    const bool right = guess.token == token;
    acceptance.score(own, guess.source, guess.confidence, bits, position, right);
    bits = Acceptance::push(bits, right);
    return right;
  };
  for (Waiting& old : waiting_) {
    for (const int32_t token : committed) {
      if (old.is_done()) break;
      // A draft that was dropped is the newest there was for its first token.
      SequenceAcceptance* own = old.n_compared == 0 ? &sequence : nullptr;
      if (!is_right(own, old.draft[old.n_compared], old.recent, old.n_compared, token)) {
        old.n_tokens = old.n_compared;  // what follows a wrong guess tells nothing
        break;
      }
      ++old.n_compared;
    }
  }
  draft = draft.first(std::min<size_t>(draft.size(), kMaxDraftTokens));
  RecentOutcomes recent = recent_outcomes(sequence);
  uint32_t n_right = 0;
  for (; n_right < std::min(draft.size(), committed.size()); ++n_right) {
    if (!is_right(&sequence, draft[n_right], recent, n_right, committed[n_right])) return;
  }
  if (n_right < draft.size() && !committed.empty()) wait(draft, n_right, recent);
}

void ShadowScores::keep(const SequenceAcceptance& sequence, std::span<const DraftToken> draft) {
  if (!draft.empty()) wait(draft, 0, recent_outcomes(sequence));
}

void ShadowScores::wait(std::span<const DraftToken> draft, uint32_t n_compared,
                        const RecentOutcomes& recent) {
  Waiting* place = &waiting_[0];
  for (Waiting& old : waiting_) {
    if (old.is_done() ? !place->is_done()
                      : old.n_compared > place->n_compared && !place->is_done()) {
      place = &old;
    }
  }
  place->n_tokens = static_cast<uint32_t>(std::min<size_t>(draft.size(), kMaxDraftTokens));
  std::copy_n(draft.begin(), place->n_tokens, place->draft.begin());
  place->recent = recent;
  place->n_compared = n_compared;
}

}  // namespace floe

#include "engine/grammar_mask.h"

#include <algorithm>

namespace floe {

std::span<const uint64_t> GrammarMask::of(GrammarMatcher& matcher, const Request& request) {
  // A vocabulary and the model's rows need not be of one length.
  const size_t n_words = (size_t{n_vocab_} + 63) / 64;
  bits_.resize(std::max(n_words, (size_t{matcher.n_vocab()} + 63) / 64));
  if (!matcher.tokens(bits_)) return {};
  const std::span<const uint64_t> bits = std::span(bits_).first(n_words);
  if (!matcher.can_end()) return bits;
  for (const int32_t token : request.stop_tokens) {
    if (token < 0 || static_cast<uint32_t>(token) >= n_vocab_) continue;
    bits_[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
  }
  return bits;
}

}  // namespace floe

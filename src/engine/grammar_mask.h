#pragma once
// The tokens that a sequence's grammar lets be chosen, as the sampler takes them.
#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"
#include "grammar/grammar.h"

namespace floe {

// Holds the workspace of one engine.
class GrammarMask {
 public:
  explicit GrammarMask(uint32_t n_vocab) : n_vocab_(n_vocab) {}

  // Empty: any token. Valid until the next call.
  std::span<const uint64_t> of(GrammarMatcher& matcher, const Request& request);

 private:
  const uint32_t n_vocab_;
  std::vector<uint64_t> bits_;  // [(n_vocab + 63) / 64], once a grammar has been seen
};

}  // namespace floe

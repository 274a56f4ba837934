#include "draft/token_index.h"

#include <algorithm>

#include "base/rng.h"

namespace floe {
namespace {

uint64_t hash_of(const int32_t* gram, uint32_t n) {
  uint64_t hash = n;
  for (uint32_t i = 0; i < n; ++i) hash = mix64(hash ^ static_cast<uint32_t>(gram[i]));
  return hash;
}

}  // namespace

TokenTail::TokenTail(std::span<const int32_t> tokens, std::span<const int32_t> more) {
  const size_t n_more = std::min<size_t>(more.size(), kMaxMatch);
  const size_t n_before = std::min<size_t>(tokens.size(), kMaxMatch - n_more);
  const auto middle =
      std::copy_n(tokens.end() - static_cast<ptrdiff_t>(n_before), n_before, tokens_.begin());
  std::copy_n(more.end() - static_cast<ptrdiff_t>(n_more), n_more, middle);
  n_tokens_ = static_cast<uint32_t>(n_before + n_more);
}

uint32_t TokenTail::match(std::span<const int32_t> text, uint32_t end) const {
  const uint32_t n_most = std::min(n_tokens_, end);
  uint32_t n = 0;
  while (n < n_most && text[end - 1 - n] == tokens_[n_tokens_ - 1 - n]) ++n;
  return n;
}

void TokenIndex::reserve(uint32_t max_tokens) {
  for (Chains& chains : chains_) {
    size_t n_slots = kFirstSlots;
    while (n_slots < 2 * size_t{max_tokens}) n_slots *= 2;
    chains.heads.reserve(n_slots);
    chains.previous.reserve(max_tokens);
  }
}

void TokenIndex::clear() {
  for (Chains& chains : chains_) {
    chains.heads.assign(kFirstSlots, 0);
    chains.previous.clear();
  }
  n_indexed_ = 0;
}

size_t TokenIndex::slot_of(const Chains& chains, uint32_t n_gram, std::span<const int32_t> tokens,
                           const int32_t* gram) const {
  const size_t mask = chains.heads.size() - 1;
  const uint64_t hash = hash_of(gram, n_gram);
  size_t oldest = hash & mask;
  for (uint32_t probe = 0; probe < kMaxProbes; ++probe) {
    const size_t slot = (hash + probe) & mask;
    const uint32_t end = chains.heads[slot];
    ++n_operations_;
    if (end == 0 || std::equal(gram, gram + n_gram, tokens.data() + end - n_gram)) return slot;
    if (end < chains.heads[oldest]) oldest = slot;
  }
  return oldest;
}

void TokenIndex::extend(std::span<const int32_t> tokens, uint32_t n_end) {
  n_end = static_cast<uint32_t>(std::min<size_t>(n_end, tokens.size()));
  if (n_end <= n_indexed_) return;
  size_t n_slots = chains_[0].heads.size();
  while (n_slots < 2 * size_t{n_end}) n_slots *= 2;
  if (n_slots > chains_[0].heads.size()) {
    // Everything finds a new slot in the larger table.
    for (Chains& chains : chains_) {
      chains.heads.assign(n_slots, 0);
      chains.previous.clear();
    }
    n_indexed_ = 0;
  }
  for (size_t level = 0; level < kGrams.size(); ++level) {
    Chains& chains = chains_[level];
    const uint32_t n_gram = kGrams[level];
    for (uint32_t end = n_indexed_ + 1; end <= n_end; ++end) {
      if (end < n_gram) {
        chains.previous.push_back(0);
        continue;
      }
      const int32_t* gram = tokens.data() + end - n_gram;
      uint32_t& head = chains.heads[slot_of(chains, n_gram, tokens, gram)];
      const bool known =
          head != 0 && std::equal(gram, gram + n_gram, tokens.data() + head - n_gram);
      if (head != 0 && !known) ++n_dropped_;
      chains.previous.push_back(known ? head : 0);
      head = end;
    }
  }
  n_indexed_ = n_end;
}

uint32_t TokenIndex::find(std::span<const int32_t> tokens, const TokenTail& tail,
                          std::span<TokenPlace, kMaxPlaces> places) const {
  for (size_t level = 0; level < kGrams.size(); ++level) {
    const uint32_t n_gram = kGrams[level];
    if (tail.tokens().size() < n_gram) continue;
    const int32_t* gram = tail.tokens().data() + tail.tokens().size() - n_gram;
    const Chains& chains = chains_[level];
    uint32_t n_places = 0;
    for (uint32_t end = chains.heads[slot_of(chains, n_gram, tokens, gram)];
         end != 0 && n_places < kMaxPlaces; end = chains.previous[end - 1]) {
      const uint32_t length = tail.match(tokens, end);
      n_operations_ += 1 + length;
      // The slot may be of another n-gram: there was no free one.
      if (length < n_gram) break;
      places[n_places++] = {end, length};
    }
    if (n_places > 0) return n_places;
  }
  return 0;
}

uint64_t TokenIndex::n_bytes() const {
  uint64_t n = 0;
  for (const Chains& chains : chains_) n += (chains.heads.size() + chains.previous.size()) * 4;
  return n;
}

}  // namespace floe

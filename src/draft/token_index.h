#pragma once
// Where the last tokens of a text stood before in it: chains of the places of equal n-grams, most
// recent first, for a short and a long n.
//
// Costs are bounded whatever the tokens are: appending looks at no more than kMaxProbes slots per
// n-gram (doubling the tables now and then), finding at kMaxPlaces places and kMaxMatch tokens of
// each. 24 to 40 bytes per token.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace floe {

// Tokens before a position that count as matching. More would not make a guess surer.
inline constexpr uint32_t kMaxMatch = 32;

// The end of a text: its last kMaxMatch tokens at most.
class TokenTail {
 public:
  TokenTail(std::span<const int32_t> tokens, std::span<const int32_t> more);
  std::span<const int32_t> tokens() const { return std::span(tokens_).first(n_tokens_); }
  // How many tokens before position end of a text equal the last ones here, at most kMaxMatch.
  uint32_t match(std::span<const int32_t> text, uint32_t end) const;

 private:
  std::array<int32_t, kMaxMatch> tokens_;
  uint32_t n_tokens_ = 0;
};

// A place that text before resembles the tail: the `length` tokens before position `next` equal it.
struct TokenPlace {
  uint32_t next = 0;
  uint32_t length = 0;
};

class TokenIndex {
 public:
  static constexpr std::array<uint32_t, 2> kGrams = {8, 2};  // the last one is the shortest match
  static constexpr uint32_t kMaxPlaces = 32;
  static constexpr uint32_t kMaxProbes = 16;

  TokenIndex() { clear(); }
  // Room for a text of max_tokens: extend() allocates only beyond it.
  void reserve(uint32_t max_tokens);
  void clear();
  // tokens begins with what was given before. N-grams that end after position n_end are left out.
  void extend(std::span<const int32_t> tokens, uint32_t n_end);
  uint32_t n_indexed() const { return n_indexed_; }
  // Places where the longest n-gram that ends the tail and occurs in tokens stands: the most recent
  // kMaxPlaces of them, most recent first. Returns how many.
  uint32_t find(std::span<const int32_t> tokens, const TokenTail& tail,
                std::span<TokenPlace, kMaxPlaces> places) const;

  // Of the chains that extend() dropped because kMaxProbes did not reach a free slot.
  uint64_t n_dropped() const { return n_dropped_; }
  // Slots and tokens looked at so far.
  uint64_t n_operations() const { return n_operations_; }
  uint64_t n_bytes() const;

 private:
  struct Chains {
    std::vector<uint32_t> heads;  // hash table: where an n-gram ended last; 0: free
    std::vector<uint32_t>
        previous;  // [end - 1]: where the n-gram ending there ended before; 0: none
  };
  static constexpr size_t kFirstSlots = 1024;
  // The n-gram's slot in heads: its own, a free one, or one whose n-gram must make room.
  size_t slot_of(const Chains& chains, uint32_t n_gram, std::span<const int32_t> tokens,
                 const int32_t* gram) const;

  std::array<Chains, kGrams.size()> chains_;
  uint32_t n_indexed_ = 0;
  uint64_t n_dropped_ = 0;
  mutable uint64_t n_operations_ = 0;
};

}  // namespace floe

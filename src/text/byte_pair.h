#pragma once
// Byte-level byte pair encoding: text bytes to tokens by the merge list of a vocabulary.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/merge.h"
#include "text/pretokenizer.h"
#include "text/vocabulary.h"

namespace floe {

// The bytes that a token's stored text stands for, in the alphabet that writes every byte as one
// printable character. Characters outside the alphabet stand for themselves.
std::string decode_byte_level_text(std::string_view stored);

class BytePairEncoder {
 public:
  // `producible[id]` says whether plain text may become this token. ErrorKind::model when a merge
  // has no separator. A merge of parts that are no tokens is applied all the same; what then has no
  // token in the end comes out as the tokens of its bytes.
  static Result<std::unique_ptr<const BytePairEncoder>> create(const Vocabulary& vocabulary,
                                                               const std::vector<bool>& producible,
                                                               const PreTokenizer& rules);

  // Some byte may come out as no token at all.
  bool drops_bytes() const { return drops_bytes_; }

  // Appends the tokens of a plain text. Bytes that no token stands for become U+FFFD, or the
  // unknown token, or nothing, whichever the vocabulary has.
  void encode(std::string_view text, MergeScratch& scratch, uint64_t& n_looks,
              std::vector<int32_t>& out) const;

 private:
  struct Slot {
    uint64_t pair = kEmptyPair;  // left symbol << 32 | right symbol
    uint32_t rank = 0;
    int32_t symbol = -1;
  };
  static constexpr uint64_t kEmptyPair = ~0ull;

  BytePairEncoder() = default;
  void encode_word(std::string_view word, MergeScratch& scratch, std::vector<int32_t>& out) const;
  void emit(std::string_view bytes, int32_t symbol, std::vector<int32_t>& out) const;
  const Slot* find_pair(int32_t left, int32_t right) const;
  class Words;

  PreTokenizer rules_;
  int32_t n_vocab_ = 0;  // symbols from here on are merge results without a token
  int32_t unknown_id_ = -1;
  bool drops_bytes_ = false;
  std::array<int32_t, 256> byte_symbol_{};  // -1: no token for this byte
  std::vector<int32_t> replacement_;        // tokens of U+FFFD, for bytes without a token
  std::vector<Slot> pairs_;                 // open addressing, a power of two of slots
  std::vector<std::pair<std::string, int32_t>> whole_words_;  // sorted; only with whole_word_first
};

}  // namespace floe

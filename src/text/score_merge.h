#pragma once
// Score-based encoding (SentencePiece style): characters are joined to the token of the best score
// first.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "text/merge.h"
#include "text/vocabulary.h"

namespace floe {

// The byte of a byte token's text, "<0x0A>": exactly six characters, two hexadecimal digits.
std::optional<uint8_t> parse_byte_token(std::string_view text);

// Stored token text to bytes and back to plain text: U+2581 stands for a space.
std::string unescape_spaces(std::string_view text);

class ScoreEncoder {
 public:
  // ErrorKind::model when there are no scores, or neither 256 byte tokens nor an unknown token.
  static Result<std::unique_ptr<const ScoreEncoder>> create(const Vocabulary& vocabulary,
                                                            const std::vector<bool>& producible);

  // Appends the tokens of a plain text, with one space put in front when `space_prefix`.
  void encode(std::string_view text, bool space_prefix, MergeScratch& scratch, uint64_t& n_looks,
              std::vector<int32_t>& out) const;

 private:
  // Tokens longer than this never come out of merging, which bounds the cost of a look-up.
  static constexpr size_t kMaxPieceBytes = 512;

  ScoreEncoder() = default;
  void encode_piece(std::string_view piece, MergeScratch& scratch, uint64_t& n_looks,
                    std::vector<int32_t>& out) const;

  struct Piece {
    int32_t id = -1;
    uint32_t rank = 0;  // of the score; equal scores share one
  };
  std::string arena_;
  std::unordered_map<std::string_view, Piece> pieces_;  // keys into arena_
  std::array<int32_t, 128> ascii_id_{};                 // the piece of one ASCII character, or -1
  std::array<int32_t, 256> byte_token_{};
  int32_t unknown_id_ = -1;
  size_t longest_piece_bytes_ = 0;
  bool words_end_at_space_ = true;  // no token has a space behind another character
};

}  // namespace floe

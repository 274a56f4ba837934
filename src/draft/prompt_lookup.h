#pragma once
// Guesses without a model: where the last tokens stood before, in the sequence itself or in the
// text that its request predicts, what followed there will follow again.
//
// The most recent of the longest matches is continued, over the end of the text where it repeats
// itself. Confidence comes from the length of the match and from how many of the places that match
// went on the same way; a guess that is more likely wrong than right ends the draft, so that it
// stands in no other drafter's way. A match of the prediction wins over an equally long one of the
// sequence.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "draft/drafter.h"
#include "draft/token_index.h"

namespace floe {

// A request's prediction, followed while the output comes. The output is expected to begin as the
// prediction does. From then on the place moves with every token that agrees. After one that does
// not it is looked for: near the old one by any match, since edits replace a few tokens and go on,
// elsewhere by the n-grams of the index.
class PredictionTrack {
 public:
  // A run of agreeing tokens from which on the place counts as found.
  static constexpr uint32_t kSureRun = 3;
  // What the beginning of the prediction counts before any token came.
  static constexpr uint32_t kFirstRun = 8;
  // Where a place is looked for by any match: so many tokens before and after the one where it
  // would be had single tokens been replaced, until so many tokens did not fit.
  static constexpr uint32_t kNearBefore = 16;
  static constexpr uint32_t kNearAfter = 64;
  static constexpr uint32_t kNearTokens = 32;

  // text: what came so far.
  void begin(std::span<const int32_t> prediction, std::span<const int32_t> text);
  std::span<const int32_t> tokens() const { return tokens_; }
  // output: what came since the last call.
  void follow(std::span<const int32_t> output);
  // The place after text and draft; text ends with what was followed. Nothing where there is none.
  std::optional<TokenPlace> place(std::span<const int32_t> text, std::span<const int32_t> draft);
  uint64_t n_operations() const { return n_operations_ + index_.n_operations(); }

 private:
  struct Cursor {
    uint32_t next = 0;
    uint32_t run = 0;      // tokens before next that agreed; 0: no place
    uint32_t home = 0;     // the last next that counted as found
    uint32_t n_since = 0;  // tokens after it
  };
  void advance(Cursor& cursor, int32_t token) const;
  void look_around(Cursor& cursor, const TokenTail& tail);

  std::vector<int32_t> tokens_;
  TokenIndex index_;
  Cursor cursor_;
  uint64_t n_operations_ = 0;
};

class PromptLookup final : public Drafter {
 public:
  // max_context: tokens of a sequence, for which room is set aside when it begins.
  explicit PromptLookup(uint32_t max_context) : max_context_(max_context) {}

  DrafterKind kind() const override { return {DraftSource::prompt_lookup, false}; }
  void begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
             std::span<const int32_t> prediction) override;
  void draft(std::span<SequenceRows> step, TokenChooser& chooser) override;
  void accept(std::span<const SequenceRows>) override {}
  void end(SequenceId sequence) override;

  // Slots and tokens looked at so far, in all sequences that have not ended.
  uint64_t n_operations() const;

 private:
  struct Text {
    bool in_use = false;
    TokenIndex index;
    PredictionTrack prediction;
    uint32_t n_followed = 0;  // of the sequence's tokens, by the prediction
  };
  void draft_one(SequenceRows& rows, Text& text);

  const uint32_t max_context_;
  std::vector<std::unique_ptr<Text>> texts_;  // by id
};

}  // namespace floe

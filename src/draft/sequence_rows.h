#pragma once
// The rows of one sequence in one step: planned, guessed, computed, and what came of them.
//
// A step is a list of these. The scheduler makes it, drafters add guesses, the economics say how
// many of those become rows, the sampler says which were right, and all learn from it: the same
// record all the way, found by its index in the list or by its sequence's id.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace floe {

// Small numbers: below the largest number of sequences that run at a time. A sequence has one while
// it runs, another sequence gets it afterwards.
using SequenceId = uint32_t;

// Who guessed. A prediction is text that the request itself supplied as its likely output.
enum class DraftSource : uint8_t { prompt_lookup, prediction, mtp, draft_model, eagle3 };
inline constexpr uint32_t kDraftSources = 5;
const char* to_string(DraftSource source);  // "ngram", "prediction", "mtp", "draft", "eagle3"

// How sure a drafter is, as a level of its own: only tokens of one source compare. Acceptance is
// estimated per level.
inline constexpr uint32_t kConfidenceLevels = 8;

struct DraftToken {
  int32_t token = 0;
  DraftSource source = DraftSource::prompt_lookup;
  uint8_t confidence = 0;  // 0 .. kConfidenceLevels - 1, higher is surer
};

inline constexpr uint32_t kMaxDraftTokens = 32;  // of one sequence in one step

struct SequenceRows {
  // Planned. n_rows known tokens from first_position on, then guesses.
  SequenceId sequence = 0;
  std::span<const int32_t> tokens;  // prompt and output, as far as known: longer after the forward
  std::span<const uint32_t> slots;  // of positions 0 .. the last row's, with guesses that may come
  uint32_t first_position = 0;
  uint32_t n_rows = 0;
  bool reaches_end = false;   // the last known token is among them: its logits give the next
  uint32_t first_scored = 0;  // of the n_rows: those whose logits tell how probable the prompt is
  uint32_t n_scored = 0;
  bool has_drafters = false;  // drafters know the sequence

  // Guessed.
  uint32_t max_draft = 0;         // guesses that the sequence may have in this step
  uint32_t n_wanted = 0;          // up to which the drafter that is asked may extend the draft
  std::vector<DraftToken> draft;  // all guesses
  uint32_t n_verify = 0;          // of those, the first n_verify become rows

  // Computed.
  uint32_t first_row = 0;    // in the forward
  uint32_t n_sampled = 0;    // tokens, one that ended the sequence included
  uint32_t n_accepted = 0;   // guesses that were right
  uint32_t n_committed = 0;  // of all rows, the first ones that stay; 0: the sequence has ended
  const float* hidden = nullptr;  // f32 [n_all_rows()][hidden_dim], as ForwardOutput::hidden
  // f32 [n_all_rows()][kTaps * hidden_dim], as ForwardOutput::taps; null where the trunk gives none
  const float* taps = nullptr;

  bool decodes() const { return reaches_end && n_rows == 1; }
  uint32_t n_all_rows() const { return n_rows + n_verify; }
  bool scores(uint32_t row) const { return row >= first_scored && row - first_scored < n_scored; }
  // With logits: the scored rows, then those of the end.
  uint32_t n_logit_rows() const { return n_scored + n_end_logit_rows(); }
  uint32_t n_end_logit_rows() const { return reaches_end ? 1 + n_verify : 0; }
  uint32_t n_drafted() const { return static_cast<uint32_t>(draft.size()); }
  // That became rows.
  std::span<const DraftToken> guesses() const { return std::span(draft).first(n_verify); }
  // That the step added.
  std::span<const int32_t> new_tokens() const { return tokens.subspan(first_position + n_rows); }
};

}  // namespace floe

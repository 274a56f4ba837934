#pragma once
// Rows as the scheduler plans them, for tests that drive the economics by hand.
#include <utility>

#include "draft/sequence_rows.h"

namespace floe {

// Of a sequence that decodes at this position and has a draft.
inline SequenceRows decode_rows(SequenceId sequence, uint32_t position,
                                std::vector<DraftToken> draft = {}) {
  SequenceRows rows;
  rows.sequence = sequence;
  rows.first_position = position;
  rows.n_rows = 1;
  rows.reaches_end = rows.has_drafters = true;
  rows.max_draft = kMaxDraftTokens;
  rows.draft = std::move(draft);
  return rows;
}

// A chunk of a prompt, of a sequence that drafters do not know.
inline SequenceRows prompt_rows(uint32_t n_rows) {
  SequenceRows rows;
  rows.sequence = 98;
  rows.n_rows = n_rows;
  return rows;
}

// What the step made of decode rows: n_accepted guesses were right, and `text` is the whole text
// after it. A token that ends the sequence is sampled and no part of the text.
inline void commit(SequenceRows& rows, uint32_t n_accepted, std::span<const int32_t> text) {
  rows.n_accepted = n_accepted;
  rows.n_sampled = rows.n_committed = n_accepted + 1;
  rows.tokens = text;
}

}  // namespace floe

#include "draft/economics.h"

#include "base/error.h"

namespace floe {

void Economics::allocate(std::span<SequenceRows> step, uint32_t max_draft_rows) {
  for (SequenceRows& rows : step) rows.n_verify = 0;
  history_.begin_step(step);
  if (history_.n_decoding() != 0) strategy_->allocate(step, max_draft_rows);
}

bool Economics::is_dropped(SequenceId id, DraftSource source) const {
  const SequenceHistory* sequence = history_.find(id);
  return sequence != nullptr && sequence->drafters[static_cast<size_t>(source)].is_dropped;
}

void Economics::drop(SequenceId id, DraftSource source) {
  SequenceHistory* sequence = history_.find(id);
  FLOE_CHECK(sequence != nullptr);
  sequence->drafters[static_cast<size_t>(source)].is_dropped = true;
}

SpecDecision Economics::decision(SequenceId id) const {
  const SequenceHistory* sequence = history_.find(id);
  return sequence != nullptr ? sequence->decision : SpecDecision{};
}

}  // namespace floe

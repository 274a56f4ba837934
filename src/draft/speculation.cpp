#include "draft/speculation.h"

#include <algorithm>

namespace floe {

Speculation::Speculation(const SpecPolicy& policy, const ModelInfo& model,
                         const std::optional<MachineRates>& rates,
                         std::vector<std::unique_ptr<Drafter>> drafters, uint32_t max_sequences)
    : policy_(policy), economics_(policy, model, rates), drafters_(std::move(drafters)) {
  tasks_.reserve(max_sequences);
  candidates_.reserve(max_sequences);
}

void Speculation::begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
                        std::span<const int32_t> prediction) {
  economics_.begin(sequence);
  for (const auto& drafter : drafters_) drafter->begin(sequence, tokens, n_cached, prediction);
}

void Speculation::end(SequenceId sequence) {
  for (const auto& drafter : drafters_) drafter->end(sequence);
  economics_.end(sequence);
}

void Speculation::propose(std::span<SpecTurn> turns, const StepShape& shape,
                          TokenChooser& chooser) {
  for (SpecTurn& turn : turns) turn.draft.clear();
  for (const auto& drafter : drafters_) {
    tasks_.clear();
    for (SpecTurn& turn : turns) {
      turn.draft.resize(economics_.tokens_to_keep(turn.sequence, drafter->source(),
                                                  drafter->is_free(), turn.draft));
      const auto n_drafted = static_cast<uint32_t>(turn.draft.size());
      const uint32_t n_asked = economics_.tokens_to_ask(
          turn.sequence, drafter->source(), drafter->is_free(), n_drafted, turn.max_tokens);
      if (n_asked == 0) continue;
      tasks_.push_back({turn.sequence, turn.tokens, turn.slots, n_drafted + n_asked, &turn.draft});
    }
    if (!tasks_.empty()) drafter->draft(tasks_, chooser);
  }
  candidates_.clear();
  for (const SpecTurn& turn : turns) {
    FLOE_CHECK(turn.draft.size() <= turn.max_tokens);
    const auto position = static_cast<uint32_t>(turn.tokens.size() - 1);
    candidates_.push_back({turn.sequence, position, turn.draft, 0});
  }
  economics_.allocate(candidates_, shape);
  for (size_t i = 0; i < turns.size(); ++i) {
    FLOE_CHECK(candidates_[i].n_verify <= turns[i].draft.size());
    turns[i].n_verify = candidates_[i].n_verify;
  }
}

void Speculation::accept(std::span<const CommittedRows> rows) {
  if (rows.empty()) return;
  for (const auto& drafter : drafters_) drafter->accept(rows);
}

void Speculation::learn(std::span<const SpecOutcome> outcomes, const StepMeasure& measure) {
  economics_.observe(outcomes, measure);
}

uint64_t Speculation::n_bytes_read() const {
  uint64_t n_bytes = 0;
  for (const auto& drafter : drafters_) n_bytes += drafter->n_bytes_read();
  return n_bytes;
}

uint32_t Speculation::n_settled(SequenceId sequence, uint32_t n_cached) const {
  uint32_t n = n_cached;
  for (const auto& drafter : drafters_) n = std::min(n, drafter->n_settled(sequence, n_cached));
  return n;
}

}  // namespace floe

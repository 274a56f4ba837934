#include "draft/speculation.h"

#include <algorithm>

#include "base/time_between.h"

namespace floe {

namespace {

// Adds the time that it lives to a sum of seconds.
class Stopwatch {
 public:
  Stopwatch(const Clock& clock, double* seconds)
      : clock_(clock), seconds_(seconds), begin_ns_(clock.now_ns()) {}
  ~Stopwatch() { *seconds_ += seconds_between(begin_ns_, clock_.now_ns()); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  const Clock& clock_;
  double* seconds_;
  int64_t begin_ns_;
};

}  // namespace

Speculation::Speculation(const SpecPolicy& policy, const ModelInfo& model,
                         const std::optional<MachineRates>& rates,
                         std::vector<std::unique_ptr<Drafter>> drafters, uint32_t max_sequences,
                         const Clock& clock)
    : economics_(policy, model, rates), drafters_(std::move(drafters)), clock_(clock) {
  tasks_.reserve(max_sequences);
  candidates_.reserve(max_sequences);
}

void Speculation::begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
                        std::span<const int32_t> prediction, bool shares_prompt) {
  economics_.begin(sequence, shares_prompt);
  for (const auto& drafter : drafters_) drafter->begin(sequence, tokens, n_cached, prediction);
  let_rest(sequence);
}

void Speculation::end(SequenceId sequence) {
  for (const auto& drafter : drafters_) drafter->end(sequence);
  economics_.end(sequence);
}

void Speculation::propose(std::span<SpecTurn> turns, const StepShape& shape,
                          TokenChooser& chooser) {
  for (SpecTurn& turn : turns) turn.draft.clear();
  draft_seconds_ = {};
  for (const auto& drafter : drafters_) {
    const Stopwatch stopwatch(clock_, seconds_of(*drafter));
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
  for (const auto& drafter : drafters_) {
    const Stopwatch stopwatch(clock_, seconds_of(*drafter));
    drafter->accept(rows);
  }
}

void Speculation::learn(std::span<const SpecOutcome> outcomes, StepMeasure measure) {
  measure.draft_seconds = draft_seconds_;
  economics_.observe(outcomes, measure);
  for (const SpecOutcome& outcome : outcomes) let_rest(outcome.sequence);
}

void Speculation::let_rest(SequenceId sequence) {
  for (const auto& drafter : drafters_) {
    if (economics_.has_given_up(sequence, drafter->source())) drafter->rest(sequence);
  }
}

std::array<DraftReads, kDraftSources> Speculation::reads() const {
  std::array<DraftReads, kDraftSources> reads{};
  for (const auto& drafter : drafters_) {
    reads[static_cast<size_t>(drafter->source())] = drafter->reads();
  }
  return reads;
}

std::array<DrafterState, kDraftSources> Speculation::drafter_states() const {
  std::array<DrafterState, kDraftSources> states{};
  for (const auto& drafter : drafters_) {
    const bool on = economics_.lets_guess(drafter->source(), drafter->is_free());
    states[static_cast<size_t>(drafter->source())] = on ? DrafterState::on : DrafterState::off;
  }
  return states;
}

uint32_t Speculation::n_settled(SequenceId sequence, uint32_t n_cached) const {
  uint32_t n = n_cached;
  for (const auto& drafter : drafters_) n = std::min(n, drafter->n_settled(sequence, n_cached));
  return n;
}

}  // namespace floe

#pragma once
// The chain of drafters with the economics that rule it: what the engine talks to.
//
// A step: propose() before the forward; accept(), then learn() after it, so that what the drafters
// took is part of what is learnt. A sequence is known from begin() to end();
// a preempted one ends and begins again when it comes back.
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "draft/drafter.h"
#include "draft/economics.h"

namespace floe {

// A sequence that decodes in the step to come.
struct SpecTurn {
  SequenceId sequence = 0;
  std::span<const int32_t> tokens;  // as in DraftTask
  std::span<const uint32_t> slots;
  uint32_t max_tokens = 0;
  std::vector<DraftToken> draft;  // out: what the drafters guess
  uint32_t n_verify = 0;          // out: the first n_verify guesses become rows
};

// Not thread-safe. Allocates nothing in steady state if max_sequences bounds the turns of a step.
class Speculation {
 public:
  // Without drafters it does nothing. They are asked in their order. The clock outlives it.
  Speculation(const SpecPolicy& policy, const ModelInfo& model,
              const std::optional<MachineRates>& rates,
              std::vector<std::unique_ptr<Drafter>> drafters, uint32_t max_sequences,
              const Clock& clock);

  bool active() const { return !drafters_.empty(); }

  // As Drafter::begin. shares_prompt: as Economics::begin.
  void begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
             std::span<const int32_t> prediction, bool shares_prompt);
  void end(SequenceId sequence);

  void propose(std::span<SpecTurn> turns, const StepShape& shape, TokenChooser& chooser);
  // rows: those that the step committed, of sequences that go on.
  void accept(std::span<const CommittedRows> rows);
  // measure: draft_seconds is added here.
  void learn(std::span<const SpecOutcome> outcomes, StepMeasure measure);

  // Positions below it are final in the planes of every drafter.
  uint32_t n_settled(SequenceId sequence, uint32_t n_cached) const;
  std::array<DraftReads, kDraftSources> reads() const;  // by source
  std::array<DrafterState, kDraftSources> drafter_states() const;
  SpecDecision decision(SequenceId sequence) const { return economics_.decision(sequence); }

 private:
  void let_rest(SequenceId sequence);
  double* seconds_of(const Drafter& drafter) {
    return &draft_seconds_[static_cast<size_t>(drafter.source())];
  }

  Economics economics_;
  std::vector<std::unique_ptr<Drafter>> drafters_;
  const Clock& clock_;
  DraftSeconds draft_seconds_{};  // of the step
  std::vector<DraftTask> tasks_;
  std::vector<SpecCandidate> candidates_;
};

}  // namespace floe

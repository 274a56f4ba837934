#pragma once
// The chain of drafters with the economics that rule it: what the engine talks to.
//
// A step: propose() before the forward; accept(), then learn() after it, so that what the drafters
// took is part of what is learnt. A sequence is known from begin() to end(); a preempted one ends
// and begins again when it comes back.
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "draft/drafter.h"
#include "draft/economics.h"

namespace floe {

// Not thread-safe. Allocates nothing in steady state.
class Speculation {
 public:
  // Without drafters it does nothing. They are asked in their order. The clock outlives it.
  Speculation(const SpecPolicy& policy, const ModelInfo& model,
              const std::optional<MachineRates>& rates,
              std::vector<std::unique_ptr<Drafter>> drafters, const Clock& clock)
      : economics_(policy, model, rates), drafters_(std::move(drafters)), clock_(clock) {}

  bool active() const { return !drafters_.empty(); }

  // As Drafter::begin. n_written: by source, of the cached positions the first ones that hold what
  // the drafter caches; one that lacks some sits this sequence out, since what it would read there
  // was never written. shares_prompt: as Economics::begin.
  void begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
             const std::array<uint32_t, kDraftSources>& n_written,
             std::span<const int32_t> prediction, bool shares_prompt);
  void end(SequenceId sequence);

  // Fills in the drafts of the rows that decode, and how many of their guesses become rows,
  // max_draft_rows in all.
  void propose(std::span<SequenceRows> step, uint32_t max_draft_rows, TokenChooser& chooser);
  void accept(std::span<const SequenceRows> step);
  // measure: draft_seconds is added here.
  void learn(std::span<const SequenceRows> step, StepMeasure measure);

  // Positions below it are final in the planes of every drafter.
  uint32_t n_final(SequenceId sequence, uint32_t n_cached) const;
  // By source, the positions below which a drafter has written what it caches of them.
  std::array<uint32_t, kDraftSources> n_written(SequenceId sequence, uint32_t n_cached) const;
  std::array<DraftReads, kDraftSources> reads() const;  // by source
  std::array<DrafterState, kDraftSources> drafter_states() const;
  SpecDecision decision(SequenceId sequence) const { return economics_.decision(sequence); }

 private:
  void drop_drafters(SequenceId sequence);
  double* seconds_of(const Drafter& drafter) {
    return &draft_seconds_[static_cast<size_t>(drafter.source())];
  }

  Economics economics_;
  std::vector<std::unique_ptr<Drafter>> drafters_;
  const Clock& clock_;
  DraftSeconds draft_seconds_{};  // of the step
};

}  // namespace floe

#pragma once
// The guesses of a step: asked for before the forward, verified by it, learnt from after it.
//
// A guess is accepted if it is the token that the sampler takes from the logits of the row before
// it, with that position's own random number. So the output is the one without guesses, token for
// token.
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "draft/speculation.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace floe {

class Verify final : private TokenChooser {
 public:
  // Without drafters it does nothing. scheduler, sampler and clock outlive it.
  Verify(const EngineOptions& options, const ModelInfo& model,
         std::vector<std::unique_ptr<Drafter>> drafters, Scheduler& scheduler, Sampler& sampler,
         const Clock& clock);

  bool active() const { return speculation_.active(); }

  // A sequence that starts to run, or leaves.
  void begin(Sequence& sequence);
  void end(Sequence& sequence);

  // Adds guesses to the sequences of the plan that decode.
  void guess(std::span<PlannedRows> plan);
  // So far the step has sampled n_sampled tokens of the planned sequence, and its first n_accepted
  // guesses were right.
  void judge(const PlannedRows& planned, uint32_t n_sampled, uint32_t n_accepted);
  // After all are judged. first_cached[i]: where the rows of plan[i] began.
  void learn(std::span<const PlannedRows> plan, std::span<const uint32_t> first_cached,
             const ForwardOutput& output, double forward_seconds,
             std::span<const uint32_t> routing);
  // Ends the step for the block tables of the planned sequences.
  void settle(std::span<const PlannedRows> plan);

  std::array<DraftReads, kDraftSources> draft_reads() const { return speculation_.reads(); }
  std::array<DrafterState, kDraftSources> drafter_states() const {
    return speculation_.drafter_states();
  }
  double draft_seconds() const { return draft_seconds_; }  // of the last guess() and learn()
  SpecDecision decision(const Sequence& sequence) const {
    return speculation_.decision(sequence.age);
  }

 private:
  struct Turn {
    Sequence* sequence = nullptr;
    uint32_t n_tokens_before = 0;
    uint32_t n_sampled = 0;
    uint32_t n_accepted = 0;
  };

  int32_t choose(const DraftTask& task, std::span<const float> logits) override;
  std::span<SpecTurn> turns() { return std::span(spec_turns_).first(turns_.size()); }

  const uint32_t max_draft_tokens_;
  const uint32_t max_draft_rows_;
  const ModelInfo& model_;
  Scheduler& scheduler_;
  Sampler& sampler_;
  const Clock& clock_;
  Speculation speculation_;

  // Of the step; kept so that it allocates nothing.
  std::vector<Turn> turns_;
  std::vector<SpecTurn> spec_turns_;  // [max_sequences], the first turns_.size() in use
  std::vector<CommittedRows> committed_;
  std::vector<SpecOutcome> outcomes_;
  std::vector<float> whole_logits_;  // [n_vocab], where a drafter's head knows fewer tokens
  double guess_seconds_ = 0.0;
  double draft_seconds_ = 0.0;
};

}  // namespace floe

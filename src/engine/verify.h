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
#include "engine/grammar_mask.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace floe {

class Verify final : private TokenChooser {
 public:
  // Without drafters it does nothing. scheduler, sampler, mask and clock outlive it.
  Verify(const EngineOptions& options, const ModelInfo& model,
         std::vector<std::unique_ptr<Drafter>> drafters, Scheduler& scheduler, Sampler& sampler,
         GrammarMask& mask, const Clock& clock);

  bool active() const { return speculation_.active(); }

  // A sequence that starts to run, or leaves.
  void begin(Sequence& sequence);
  void end(Sequence& sequence);

  // Adds guesses to the rows that decode, and the slots that they need.
  void guess(std::span<SequenceRows> step);
  // After all have been sampled. routing: as StepMeasure has it.
  void learn(std::span<const SequenceRows> step, const ByteLedger& ledger, double forward_seconds,
             std::span<const uint32_t> routing);
  // Positions of a running sequence that neither the trunk nor a drafter will write again.
  uint32_t n_final(const Sequence& sequence) const {
    return sequence.known_to_drafters ? speculation_.n_final(sequence.id, sequence.n_cached)
                                      : sequence.n_cached;
  }

  // The positions below which the blocks hold what each drafter keeps of them, by source.
  std::array<uint32_t, kDraftSources> n_written(const Sequence& sequence) const {
    if (!sequence.known_to_drafters) return {};
    return speculation_.n_written(sequence.id, sequence.n_cached);
  }

  std::array<DraftReads, kDraftSources> draft_reads() const { return speculation_.reads(); }
  std::array<DrafterState, kDraftSources> drafter_states() const {
    return speculation_.drafter_states();
  }
  double draft_seconds() const { return draft_seconds_; }  // of the last guess() and learn()
  SpecDecision decision(const Sequence& sequence) const {
    return speculation_.decision(sequence.id);
  }

 private:
  int32_t choose(const SequenceRows& rows, std::span<const float> logits) override;
  // Leaves out guesses that the grammar forbids, and what was guessed behind them.
  void keep_what_may_follow(SequenceRows& rows);

  const uint32_t max_draft_tokens_;
  const uint32_t max_draft_rows_;
  const ModelInfo& model_;
  Scheduler& scheduler_;
  Sampler& sampler_;
  GrammarMask& mask_;
  const Clock& clock_;
  Speculation speculation_;

  std::vector<float> whole_logits_;  // [n_vocab], where a drafter's head knows fewer tokens
  double guess_seconds_ = 0.0;
  double draft_seconds_ = 0.0;
};

}  // namespace floe

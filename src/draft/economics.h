#pragma once
// Whether guesses pay: how many tokens to ask drafters for, and how many of their guesses become
// rows of the forward.
//
// Three parts: what is known (spec_history.h of model, machine and sequences; drafter_profile.h of
// each drafter), the arithmetic of a plan (planner.h), and the policy that asks for plans and acts
// on them (spec_strategy.h). docs/speculation.md explains them with an example.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "draft/decision.h"
#include "draft/drafter.h"
#include "draft/spec_history.h"
#include "draft/spec_policy.h"
#include "draft/spec_strategy.h"
#include "draft/time_model.h"
#include "model/model.h"

namespace floe {

// Not thread-safe. Allocates while it sees its first sequences, not in every step.
class Economics {
 public:
  // Without rates the cost of further rows is taken as that of the bytes they read until forwards
  // with guesses have been timed.
  explicit Economics(const SpecPolicy& policy, const ModelInfo& model,
                     std::optional<MachineRates> rates = std::nullopt)
      : history_(model, std::move(rates)), strategy_(make_strategy(policy, history_)) {}

  // shares_prompt: with other sequences, which may need what drafters cache for it. Otherwise a
  // drafter that runs layers and has not paid lately may be dropped from the first token on.
  void begin(SequenceId sequence, bool shares_prompt = false) {
    strategy_->begin(history_.begin(sequence), shares_prompt);
  }
  void end(SequenceId sequence) { history_.end(sequence); }

  // How many of rows.draft, which drafters before this one guessed, stay: all, or none where this
  // drafter is expected to bring more. To be called before tokens_to_ask().
  uint32_t tokens_to_keep(const SequenceRows& rows, DrafterKind drafter) {
    return strategy_->keep(rows, drafter);
  }
  // How many tokens this drafter should add to rows.draft; the whole draft can have max_draft. 0:
  // it is not asked. A drafter that runs no layers is asked even where nothing will be verified:
  // its guesses are compared with the tokens that come.
  uint32_t tokens_to_ask(const SequenceRows& rows, DrafterKind drafter) {
    return strategy_->ask(rows, drafter);
  }
  // Sets n_verify of all rows: of those that decode, at most max_draft_rows together.
  void allocate(std::span<SequenceRows> step, uint32_t max_draft_rows);
  // After the forward, with the same step.
  void observe(std::span<const SequenceRows> step, const StepMeasure& measure) {
    strategy_->learn(step, measure);
  }
  // Whether a drafter that runs layers is no longer kept warm for the sequence. Once true, it stays
  // so, and the drafter is not asked.
  bool is_dropped(SequenceId sequence, DraftSource source) const;
  // Drops it, whatever the policy.
  void drop(SequenceId sequence, DraftSource source);
  // Whether guesses of this drafter may become rows at present: unless speculation is parked, and
  // of one that runs layers only if the last plan for the batch gave it tokens and it is kept warm
  // for somebody in the batch. A probe is no use of it. While nobody decodes it keeps its last
  // value.
  bool lets_guess(DrafterKind drafter) const { return strategy_->lets_guess(drafter); }

  // Of the last step.
  SpecDecision decision(SequenceId sequence) const;

 private:
  SpecHistory history_;
  std::unique_ptr<SpecStrategy> strategy_;
};

}  // namespace floe

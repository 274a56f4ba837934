#pragma once
// A policy at work: what drafters are asked for, which of their guesses become rows, and what a
// step teaches it. One strategy for each SpecMode.
#include <cstdint>
#include <memory>
#include <span>

#include "draft/drafter.h"
#include "draft/spec_history.h"
#include "draft/spec_policy.h"

namespace floe {

// The calls of a step: keep() and ask() for each drafter and each sequence that decodes, one
// drafter after the other; allocate(); the forward; learn().
class SpecStrategy {
 public:
  explicit SpecStrategy(SpecHistory& history) : history_(history) {}
  virtual ~SpecStrategy() = default;
  SpecStrategy(const SpecStrategy&) = delete;
  SpecStrategy& operator=(const SpecStrategy&) = delete;

  // As Economics::begin.
  virtual void begin(SequenceHistory& sequence, bool shares_prompt) {
    static_cast<void>(sequence);
    static_cast<void>(shares_prompt);
  }
  // As Economics::tokens_to_keep.
  virtual uint32_t keep(const SequenceRows& rows, DrafterKind drafter) {
    static_cast<void>(drafter);
    return rows.n_drafted();
  }
  // As Economics::tokens_to_ask.
  virtual uint32_t ask(const SequenceRows& rows, DrafterKind drafter) = 0;
  // Sets n_verify of the rows that decode; it is 0 before. history() has begun the step.
  virtual void allocate(std::span<SequenceRows> step, uint32_t max_draft_rows) = 0;
  virtual void learn(std::span<const SequenceRows> step, const StepMeasure& measure) = 0;
  virtual bool lets_guess(DrafterKind drafter) const = 0;

 protected:
  SpecHistory& history() { return history_; }
  const SpecHistory& history() const { return history_; }
  // Writes down what was decided for every sequence. of_drafts: for those whose guesses become
  // rows, and what the step is predicted to take. otherwise: why the guesses of others do not.
  void explain(std::span<const SequenceRows> step, const SpecDecision& of_drafts,
               SpecReason otherwise);

 private:
  SpecHistory& history_;
};

// history outlives the strategy.
std::unique_ptr<SpecStrategy> make_strategy(const SpecPolicy& policy, SpecHistory& history);

}  // namespace floe

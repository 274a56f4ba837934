#include "draft/spec_strategy.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "draft/paying_strategy.h"

namespace floe {

namespace {

// "off": nobody is asked, and nothing is learnt.
class OffStrategy final : public SpecStrategy {
 public:
  using SpecStrategy::SpecStrategy;
  uint32_t ask(const SequenceRows&, DrafterKind) override { return 0; }
  void allocate(std::span<SequenceRows>, uint32_t) override {}
  void learn(std::span<const SequenceRows>, const StepMeasure&) override {}
  bool lets_guess(DrafterKind) const override { return false; }
};

// "on:K": K guesses of every sequence, whatever they cost. Steps are timed all the same, so that
// their times are predicted.
class FixedStrategy final : public SpecStrategy {
 public:
  FixedStrategy(uint32_t n_guesses, SpecHistory& history)
      : SpecStrategy(history), n_guesses_(n_guesses) {}

  uint32_t ask(const SequenceRows& rows, DrafterKind) override {
    const uint32_t n_most = std::min({rows.max_draft, n_guesses_, kMaxDraftTokens});
    return n_most - std::min(n_most, rows.n_drafted());
  }

  void allocate(std::span<SequenceRows> step, uint32_t max_draft_rows) override {
    n_drafted_.clear();
    for (const SpecHistory::Decoding& one : history().decoding()) {
      n_drafted_.push_back(std::min(step[one.row_index].n_drafted(), n_guesses_));
    }
    n_taken_.resize(n_drafted_.size());
    share_rows(n_drafted_, max_draft_rows, n_taken_);
    for (size_t i = 0; i < n_taken_.size(); ++i) {
      step[history().decoding()[i].row_index].n_verify = n_taken_[i];
    }
    predicted_seconds_ =
        history().has_basis() && history().n_prompt_rows() == 0 ? history().seconds_of(step) : 0;
    explain(step, {"draft", SpecReason::fixed, predicted_seconds_}, SpecReason::no_rows);
  }

  void learn(std::span<const SequenceRows> step, const StepMeasure& measure) override {
    history().learn(step, measure, predicted_seconds_);
  }
  bool lets_guess(DrafterKind) const override { return true; }

 private:
  const uint32_t n_guesses_;
  double predicted_seconds_ = 0;
  std::vector<uint32_t> n_drafted_, n_taken_;  // of the sequences that decode
};

}  // namespace

void SpecStrategy::explain(std::span<const SequenceRows> step, const SpecDecision& of_drafts,
                           SpecReason otherwise) {
  for (const SpecHistory::Decoding& one : history_.decoding()) {
    if (one.history == nullptr) continue;
    const SequenceRows& rows = step[one.row_index];
    const SpecReason not_asked = std::exchange(one.history->not_asked, SpecReason::none);
    SpecDecision& decision = one.history->decision;
    decision = of_drafts;
    if (rows.n_verify != 0) continue;
    decision.state = otherwise == SpecReason::parked ? "parked" : "plain";
    decision.reason = otherwise;
    if (otherwise == SpecReason::parked) continue;
    if (rows.draft.empty()) {
      decision.reason = not_asked != SpecReason::none ? not_asked : SpecReason::no_guess;
    }
  }
}

std::unique_ptr<SpecStrategy> make_strategy(const SpecPolicy& policy, SpecHistory& history) {
  switch (policy.mode) {
    case SpecMode::off:
      return std::make_unique<OffStrategy>(history);
    case SpecMode::fixed:
      return std::make_unique<FixedStrategy>(policy.n_fixed, history);
    case SpecMode::adaptive:
      return std::make_unique<PayingStrategy>(policy.max_loss, history);
    case SpecMode::report:
      return std::make_unique<ReportStrategy>(policy.max_loss, history);
  }
  panic(__FILE__, __LINE__, "no such policy");
}

}  // namespace floe

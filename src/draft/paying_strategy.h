#pragma once
// "auto": as many guesses as pay, within what speculation may lose. And "report": the same
// decisions, of which none is carried out.
#include <array>
#include <cstdint>
#include <span>

#include "draft/drafter_profile.h"
#include "draft/loss_account.h"
#include "draft/parking.h"
#include "draft/spec_strategy.h"

namespace floe {

class PayingStrategy : public SpecStrategy {
 public:
  // max_loss: of the time that decoding without guesses takes.
  PayingStrategy(double max_loss, SpecHistory& history)
      : SpecStrategy(history), account_(max_loss) {}

  void begin(SequenceHistory& sequence, bool shares_prompt) override;
  uint32_t keep(const SequenceRows& rows, DrafterKind drafter) override;
  uint32_t ask(const SequenceRows& rows, DrafterKind drafter) override;
  void allocate(std::span<SequenceRows> step, uint32_t max_draft_rows) override;
  void learn(std::span<const SequenceRows> step, const StepMeasure& measure) override;
  bool lets_guess(DrafterKind drafter) const override;

 protected:
  static constexpr size_t index(DraftSource source) { return static_cast<size_t>(source); }
  // How many tokens of a drafter that runs layers pay, for all sequences at once: the plan of a
  // step, made before there are guesses, for the batch of the step before.
  virtual void plan(DraftSource source);
  // After a step without prompts: drops drafters that are not worth their rows.
  virtual void charge_warm_drafters(std::span<const SequenceRows> step,
                                    const DraftSeconds& seconds);
  DrafterProfile::Step& step_of(DraftSource source) { return drafters_[index(source)].step; }

  double predicted_seconds_ = 0;  // of the step at hand; 0: nothing is predicted

 private:
  uint32_t n_planned(const SequenceHistory& sequence, DraftSource source) const;
  bool may_probe(DraftSource source) const;
  bool is_kept_warm(DraftSource source) const;
  double asked_seconds() const;
  SpecReason choose(std::span<const ListedGuess> guesses, uint32_t* n_chosen);
  void learn_costs(const DraftSeconds& seconds);
  void count_probe(DraftSource source);
  void book_decoding(const StepMeasure& measure, uint32_t n_guesses, uint32_t n_tokens);
  void book_beside_prompts(const StepMeasure& measure, uint32_t n_rows, uint32_t n_guesses,
                           uint32_t n_accepted);

  LossAccount account_;
  Parking parking_;
  std::array<DrafterProfile, kDraftSources> drafters_;
  uint64_t step_ = 2;             // counts steps: no history has been asked in the one before
  bool all_asked_before_ = true;  // in the step before: the sequences asked in this one
};

class ReportStrategy final : public PayingStrategy {
 public:
  using PayingStrategy::PayingStrategy;
  void allocate(std::span<SequenceRows> step, uint32_t max_draft_rows) override;
  bool lets_guess(DrafterKind) const override { return false; }

 private:
  // Drafters that run layers are probed and no more.
  void plan(DraftSource source) override;
  void charge_warm_drafters(std::span<const SequenceRows>, const DraftSeconds&) override {}
};

}  // namespace floe

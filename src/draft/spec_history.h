#pragma once
// What steps have taught, whatever the policy: how long forwards take, which experts they read, how
// often guesses are right. And the step at hand, as seen before its forward.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "draft/acceptance.h"
#include "draft/batch_rows.h"
#include "draft/decision.h"
#include "draft/drafter.h"
#include "draft/plain_steps.h"
#include "draft/planner.h"
#include "draft/reuse.h"
#include "draft/shadow.h"
#include "draft/step_cost.h"
#include "model/model.h"

namespace floe {

// What is known of a sequence.
struct SequenceHistory {
  // Of a drafter that runs layers.
  struct DrafterUse {
    bool is_dropped = false;
    uint64_t asked_in = 0;     // the last step that asked it
    uint64_t planned_in = 0;   // the last step that planned for it:
    uint32_t n_planned = 0;    // so many tokens pay,
    double planned_reach = 0;  // and are expected to bring so many
  };

  bool is_live = false;
  bool in_batch = false;  // it decoded in the last step, or decodes in the one at hand
  RouterMemory router;
  SequenceAcceptance acceptance;
  ShadowScores shadows;
  std::array<DrafterUse, kDraftSources> drafters{};
  SpecReason not_asked = SpecReason::none;  // why no drafter with layers was asked, this step
  SpecDecision decision;
};

// What a forward took.
struct StepMeasure {
  double forward_seconds = 0;
  DraftSeconds draft_seconds{};  // what the drafters took, before and after it
  const ByteLedger* ledger = nullptr;
  // u32 [MoE layer][row][n_active_experts]; empty: not logged
  std::span<const uint32_t> routing = {};
};

class SpecHistory {
 public:
  SpecHistory(const ModelInfo& model, std::optional<MachineRates> rates);
  SpecHistory(const SpecHistory&) = delete;
  SpecHistory& operator=(const SpecHistory&) = delete;

  // Allocates where the id is larger than any before.
  SequenceHistory& begin(SequenceId id);
  void end(SequenceId id);
  // Null for a sequence that began without drafters.
  SequenceHistory* find(SequenceId id) const {
    return id < sequences_.size() && sequences_[id]->is_live ? sequences_[id].get() : nullptr;
  }

  // Looks at a step before anything is decided. Until the next one, what is said of the step at
  // hand is about this one.
  void begin_step(std::span<const SequenceRows> step);
  // The sequences that decode: where in the step their rows are, and what is known of them, null
  // for those without drafters.
  struct Decoding {
    uint32_t row_index = 0;
    SequenceHistory* history = nullptr;
  };
  std::span<const Decoding> decoding() const { return decoding_; }
  uint32_t n_decoding() const { return static_cast<uint32_t>(decoding_.size()); }
  uint32_t n_prompt_rows() const { return n_prompt_rows_; }
  // Of decoding(): those with drafters that have not ended since.
  template <typename Body>
  void each_in_batch(Body&& body) const {
    for (const Decoding& one : decoding_) {
      if (one.history != nullptr && one.history->in_batch) body(*one.history);
    }
  }
  // Whether each_in_batch() has all sequences with drafters that decoded.
  bool is_batch_whole() const { return n_ended_ == 0; }

  bool has_basis() const { return has_basis_; }  // forwards have been timed
  const StepCost::Basis& basis() const { return basis_; }
  double plain_seconds() const { return basis_.plain_seconds; }  // of this batch

  const PlainSteps& plain_steps() const { return plain_steps_; }
  // Of a forward with many rows of prompts; 0: none has been timed.
  double prompt_row_seconds() const { return prompt_row_seconds_.value; }
  static bool has_many_prompt_rows(uint32_t n_rows) { return n_rows >= kManyPromptRows; }

  // All guesses of the step that have a chance, by falling reach. Valid until the next call.
  std::span<const ListedGuess> list_guesses(std::span<const SequenceRows> step);
  // The same for guesses that nobody has made yet: n_tokens of a source for every sequence of
  // each_in_batch() that has not dropped it, in its order.
  std::span<const ListedGuess> list_guesses_of(DraftSource source, uint32_t n_tokens);
  // Probability that the guesses of a draft are right, summed over the first n_guesses.
  double expected_tokens(const SequenceHistory& sequence, std::span<const DraftToken> draft,
                         uint32_t n_guesses) const;
  // Predicted seconds of a forward of this batch; [i]: with the first i + 1 guesses of the list as
  // rows. Needs has_basis(). Valid until the next call.
  std::span<const double> forward_seconds(std::span<const ListedGuess> guesses);
  // The same with the guesses of the step that have become rows.
  double seconds_of(std::span<const SequenceRows> step);

  // After the forward. predicted_seconds: what was predicted of it; 0: nothing was.
  void learn(std::span<const SequenceRows> step, const StepMeasure& measure,
             double predicted_seconds);

 private:
  static constexpr uint32_t kManyPromptRows = 32;

  template <typename Add>
  void each_chance(const SequenceHistory& sequence, std::span<const DraftToken> draft,
                   Add&& add) const;
  void learn_from_decoding(const StepMeasure& measure, uint32_t n_guesses,
                           double predicted_seconds);

  RouterHistory router_;
  StepCost cost_;
  Acceptance acceptance_;
  PlainSteps plain_steps_;
  RunningMean prompt_row_seconds_;
  std::vector<std::unique_ptr<SequenceHistory>> sequences_;  // by id

  // Of the step at hand.
  std::vector<Decoding> decoding_;
  uint32_t n_ended_ = 0;  // of the sequences with drafters among them, since
  uint32_t n_prompt_rows_ = 0;
  double n_positions_ = 0;
  StepCost::Basis basis_;
  bool has_basis_ = false;
  BatchRows rows_;         // that the forward has
  BatchRows priced_rows_;  // of forward_seconds()
  std::vector<ListedGuess> guesses_;
  std::vector<double> forward_seconds_;
};

}  // namespace floe

#include "draft/economics.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"
#include "draft/acceptance.h"
#include "draft/choice.h"
#include "draft/loss_account.h"
#include "draft/parking.h"
#include "draft/reuse.h"
#include "draft/shadow.h"
#include "draft/side_asking.h"
#include "draft/step_cost.h"
#include "draft/upkeep.h"

namespace floe {

namespace {

// A gain below this is within the errors of the prediction.
constexpr double kMinGain = 1.03;
// Plain steps that a batch size is timed for before it speculates, and verifies between two later.
constexpr uint32_t kFirstPlainSteps = 3;
constexpr uint32_t kVerifiesPerPlain = 64;
// Guesses that will hardly ever be reached are not worth a look.
constexpr double kLeastReach = 0.01;
constexpr uint32_t kMaxPaidTokens = 8;
// Guesses less likely than this pay nowhere: they give way to a drafter that is asked on the side.
constexpr double kLeastPromise = 0.2;
// What a token of a drafter that was never timed is taken to cost, and costs at least, in plain
// steps.
constexpr double kUnknownDraftCost = 0.05;
constexpr double kLeastDraftCost = 1e-3;
constexpr uint32_t kDraftSamples = 16;
constexpr uint32_t kPromptSamples = 16;
// With fewer rows of prompts a forward's rows cost more than those of one with many.
constexpr uint32_t kLeastPromptRows = 32;

struct Sequence {
  SequenceId id = 0;
  bool is_live = false;
  bool in_batch = false;  // of the last step
  RouterMemory router;
  SequenceAcceptance acceptance;
  ShadowScores shadows;
  std::array<uint32_t, kDraftSources> n_paying{};     // tokens of a drafter that costs, this step
  std::array<double, kDraftSources> paying_tokens{};  // that those are expected to bring
  std::array<uint64_t, kDraftSources> asked_in{};     // the last step that asked it
  std::array<bool, kDraftSources> has_given_up{};
  SpecReason unasked = SpecReason::none;  // why a drafter that costs was not asked, this step
  SpecDecision decision;
};

}  // namespace

class Economics::Impl {
 public:
  Impl(const SpecPolicy& policy, const ModelInfo& model, std::optional<MachineRates> rates)
      : policy_(policy),
        router_(model.n_layers, model.n_experts, model.n_active_experts),
        cost_(std::move(rates)),
        account_(policy.max_loss),
        rows_(router_),
        planned_rows_(router_) {}

  void begin(SequenceId id, bool shares_prompt);
  void end(SequenceId id);
  uint32_t tokens_to_keep(SequenceId id, DraftSource source, bool is_free,
                          std::span<const DraftToken> draft);
  uint32_t tokens_to_ask(SequenceId id, DraftSource source, bool is_free, uint32_t n_drafted,
                         uint32_t max_tokens);
  void allocate(std::span<SpecCandidate> candidates, const StepShape& shape);
  void observe(std::span<const SpecOutcome> outcomes, const StepMeasure& measure);
  SpecDecision decision(SequenceId id) const {
    const Sequence* sequence = find(id);
    return sequence != nullptr ? sequence->decision : SpecDecision{};
  }
  bool has_given_up(SequenceId id, DraftSource source) const {
    const Sequence* sequence = find(id);
    return sequence != nullptr && sequence->has_given_up[static_cast<size_t>(source)];
  }
  bool lets_guess(DraftSource source, bool is_free) const {
    if (policy_.mode != SpecMode::adaptive) return policy_.mode == SpecMode::fixed;
    return !parking_.is_parked() && (is_free || pays_[static_cast<size_t>(source)]);
  }

 private:
  Sequence* find(SequenceId id) const {
    for (const auto& sequence : sequences_) {
      if (sequence->is_live && sequence->id == id) return sequence.get();
    }
    return nullptr;
  }
  void reserve_counts(size_t n_sequences) {
    if (n_plains_.size() > n_sequences) return;
    n_plains_.resize(n_sequences + 1);
    n_plains_wanted_.resize(n_sequences + 1, kFirstPlainSteps);
    n_verifies_.resize(n_sequences + 1);
  }
  // By a sequence of the batch.
  bool is_kept_up(uint32_t source) const {
    return std::any_of(sequences_.begin(), sequences_.end(), [&](const auto& sequence) {
      return sequence->in_batch && !sequence->has_given_up[source];
    });
  }
  double draft_seconds_of(DraftSource source) const;
  double expected_draft_seconds() const;
  void plan_paid(DraftSource source);
  bool may_ask_aside(DraftSource source) const {
    return side_[static_cast<size_t>(source)].is_due() && account_.balance() >= 0;
  }
  void count_side_asking(DraftSource source);
  void take_stock(std::span<const SpecCandidate> candidates, const StepShape& shape);
  void list_chances(std::span<const SpecCandidate> candidates);
  SpecReason choose(const StepShape& shape, uint32_t* n_chosen);
  SpecReason choose_beside_prompts(uint32_t n_most, uint32_t* n_chosen);
  void take_first(std::span<SpecCandidate> candidates, uint32_t n_left);
  void explain(std::span<const SpecCandidate> candidates, SpecReason reason);
  void learn_draft_cost(const DraftSeconds& seconds);
  double asked_seconds(const DraftSeconds& seconds) const;
  void account_for_upkeep(std::span<const SpecOutcome> outcomes, const DraftSeconds& seconds);
  void learn_from_decoding(const StepMeasure& measure, uint32_t n_verified, uint32_t n_tokens);
  void learn_from_prompts(const StepMeasure& measure, uint32_t n_verified, uint32_t n_accepted);

  const SpecPolicy policy_;
  RouterHistory router_;
  StepCost cost_;
  Acceptance acceptance_;
  LossAccount account_;
  Parking parking_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // those that ended are used again

  std::array<SideAsking, kDraftSources> side_;
  std::array<TimeMean, kDraftSources> draft_seconds_;  // per token asked for
  std::array<TimeMean, kDraftSources> idle_seconds_;   // in steps that ask for nothing
  std::array<bool, kDraftSources> costs_{};            // asked for, and not free
  std::array<bool, kDraftSources> pays_{};             // by its last plan
  std::array<Upkeep, kDraftSources> upkeep_;
  RunningMean prompt_row_seconds_;  // of a row in forwards with prompts
  // By batch size: plain steps timed so far, those wanted before the next verify, and verifies
  // since.
  std::vector<uint32_t> n_plains_, n_plains_wanted_, n_verifies_;

  // Of the step at hand; what the drafters are asked for is planned with the batch of the step
  // before.
  std::array<uint32_t, kDraftSources> n_asked_{};
  std::array<bool, kDraftSources> is_planned_{}, is_asked_aside_{};
  std::array<SpecReason, kDraftSources> unplanned_{};  // why the plan has no tokens for some
  bool all_asked_before_ = true;  // in the step before: those that are asked now
  uint64_t step_ = 2;
  StepCost::Basis basis_;
  bool has_basis_ = false;
  double n_positions_ = 0;
  uint32_t n_known_ = 0;  // sequences of the batch that begin() was called for
  BatchRows rows_, planned_rows_;
  double predicted_seconds_ = 0;
  std::vector<Chance> chances_;
  std::vector<Sequence*> of_candidate_, of_plan_;
};

void Economics::Impl::begin(SequenceId id, bool shares_prompt) {
  Sequence* sequence = nullptr;
  for (auto& old : sequences_) {
    if (!old->is_live) sequence = old.get();
  }
  if (sequence == nullptr) {
    sequence = sequences_.emplace_back(std::make_unique<Sequence>()).get();
    const size_t n = sequences_.size();
    cost_.reserve(static_cast<uint32_t>(n));
    reserve_counts(n);
    chances_.reserve(n * kMaxDraftTokens);
    of_candidate_.reserve(n);
    of_plan_.reserve(n);
    rows_.reserve(static_cast<uint32_t>(n));
    planned_rows_.reserve(static_cast<uint32_t>(n));
  }
  RouterMemory memory = std::move(sequence->router);
  *sequence = Sequence{};
  sequence->router = std::move(memory);
  router_.begin(sequence->router);
  sequence->id = id;
  sequence->is_live = true;
  if (shares_prompt) return;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    sequence->has_given_up[s] = !upkeep_[s].takes_part();
  }
}

void Economics::Impl::end(SequenceId id) {
  Sequence* sequence = find(id);
  if (sequence == nullptr) return;
  sequence->is_live = false;
  sequence->in_batch = false;
}

double Economics::Impl::draft_seconds_of(DraftSource source) const {
  const TimeMean& mean = draft_seconds_[static_cast<size_t>(source)];
  return mean.is_known() ? mean.value() : kUnknownDraftCost * basis_.plain_seconds;
}

double Economics::Impl::expected_draft_seconds() const {
  double seconds = 0;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    if (n_asked_[s] != 0) seconds += n_asked_[s] * draft_seconds_of(DraftSource(s));
  }
  return seconds;
}

// How many tokens of a drafter that costs pay, for all sequences at once: the choice of the step,
// made before the guesses are, with the confidence of any of them.
void Economics::Impl::plan_paid(DraftSource source) {
  const auto s = static_cast<size_t>(source);
  is_planned_[s] = true;
  unplanned_[s] = SpecReason::none;
  of_plan_.clear();
  chances_.clear();
  for (const auto& sequence : sequences_) {
    sequence->n_paying[s] = 0;
    sequence->paying_tokens[s] = 0;
    if (!sequence->in_batch) continue;
    const auto index = static_cast<uint32_t>(of_plan_.size());
    of_plan_.push_back(sequence.get());
    if (sequence->has_given_up[s]) continue;
    uint8_t recent = sequence->acceptance.of_source[s].recent;
    double reach = 1;
    for (uint32_t k = 0; k < kMaxPaidTokens; ++k) {
      reach *= acceptance_.probability(sequence->acceptance, source, Acceptance::kAnyConfidence,
                                       recent, k);
      recent = Acceptance::push(recent, true);
      chances_.push_back({reach, index});
    }
  }
  if (!has_basis_ || of_plan_.size() != n_known_ || parking_.is_parked()) return;
  if (policy_.mode == SpecMode::report) return;
  std::sort(chances_.begin(), chances_.end(),
            [](const Chance& a, const Chance& b) { return a.reach > b.reach; });
  planned_rows_.reset(basis_.n_sequences);
  const Choice choice = choose_guesses(
      chances_, cost_, basis_, {0, draft_seconds_of(source), kMinGain}, account_, planned_rows_);
  pays_[s] = choice.n_chosen != 0;
  unplanned_[s] =
      pays_[s] || !choice.is_refused ? SpecReason::would_not_pay : SpecReason::loss_account;
  for (const Chance& chance : std::span(chances_).first(choice.n_chosen)) {
    ++of_plan_[chance.sequence]->n_paying[s];
    of_plan_[chance.sequence]->paying_tokens[s] += chance.reach;
  }
}

uint32_t Economics::Impl::tokens_to_keep(SequenceId id, DraftSource source, bool is_free,
                                         std::span<const DraftToken> draft) {
  const auto n_draft = static_cast<uint32_t>(draft.size());
  const bool decides = policy_.mode == SpecMode::adaptive || policy_.mode == SpecMode::report;
  if (!decides || is_free || draft.empty()) return n_draft;
  Sequence* sequence = find(id);
  if (sequence == nullptr || sequence->has_given_up[static_cast<size_t>(source)]) return n_draft;
  if (!is_planned_[static_cast<size_t>(source)]) plan_paid(source);
  const uint32_t n_paying = sequence->n_paying[static_cast<size_t>(source)];
  if (n_paying == 0 && !may_ask_aside(source)) return n_draft;
  // What it brings as it stands, against what the later drafter would bring instead, less the
  // tokens that plain steps make in the time its guessing takes. Rows cost the same whoever
  // guessed.
  const SequenceAcceptance& own = sequence->acceptance;
  RecentOutcomes recent = recent_outcomes(own);
  double reach = 1, kept = 0;
  for (uint32_t k = 0; k < std::min(n_draft, std::max(n_paying, 1u)); ++k) {
    uint8_t& bits = recent[static_cast<size_t>(draft[k].source)];
    reach *= acceptance_.probability(own, draft[k].source, draft[k].confidence, bits, k);
    bits = Acceptance::push(bits, true);
    kept += reach;
  }
  if (n_paying == 0) {
    if (kept >= kLeastPromise) return n_draft;
  } else {
    const double tokens_per_second = basis_.n_sequences / basis_.plain_seconds;
    const double guessing = n_paying * draft_seconds_of(source) * tokens_per_second;
    if (kept >= sequence->paying_tokens[static_cast<size_t>(source)] - guessing) return n_draft;
  }
  sequence->shadows.keep(own, draft);
  return 0;
}

// After every step, so that answers of a few tokens do not begin anew. All sequences are asked in
// the same steps.
void Economics::Impl::count_side_asking(DraftSource source) {
  const auto s = static_cast<size_t>(source);
  if (!is_asked_aside_[s]) {
    side_[s].pass();
    const bool pays_for_all =
        n_asked_[s] != 0 &&
        std::none_of(sequences_.begin(), sequences_.end(), [&](const auto& sequence) {
          return sequence->in_batch && !sequence->has_given_up[s] && sequence->n_paying[s] == 0;
        });
    if (pays_for_all) side_[s] = {};
    return;
  }
  double cost = 0;
  if (has_basis_) {
    cost = 2 * SideAsking::kTokens * draft_seconds_of(source) * basis_.n_sequences /
           basis_.plain_seconds;
  }
  const bool was_right =
      std::any_of(sequences_.begin(), sequences_.end(), [&](const auto& sequence) {
        return sequence->asked_in[s] == step_ &&
               (sequence->acceptance.of_source[s].recent & 1) != 0;
      });
  side_[s].asked(cost, was_right);
}

uint32_t Economics::Impl::tokens_to_ask(SequenceId id, DraftSource source, bool is_free,
                                        uint32_t n_drafted, uint32_t max_tokens) {
  max_tokens = std::min(max_tokens, kMaxDraftTokens);
  if (policy_.mode == SpecMode::fixed) max_tokens = std::min(max_tokens, policy_.n_fixed);
  if (policy_.mode == SpecMode::off || n_drafted >= max_tokens) return 0;
  const uint32_t n_most = max_tokens - n_drafted;
  if (policy_.mode == SpecMode::fixed) return n_most;
  Sequence* sequence = find(id);
  if (sequence == nullptr) return 0;
  if (is_free) return n_most;
  const auto s = static_cast<size_t>(source);
  costs_[s] = true;
  if (n_drafted != 0 || sequence->has_given_up[s]) return 0;
  if (!is_planned_[s]) plan_paid(source);
  uint32_t n_tokens = sequence->n_paying[s];
  if (n_tokens == 0) {
    if (!may_ask_aside(source)) {
      if (sequence->in_batch) sequence->unasked = unplanned_[s];
      return 0;
    }
    is_asked_aside_[s] = true;
    n_tokens = SideAsking::kTokens;
  }
  n_tokens = std::min(n_tokens, n_most);
  n_asked_[s] += n_tokens;
  if (sequence->asked_in[s] + 1 != step_) all_asked_before_ = false;
  sequence->asked_in[s] = step_;
  return n_tokens;
}

// What is known before anything is chosen.
void Economics::Impl::take_stock(std::span<const SpecCandidate> candidates,
                                 const StepShape& shape) {
  for (const auto& sequence : sequences_) sequence->in_batch = false;
  of_candidate_.clear();
  n_positions_ = 0;
  n_known_ = 0;
  for (const SpecCandidate& candidate : candidates) {
    Sequence* sequence = find(candidate.sequence);
    of_candidate_.push_back(sequence);
    n_positions_ += candidate.position + 1;
    if (sequence == nullptr) continue;
    ++n_known_;
    sequence->in_batch = true;
    sequence->decision = {};
  }
  const auto n = static_cast<uint32_t>(candidates.size());
  reserve_counts(n);
  rows_.reset(n);
  predicted_seconds_ = 0;
  has_basis_ = n != 0 && cost_.knows_any();
  if (!has_basis_) return;
  basis_ = cost_.basis(n, n_positions_, rows_.experts_union());
  account_.set_plain_seconds(basis_.plain_seconds);
  if (shape.n_prompt_rows == 0) predicted_seconds_ = basis_.plain_seconds;
}

void Economics::Impl::list_chances(std::span<const SpecCandidate> candidates) {
  chances_.clear();
  for (uint32_t c = 0; c < candidates.size(); ++c) {
    const Sequence* sequence = of_candidate_[c];
    if (sequence == nullptr) continue;
    RecentOutcomes recent = recent_outcomes(sequence->acceptance);
    double reach = 1;
    const size_t n_draft = std::min<size_t>(candidates[c].draft.size(), kMaxDraftTokens);
    for (uint32_t k = 0; k < n_draft; ++k) {
      const DraftToken& guess = candidates[c].draft[k];
      uint8_t& bits = recent[static_cast<size_t>(guess.source)];
      reach *=
          acceptance_.probability(sequence->acceptance, guess.source, guess.confidence, bits, k);
      if (reach < kLeastReach) break;
      bits = Acceptance::push(bits, true);
      chances_.push_back({reach, c});
    }
  }
  // A draft's chances fall from guess to guess: whatever leads the list are first parts of drafts.
  std::sort(chances_.begin(), chances_.end(),
            [](const Chance& a, const Chance& b) { return a.reach > b.reach; });
}

// The number of chances, from the head of the list, that become rows, and the reason.
SpecReason Economics::Impl::choose(const StepShape& shape, uint32_t* n_chosen) {
  *n_chosen = 0;
  const uint32_t n_sequences = rows_.n_sequences();
  if (parking_.is_parked()) return SpecReason::parked;
  if (chances_.empty()) return SpecReason::would_not_pay;
  if (!has_basis_) return SpecReason::no_timing;
  const uint32_t n_most = std::min(static_cast<uint32_t>(chances_.size()), shape.max_draft_rows);
  if (shape.n_prompt_rows >= kLeastPromptRows) return choose_beside_prompts(n_most, n_chosen);
  if (shape.n_prompt_rows != 0) return SpecReason::would_not_pay;
  if (n_plains_[n_sequences] < kFirstPlainSteps) return SpecReason::no_timing;
  if (n_plains_wanted_[n_sequences] != 0) return SpecReason::refresh;
  const Choice choice = choose_guesses(std::span(chances_).first(n_most), cost_, basis_,
                                       {expected_draft_seconds(), 0, kMinGain}, account_, rows_);
  *n_chosen = choice.n_chosen;
  predicted_seconds_ = choice.seconds;
  if (choice.n_chosen != 0 || !choice.is_refused) {
    parking_.covered();
    return choice.n_chosen != 0 ? SpecReason::pays : SpecReason::would_not_pay;
  }
  parking_.run_dry();
  return SpecReason::loss_account;
}

// Beside a prompt's many rows a guess costs no more than any row does on average, and a token that
// it brings saves its share of a plain step later.
SpecReason Economics::Impl::choose_beside_prompts(uint32_t n_most, uint32_t* n_chosen) {
  if (prompt_row_seconds_.n_samples == 0) return SpecReason::no_timing;
  const double row = prompt_row_seconds_.value;
  const double saved = basis_.plain_seconds / rows_.n_sequences();
  while (*n_chosen < n_most && chances_[*n_chosen].reach * saved > kMinGain * row &&
         account_.balance() > (*n_chosen + 1) * row) {
    rows_.add(chances_[*n_chosen].sequence);
    ++*n_chosen;
  }
  return *n_chosen != 0 ? SpecReason::pays : SpecReason::would_not_pay;
}

// "on:K": the first guesses of all before the second ones of any.
void Economics::Impl::take_first(std::span<SpecCandidate> candidates, uint32_t n_left) {
  for (uint32_t k = 0; k < policy_.n_fixed; ++k) {
    for (uint32_t c = 0; c < candidates.size() && n_left != 0; ++c) {
      if (candidates[c].draft.size() <= k) continue;
      ++candidates[c].n_verify;
      --n_left;
      rows_.add(c);
    }
  }
}

void Economics::Impl::explain(std::span<const SpecCandidate> candidates, SpecReason reason) {
  for (uint32_t c = 0; c < candidates.size(); ++c) {
    if (of_candidate_[c] == nullptr) continue;
    SpecDecision& decision = of_candidate_[c]->decision;
    const SpecReason unasked = std::exchange(of_candidate_[c]->unasked, SpecReason::none);
    decision.predicted_seconds = predicted_seconds_;
    if (candidates[c].n_verify != 0) {
      decision.state = policy_.mode == SpecMode::report ? "would draft" : "draft";
      decision.reason = policy_.mode == SpecMode::fixed ? SpecReason::fixed : SpecReason::pays;
      continue;
    }
    decision.state = reason == SpecReason::parked ? "parked" : "plain";
    if (reason == SpecReason::parked) {
      decision.reason = reason;
    } else if (candidates[c].draft.empty()) {
      decision.reason = unasked != SpecReason::none ? unasked : SpecReason::no_guess;
    } else {
      decision.reason = reason == SpecReason::pays ? SpecReason::would_not_pay : reason;
    }
  }
}

void Economics::Impl::allocate(std::span<SpecCandidate> candidates, const StepShape& shape) {
  for (SpecCandidate& candidate : candidates) candidate.n_verify = 0;
  if (policy_.mode == SpecMode::off) return;
  take_stock(candidates, shape);
  if (candidates.empty()) return;
  if (policy_.mode == SpecMode::fixed) {
    take_first(candidates, shape.max_draft_rows);
    if (has_basis_ && shape.n_prompt_rows == 0) {
      predicted_seconds_ = cost_.seconds(basis_, rows_.n_rows(), rows_.experts_union());
    }
    explain(candidates, SpecReason::no_rows);
    return;
  }
  list_chances(candidates);
  uint32_t n_chosen = 0;
  const SpecReason reason = choose(shape, &n_chosen);
  for (uint32_t i = 0; i < n_chosen; ++i) ++candidates[chances_[i].sequence].n_verify;
  const bool runs_plain = policy_.mode == SpecMode::report;
  if (runs_plain && predicted_seconds_ != 0) predicted_seconds_ = basis_.plain_seconds;
  explain(candidates, reason);
  if (!runs_plain) return;
  for (SpecCandidate& candidate : candidates) candidate.n_verify = 0;
  rows_.reset(rows_.n_sequences());
}

// Of a step without prompts. A drafter that was not asked in the step before has first to catch up
// on the rows since, which tells nothing of what its guesses take.
void Economics::Impl::learn_draft_cost(const DraftSeconds& seconds) {
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    if (n_asked_[s] == 0) {
      idle_seconds_[s].add(seconds[s], kDraftSamples);
    } else if (has_basis_ && all_asked_before_) {
      const double sample = (seconds[s] - idle_seconds_[s].value()) / n_asked_[s];
      draft_seconds_[s].add(std::max(sample, kLeastDraftCost * basis_.plain_seconds),
                            kDraftSamples);
    }
  }
}

// What the drafters that were asked took beyond what they take anyway.
double Economics::Impl::asked_seconds(const DraftSeconds& seconds) const {
  double sum = 0;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    if (n_asked_[s] != 0) sum += std::max(0.0, seconds[s] - idle_seconds_[s].value());
  }
  return sum;
}

// Of a step without prompts.
void Economics::Impl::account_for_upkeep(std::span<const SpecOutcome> outcomes,
                                         const DraftSeconds& seconds) {
  if (policy_.mode != SpecMode::adaptive || !has_basis_) return;
  std::array<uint32_t, kDraftSources> n_brought{};
  for (const SpecOutcome& outcome : outcomes) {
    for (const DraftToken& guess : outcome.draft.first(outcome.n_accepted)) {
      ++n_brought[static_cast<size_t>(guess.source)];
    }
  }
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    if (!costs_[s]) continue;
    // Where nobody has it, what little time passes is not the drafter's.
    if (!is_kept_up(s)) continue;
    const double n_taken = seconds[s] / basis_.plain_seconds * basis_.n_sequences;
    if (!upkeep_[s].charge(n_brought[s], n_taken)) continue;
    for (const auto& sequence : sequences_) {
      if (sequence->in_batch && sequence->n_paying[s] == 0) sequence->has_given_up[s] = true;
    }
  }
}

void Economics::Impl::learn_from_prompts(const StepMeasure& measure, uint32_t n_verified,
                                         uint32_t n_accepted) {
  if (measure.n_prompt_rows >= kLeastPromptRows) {
    prompt_row_seconds_.add(measure.forward_seconds / measure.n_rows, kPromptSamples);
  }
  if (!has_basis_) return;
  // Without guesses there would have been fewer rows, and plain steps for what they brought.
  const double without = measure.forward_seconds * (measure.n_rows - n_verified) / measure.n_rows;
  // What drafters took is mostly the prompt, and not counted; what they were asked for is.
  account_.settle(without + n_accepted * basis_.plain_seconds / rows_.n_sequences(),
                  measure.forward_seconds + expected_draft_seconds());
}

void Economics::Impl::observe(std::span<const SpecOutcome> outcomes, const StepMeasure& measure) {
  if (policy_.mode == SpecMode::off) return;
  FLOE_CHECK(outcomes.size() == of_candidate_.size());
  const auto n_sequences = static_cast<uint32_t>(outcomes.size());
  uint32_t n_verified = 0, n_accepted = 0, n_tokens = 0;
  for (const SpecOutcome& outcome : outcomes) {
    n_verified += outcome.n_verified;
    n_accepted += outcome.n_accepted;
    n_tokens += outcome.n_sampled;
    Sequence* sequence = find(outcome.sequence);
    if (sequence == nullptr) continue;
    sequence->shadows.score(acceptance_, sequence->acceptance, outcome.draft, outcome.committed);
    router_.commit(sequence->router, measure.routing, measure.n_rows, outcome.first_row,
                   outcome.n_accepted + 1);
  }
  if (n_sequences != 0) {
    for (uint32_t s = 0; s < kDraftSources; ++s) pays_[s] = pays_[s] && is_kept_up(s);
  }
  if (measure.n_prompt_rows != 0) {
    learn_from_prompts(measure, n_verified, n_accepted);
  } else if (n_sequences != 0) {
    learn_draft_cost(measure.draft_seconds);
    account_for_upkeep(outcomes, measure.draft_seconds);
    parking_.advance(double{1} * n_tokens / n_sequences);
    learn_from_decoding(measure, n_verified, n_tokens);
  }
  for (uint32_t s = 0; s < kDraftSources; ++s) count_side_asking(DraftSource(s));
  n_asked_ = {};
  is_planned_ = is_asked_aside_ = {};
  all_asked_before_ = true;
  ++step_;
}

void Economics::Impl::learn_from_decoding(const StepMeasure& measure, uint32_t n_verified,
                                          uint32_t n_tokens) {
  const uint32_t n_sequences = rows_.n_sequences();
  const ByteLedger nothing;
  const ByteLedger& ledger = measure.ledger != nullptr ? *measure.ledger : nothing;
  if (rows_.n_rows() > 1) {
    router_.observe_union(rows_.none_chosen(), n_sequences > 1, ledger.mean_union());
  }
  if (n_verified == 0) {
    cost_.observe_plain(n_sequences, n_positions_, ledger.mean_union(), measure.forward_seconds,
                        ledger);
    n_verifies_[n_sequences] = 0;
    ++n_plains_[n_sequences];
    if (n_plains_wanted_[n_sequences] != 0) --n_plains_wanted_[n_sequences];
    account_.settle(measure.forward_seconds,
                    measure.forward_seconds + asked_seconds(measure.draft_seconds));
    return;
  }
  if (++n_verifies_[n_sequences] % kVerifiesPerPlain == 0) n_plains_wanted_[n_sequences] = 1;
  if (!has_basis_) return;
  if (cost_.observe_verify(basis_, rows_.n_rows(), predicted_seconds_, measure.forward_seconds)) {
    n_plains_wanted_[n_sequences] = kFirstPlainSteps;
  }
  const DraftSeconds& drafting = measure.draft_seconds;
  const double seconds = std::accumulate(drafting.begin(), drafting.end(), measure.forward_seconds);
  const double plain = n_tokens * basis_.plain_seconds / n_sequences;
  account_.settle(plain, seconds);
  parking_.verified(plain, seconds);
}

Economics::Economics(const SpecPolicy& policy, const ModelInfo& model,
                     std::optional<MachineRates> rates)
    : impl_(std::make_unique<Impl>(policy, model, std::move(rates))) {}
Economics::~Economics() = default;

void Economics::begin(SequenceId sequence, bool shares_prompt) {
  impl_->begin(sequence, shares_prompt);
}
void Economics::end(SequenceId sequence) {
  impl_->end(sequence);
}

uint32_t Economics::tokens_to_keep(SequenceId sequence, DraftSource source, bool is_free,
                                   std::span<const DraftToken> draft) {
  return impl_->tokens_to_keep(sequence, source, is_free, draft);
}

uint32_t Economics::tokens_to_ask(SequenceId sequence, DraftSource source, bool is_free,
                                  uint32_t n_drafted, uint32_t max_tokens) {
  return impl_->tokens_to_ask(sequence, source, is_free, n_drafted, max_tokens);
}

void Economics::allocate(std::span<SpecCandidate> candidates, const StepShape& shape) {
  impl_->allocate(candidates, shape);
}

void Economics::observe(std::span<const SpecOutcome> outcomes, const StepMeasure& measure) {
  impl_->observe(outcomes, measure);
}

bool Economics::has_given_up(SequenceId id, DraftSource source) const {
  return impl_->has_given_up(id, source);
}

bool Economics::lets_guess(DraftSource source, bool is_free) const {
  return impl_->lets_guess(source, is_free);
}

SpecDecision Economics::decision(SequenceId id) const {
  return impl_->decision(id);
}

}  // namespace floe

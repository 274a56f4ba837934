#include "draft/economics.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "draft/acceptance.h"
#include "draft/loss_account.h"
#include "draft/reuse.h"
#include "draft/step_cost.h"

namespace floe {

namespace {

// A gain below this is within the errors of the prediction.
constexpr double kMinGain = 1.03;
// How much longer than predicted a forward may well take.
constexpr double kWorstOverPredicted = 1.05;
// Plain steps that a batch size is timed for before it speculates, and verifies between two later.
constexpr uint32_t kFirstPlainSteps = 3;
constexpr uint32_t kVerifiesPerPlain = 64;
// Guesses that will hardly ever be reached are not worth a look.
constexpr double kLeastReach = 0.01;
// A drafter that costs and does not pay is still asked for this many tokens, every so many steps.
constexpr uint32_t kShadowTokens = 2;
constexpr uint32_t kMinShadowInterval = 8;
constexpr uint32_t kMaxShadowInterval = 64;
constexpr uint32_t kMaxPaidTokens = 8;
// What a token of a drafter that was never timed is taken to cost, in plain steps.
constexpr double kUnknownDraftCost = 0.05;
// Tokens per sequence that speculation rests after its account ran dry twice within kDipTokens.
constexpr double kDipTokens = 256;
constexpr double kFirstPark = 256;
constexpr double kLongestPark = 4096;
constexpr uint32_t kDraftSamples = 16;
constexpr uint32_t kPromptSamples = 16;
constexpr uint32_t kShadows = 8;

// Guesses that no forward verified, waiting for the tokens that they are guesses of.
struct Shadow {
  std::array<DraftToken, kMaxDraftTokens> draft;
  std::array<uint8_t, kDraftSources> recent{};  // when they were made, the compared ones since
  uint32_t n_tokens = 0;
  uint32_t n_compared = 0;  // all right
};

// How often a drafter that costs is asked on the side.
struct SideAsking {
  uint32_t interval = kMinShadowInterval;
  uint32_t countdown = 0;
};

struct Sequence {
  SequenceId id = 0;
  bool is_live = false;
  RouterMemory router;
  SequenceAcceptance acceptance;
  std::array<Shadow, kShadows> shadows;
  std::array<SideAsking, kDraftSources> side;
  // Of the last allocation.
  uint32_t n_rows = 1;
  double n_expected = 1;  // tokens
  SpecDecision decision;
};

std::array<uint8_t, kDraftSources> recent_of(const SequenceAcceptance& acceptance) {
  std::array<uint8_t, kDraftSources> recent;
  for (uint32_t s = 0; s < kDraftSources; ++s) recent[s] = acceptance.of_source[s].recent;
  return recent;
}

// Tokens at the places that a draft's are compared at move on by source.
uint8_t& recent_at(std::array<uint8_t, kDraftSources>& recent, DraftSource source) {
  return recent[static_cast<size_t>(source)];
}

}  // namespace

class Economics::Impl {
 public:
  Impl(const SpecPolicy& policy, const ModelInfo& model, std::optional<MachineRates> rates)
      : policy_(policy),
        router_(model.n_layers, model.n_experts, model.n_active_experts),
        cost_(std::move(rates)),
        account_(policy.max_loss) {}

  void begin(SequenceId id);
  void end(SequenceId id);
  uint32_t tokens_to_ask(SequenceId id, DraftSource source, bool is_free, uint32_t n_drafted);
  void allocate(std::span<SpecCandidate> candidates, const StepShape& shape);
  void observe(std::span<const SpecOutcome> outcomes, const StepMeasure& measure);
  SpecDecision decision(SequenceId id) const;

 private:
  struct Chance {
    double reach = 0;  // probability that the forward gets as far as accepting this guess
    uint32_t candidate = 0;
  };

  Sequence* find(SequenceId id);
  bool decides() const {
    return policy_.mode == SpecMode::adaptive || policy_.mode == SpecMode::report;
  }
  double missed_by_row(uint32_t n_rows) const;
  double draft_seconds_of(DraftSource source) const;
  uint32_t paid_tokens_that_pay(const Sequence& sequence, DraftSource source) const;
  void take_stock(std::span<const SpecCandidate> candidates);
  void list_chances(std::span<const SpecCandidate> candidates);
  const char* choose(const StepShape& shape, uint32_t n_candidates, uint32_t* n_chosen);
  const char* choose_beside_prompts(uint32_t n_candidates, uint32_t n_most, uint32_t* n_chosen);
  void decide(std::span<SpecCandidate> candidates, const char* reason);
  void note_denial(bool is_denied);
  void score(Sequence& sequence, const SpecOutcome& outcome);
  void learn_draft_cost(double seconds);

  const SpecPolicy policy_;
  RouterHistory router_;
  StepCost cost_;
  Acceptance acceptance_;
  LossAccount account_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // those that ended are used again

  std::array<RunningMean, kDraftSources> draft_seconds_;  // per token asked for
  RunningMean draft_rest_;          // seconds of drafters in steps that ask for nothing that costs
  RunningMean prompt_row_seconds_;  // of a row in forwards with prompts
  std::vector<uint32_t> n_verifies_, n_plains_;  // by batch size; verifies since the last plain one

  // Of the step at hand.
  std::array<uint32_t, kDraftSources> n_asked_{};
  StepCost::Basis basis_;
  bool has_basis_ = false;
  double n_positions_ = 0;
  double none_of_plain_ = 1,
         none_chosen_ = 1;  // probability that an expert is read by no sequence, as allocated
  uint32_t n_rows_ = 0;     // of candidates
  double n_expected_ = 0;   // tokens
  double predicted_seconds_ = 0;
  std::vector<Chance> chances_;
  std::vector<Sequence*> of_candidate_;

  double n_tokens_ = 0;  // per sequence, so far
  double last_dip_ = -2 * kDipTokens;
  bool is_dry_ = false;
  double parked_until_ = 0;
  double park_ = kFirstPark;
};

void Economics::Impl::begin(SequenceId id) {
  Sequence* sequence = nullptr;
  for (auto& slot : sequences_) {
    if (!slot->is_live) sequence = slot.get();
  }
  if (sequence == nullptr) {
    sequence = sequences_.emplace_back(std::make_unique<Sequence>()).get();
    const auto n = static_cast<uint32_t>(sequences_.size());
    cost_.reserve(n);
    n_verifies_.resize(n + 1);
    n_plains_.resize(n + 1);
    chances_.reserve(size_t{n} * kMaxDraftTokens);
    of_candidate_.reserve(n);
  }
  RouterMemory memory = std::move(sequence->router);
  *sequence = Sequence{};
  sequence->router = std::move(memory);
  router_.begin(sequence->router);
  sequence->id = id;
  sequence->is_live = true;
}

void Economics::Impl::end(SequenceId id) {
  if (Sequence* sequence = find(id)) sequence->is_live = false;
}

Sequence* Economics::Impl::find(SequenceId id) {
  for (auto& slot : sequences_) {
    if (slot->is_live && slot->id == id) return slot.get();
  }
  return nullptr;
}

// Probability that n rows of a sequence choose an expert not at all.
double Economics::Impl::missed_by_row(uint32_t n_rows) const {
  if (router_.n_experts() == 0) return 1;
  constexpr double kLeast = 1e-9;  // a product that is divided by it later
  return std::max(kLeast, 1 - router_.union_of(std::min(n_rows, RouterHistory::kMaxRows)) /
                                  router_.n_experts());
}

double Economics::Impl::draft_seconds_of(DraftSource source) const {
  const RunningMean& mean = draft_seconds_[static_cast<size_t>(source)];
  return mean.n_samples != 0 ? mean.value : kUnknownDraftCost * basis_.plain_seconds;
}

// How many tokens of a drafter that costs bring the most, if what the other sequences do stays as
// it was in the last step; 0: none pays.
uint32_t Economics::Impl::paid_tokens_that_pay(const Sequence& sequence, DraftSource source) const {
  if (!has_basis_ || !basis_.measured || n_tokens_ < parked_until_) return 0;
  const double cost = draft_seconds_of(source);
  const uint32_t n_other_rows = n_rows_ > sequence.n_rows ? n_rows_ - sequence.n_rows : 0;
  const double n_other_tokens = std::max(0.0, n_expected_ - sequence.n_expected);
  const double none_of_others = none_chosen_ / missed_by_row(sequence.n_rows);
  const bool is_many = basis_.n_sequences > 1;
  const auto seconds = [&](uint32_t n_rows) {
    const double none = none_of_others * missed_by_row(n_rows);
    return cost_.seconds(basis_, n_other_rows + n_rows, router_.union_of_batch(none, is_many));
  };
  const double without = seconds(1);
  double best = kMinGain * (n_other_tokens + 1) / without;
  uint32_t n_best = 0;
  double reach = 1, n_tokens = n_other_tokens + 1;
  uint8_t recent = sequence.acceptance.of_source[static_cast<size_t>(source)].recent;
  for (uint32_t k = 1; k <= kMaxPaidTokens; ++k) {
    reach *= acceptance_.probability(sequence.acceptance, source, Acceptance::kAnyConfidence,
                                     recent, k - 1);
    recent = Acceptance::push(recent, true);
    n_tokens += reach;
    const double with = seconds(1 + k) + k * cost;
    if (!account_.covers(basis_.plain_seconds + kWorstOverPredicted * with - without)) break;
    if (n_tokens / with > best) {
      best = n_tokens / with;
      n_best = k;
    }
  }
  return n_best;
}

uint32_t Economics::Impl::tokens_to_ask(SequenceId id, DraftSource source, bool is_free,
                                        uint32_t n_drafted) {
  if (policy_.mode == SpecMode::off || n_drafted >= kMaxDraftTokens) return 0;
  if (policy_.mode == SpecMode::fixed)
    return policy_.n_fixed - std::min(n_drafted, policy_.n_fixed);
  Sequence* sequence = find(id);
  if (sequence == nullptr) return 0;
  if (is_free) return kMaxDraftTokens - n_drafted;
  if (n_drafted != 0) return 0;
  SideAsking& side = sequence->side[static_cast<size_t>(source)];
  uint32_t n_tokens = paid_tokens_that_pay(*sequence, source);
  if (policy_.mode == SpecMode::report) n_tokens = 0;
  if (n_tokens != 0) {
    side = {};
  } else if (side.countdown != 0) {
    --side.countdown;
  } else {
    n_tokens = kShadowTokens;
    side.countdown = side.interval - 1;
    side.interval = std::min(2 * side.interval, kMaxShadowInterval);
  }
  n_asked_[static_cast<size_t>(source)] += n_tokens;
  return n_tokens;
}

// What is known before anything is chosen.
void Economics::Impl::take_stock(std::span<const SpecCandidate> candidates) {
  of_candidate_.clear();
  n_positions_ = 0;
  none_chosen_ = 1;
  for (const SpecCandidate& candidate : candidates) {
    Sequence* sequence = find(candidate.sequence);
    of_candidate_.push_back(sequence);
    n_positions_ += candidate.position + 1;
    none_chosen_ *= missed_by_row(1);
    if (sequence == nullptr) continue;
    sequence->n_rows = 1;
    sequence->n_expected = 1;
    sequence->decision = {};
  }
  none_of_plain_ = none_chosen_;
  const auto n = static_cast<uint32_t>(candidates.size());
  if (n_plains_.size() <= n) {
    n_plains_.resize(n + 1);
    n_verifies_.resize(n + 1);
  }
  n_rows_ = n;
  n_expected_ = n;
  predicted_seconds_ = 0;
  has_basis_ = n != 0 && cost_.knows_any();
  if (!has_basis_) return;
  basis_ = cost_.basis(n, n_positions_, router_.union_of_batch(none_chosen_, n > 1));
  account_.set_plain_seconds(basis_.plain_seconds);
  predicted_seconds_ = basis_.plain_seconds;
}

void Economics::Impl::list_chances(std::span<const SpecCandidate> candidates) {
  chances_.clear();
  for (uint32_t c = 0; c < candidates.size(); ++c) {
    const Sequence* sequence = of_candidate_[c];
    if (sequence == nullptr) continue;
    std::array<uint8_t, kDraftSources> recent = recent_of(sequence->acceptance);
    double reach = 1;
    uint32_t position = 0;
    for (const DraftToken& guess :
         candidates[c].draft.first(std::min<size_t>(candidates[c].draft.size(), kMaxDraftTokens))) {
      uint8_t& bits = recent_at(recent, guess.source);
      reach *= acceptance_.probability(sequence->acceptance, guess.source, guess.confidence, bits,
                                       position++);
      if (reach < kLeastReach) break;
      bits = Acceptance::push(bits, true);
      chances_.push_back({reach, c});
    }
  }
  // A draft's chances fall from guess to guess: whatever leads the list are first parts of drafts.
  std::sort(chances_.begin(), chances_.end(),
            [](const Chance& a, const Chance& b) { return a.reach > b.reach; });
}

void Economics::Impl::note_denial(bool is_denied) {
  if (!is_denied) {
    is_dry_ = false;
    return;
  }
  if (is_dry_) return;
  is_dry_ = true;
  if (n_tokens_ - last_dip_ < kDipTokens) {
    parked_until_ = n_tokens_ + park_;
    park_ = std::min(2 * park_, kLongestPark);
  }
  last_dip_ = n_tokens_;
}

// The number of chances, from the head of the list, whose forward brings the most tokens per
// second; the reason where it is 0.
const char* Economics::Impl::choose(const StepShape& shape, uint32_t n_candidates,
                                    uint32_t* n_chosen) {
  *n_chosen = 0;
  if (chances_.empty()) return "no guess";
  if (n_tokens_ < parked_until_) return "parked";
  if (!has_basis_) return "no timing yet";
  const uint32_t n_most = std::min(static_cast<uint32_t>(chances_.size()), shape.max_draft_rows);
  if (shape.n_prompt_rows != 0) return choose_beside_prompts(n_candidates, n_most, n_chosen);
  if (n_plains_[n_candidates] < kFirstPlainSteps) return "no timing yet";
  if (n_verifies_[n_candidates] >= kVerifiesPerPlain) return "refresh";

  double draft_seconds = 0;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    if (n_asked_[s] != 0) draft_seconds += n_asked_[s] * draft_seconds_of(DraftSource(s));
  }
  double n_most_tokens = n_candidates;
  for (uint32_t i = 0; i < n_most; ++i) n_most_tokens += chances_[i].reach;
  double best = kMinGain * n_candidates / (basis_.plain_seconds + draft_seconds);
  double none = none_chosen_, n_tokens = n_candidates, best_none = none, best_tokens = n_tokens;
  double best_seconds = predicted_seconds_;
  bool is_denied = false;
  for (uint32_t i = 0; i < n_most; ++i) {
    Sequence& sequence = *of_candidate_[chances_[i].candidate];
    none *= missed_by_row(sequence.n_rows + 1) / missed_by_row(sequence.n_rows);
    ++sequence.n_rows;
    n_tokens += chances_[i].reach;
    const double seconds =
        cost_.seconds(basis_, n_candidates + i + 1, router_.union_of_batch(none, n_candidates > 1));
    // More rows never take less time.
    if (n_most_tokens / (seconds + draft_seconds) <= best) break;
    if (n_tokens / (seconds + draft_seconds) <= best) continue;
    if (!account_.covers(kWorstOverPredicted * seconds + draft_seconds)) {
      is_denied = true;
      continue;
    }
    best = n_tokens / (seconds + draft_seconds);
    best_seconds = seconds;
    best_none = none;
    best_tokens = n_tokens;
    *n_chosen = i + 1;
  }
  none_chosen_ = best_none;
  n_expected_ = best_tokens;
  predicted_seconds_ = best_seconds;
  note_denial(is_denied && *n_chosen == 0);
  return *n_chosen != 0 ? "pays" : is_denied ? "loss account" : "would not pay";
}

// Beside a prompt's many rows a guess costs no more than any row does on average, and a token that
// it brings saves its share of a plain step later.
const char* Economics::Impl::choose_beside_prompts(uint32_t n_candidates, uint32_t n_most,
                                                   uint32_t* n_chosen) {
  predicted_seconds_ = 0;
  if (prompt_row_seconds_.n_samples == 0) return "no timing yet";
  const double row = prompt_row_seconds_.value;
  const double saved = basis_.plain_seconds / n_candidates;
  while (*n_chosen < n_most && chances_[*n_chosen].reach * saved > kMinGain * row &&
         account_.balance() > (*n_chosen + 1) * kWorstOverPredicted * row) {
    n_expected_ += chances_[*n_chosen].reach;
    ++*n_chosen;
  }
  return *n_chosen != 0 ? "pays" : "would not pay";
}

void Economics::Impl::decide(std::span<SpecCandidate> candidates, const char* reason) {
  const bool is_parked = n_tokens_ < parked_until_;
  for (uint32_t c = 0; c < candidates.size(); ++c) {
    Sequence* sequence = of_candidate_[c];
    if (sequence == nullptr) continue;
    SpecDecision& decision = sequence->decision;
    decision.predicted_seconds = predicted_seconds_;
    if (candidates[c].n_verify != 0) {
      decision.state = policy_.mode == SpecMode::report ? "would draft" : "draft";
      decision.reason = policy_.mode == SpecMode::fixed ? "fixed" : "pays";
      continue;
    }
    decision.state = is_parked && decides() ? "parked" : "plain";
    decision.reason = candidates[c].draft.empty()          ? "no guess"
                      : reason == std::string_view("pays") ? "would not pay"
                                                           : reason;
  }
}

void Economics::Impl::allocate(std::span<SpecCandidate> candidates, const StepShape& shape) {
  for (SpecCandidate& candidate : candidates) candidate.n_verify = 0;
  if (policy_.mode == SpecMode::off || candidates.empty()) return;
  take_stock(candidates);
  const auto n_candidates = static_cast<uint32_t>(candidates.size());
  if (policy_.mode == SpecMode::fixed) {
    uint32_t n_left = shape.max_draft_rows;
    for (uint32_t c = 0; c < n_candidates; ++c) {
      SpecCandidate& candidate = candidates[c];
      candidate.n_verify =
          std::min({static_cast<uint32_t>(candidate.draft.size()), policy_.n_fixed, n_left});
      n_left -= candidate.n_verify;
      n_rows_ += candidate.n_verify;
      none_chosen_ *= missed_by_row(1 + candidate.n_verify) / missed_by_row(1);
    }
    if (has_basis_) {
      predicted_seconds_ =
          shape.n_prompt_rows != 0
              ? 0
              : cost_.seconds(basis_, n_rows_,
                              router_.union_of_batch(none_chosen_, n_candidates > 1));
    }
    decide(candidates, "no guess");
    return;
  }
  list_chances(candidates);
  uint32_t n_chosen = 0;
  const char* reason = choose(shape, n_candidates, &n_chosen);
  for (Sequence* sequence : of_candidate_) {
    if (sequence != nullptr) sequence->n_rows = 1;
  }
  for (uint32_t i = 0; i < n_chosen; ++i) {
    const Chance& chance = chances_[i];
    ++candidates[chance.candidate].n_verify;
    ++of_candidate_[chance.candidate]->n_rows;
    of_candidate_[chance.candidate]->n_expected += chance.reach;
  }
  n_rows_ += n_chosen;
  decide(candidates, reason);
  if (policy_.mode == SpecMode::report) {
    // The forward will be a plain one.
    for (SpecCandidate& candidate : candidates) candidate.n_verify = 0;
    for (Sequence* sequence : of_candidate_) {
      if (sequence != nullptr) sequence->n_rows = 1;
    }
    n_rows_ = n_candidates;
    none_chosen_ = none_of_plain_;
  }
}

// Compares guesses with the tokens that came: those of this step, and those of earlier steps that
// no forward verified.
void Economics::Impl::score(Sequence& sequence, const SpecOutcome& outcome) {
  const auto compare = [&](SequenceAcceptance* own, const DraftToken& guess, uint8_t recent,
                           uint32_t position, int32_t token) {
    const bool is_right = guess.token == token;
    acceptance_.score(own, guess.source, guess.confidence, recent, position, is_right);
    return is_right;
  };
  for (Shadow& shadow : sequence.shadows) {
    for (const int32_t token : outcome.committed) {
      if (shadow.n_compared == shadow.n_tokens) break;
      const DraftToken& guess = shadow.draft[shadow.n_compared];
      uint8_t& bits = recent_at(shadow.recent, guess.source);
      if (!compare(nullptr, guess, bits, shadow.n_compared, token)) {
        shadow.n_tokens = shadow.n_compared;  // the rest can tell nothing
        break;
      }
      bits = Acceptance::push(bits, true);
      ++shadow.n_compared;
    }
  }
  const size_t n_draft = std::min<size_t>(outcome.draft.size(), kMaxDraftTokens);
  const std::array<uint8_t, kDraftSources> recent_then = recent_of(sequence.acceptance);
  std::array<uint8_t, kDraftSources> recent = recent_then;
  size_t n_right = 0;
  for (; n_right < std::min(n_draft, outcome.committed.size()); ++n_right) {
    const DraftToken& guess = outcome.draft[n_right];
    uint8_t& bits = recent_at(recent, guess.source);
    if (!compare(&sequence.acceptance, guess, bits, static_cast<uint32_t>(n_right),
                 outcome.committed[n_right])) {
      return;
    }
    bits = Acceptance::push(bits, true);
  }
  if (n_right == n_draft || n_right == 0) return;
  Shadow* slot = &sequence.shadows[0];
  for (Shadow& shadow : sequence.shadows) {
    if (shadow.n_compared == shadow.n_tokens) slot = &shadow;
  }
  if (slot->n_compared != slot->n_tokens) {
    for (Shadow& shadow : sequence.shadows) {
      if (shadow.n_compared > slot->n_compared) slot = &shadow;
    }
  }
  std::copy_n(outcome.draft.begin(), n_draft, slot->draft.begin());
  slot->recent = recent;
  slot->n_tokens = static_cast<uint32_t>(n_draft);
  slot->n_compared = static_cast<uint32_t>(n_right);
}

void Economics::Impl::learn_draft_cost(double seconds) {
  double expected = 0;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    if (n_asked_[s] != 0) expected += n_asked_[s] * draft_seconds_of(DraftSource(s));
  }
  if (expected <= 0) {
    draft_rest_.add(seconds, kDraftSamples);
    return;
  }
  // Several drafters at once share the time as they were expected to.
  const double more = std::max(0.0, seconds - draft_rest_.value) / expected;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    if (n_asked_[s] == 0) continue;
    const double sample = more * draft_seconds_of(DraftSource(s));
    draft_seconds_[s].add(sample, kDraftSamples);
  }
}

void Economics::Impl::observe(std::span<const SpecOutcome> outcomes, const StepMeasure& measure) {
  if (policy_.mode == SpecMode::off || outcomes.empty()) return;
  FLOE_CHECK(outcomes.size() == of_candidate_.size());
  const auto n_sequences = static_cast<uint32_t>(outcomes.size());
  uint32_t n_verified = 0, n_accepted = 0, n_tokens = 0;
  for (const SpecOutcome& outcome : outcomes) {
    n_verified += outcome.n_verified;
    n_accepted += outcome.n_accepted;
    n_tokens += static_cast<uint32_t>(outcome.committed.size());
    Sequence* sequence = find(outcome.sequence);
    if (sequence == nullptr) continue;
    score(*sequence, outcome);
    const auto n_rows = std::clamp<uint32_t>(static_cast<uint32_t>(outcome.committed.size()), 1,
                                             outcome.n_accepted + 1);
    router_.commit(sequence->router, measure.routing, measure.n_rows, outcome.first_row, n_rows);
  }
  learn_draft_cost(measure.draft_seconds);
  n_asked_ = {};
  const double seconds = measure.forward_seconds + measure.draft_seconds;
  const ByteLedger nothing;
  const ByteLedger& ledger = measure.ledger != nullptr ? *measure.ledger : nothing;
  if (measure.n_prompt_rows != 0) {
    prompt_row_seconds_.add(measure.forward_seconds / measure.n_rows, kPromptSamples);
    if (!has_basis_) return;
    const double without = measure.forward_seconds * (measure.n_rows - n_verified) / measure.n_rows;
    account_.settle(without + n_accepted * basis_.plain_seconds / n_sequences, seconds);
  } else if (n_verified == 0) {
    cost_.observe_plain(n_sequences, n_positions_, ledger.mean_union(), measure.forward_seconds,
                        ledger);
    n_verifies_[n_sequences] = 0;
    ++n_plains_[n_sequences];
    if (n_sequences > 1) router_.observe_union(none_chosen_, true, ledger.mean_union());
    account_.settle(measure.forward_seconds, seconds);
  } else {
    ++n_verifies_[n_sequences];
    router_.observe_union(none_chosen_, n_sequences > 1, ledger.mean_union());
    if (has_basis_) {
      cost_.observe_verify(basis_, n_rows_, predicted_seconds_, measure.forward_seconds);
      account_.settle(n_tokens * basis_.plain_seconds / n_sequences, seconds);
    }
  }
  n_tokens_ += double{1} * n_tokens / n_sequences;
}

SpecDecision Economics::Impl::decision(SequenceId id) const {
  for (const auto& slot : sequences_) {
    if (slot->is_live && slot->id == id) return slot->decision;
  }
  return {};
}

Economics::Economics(const SpecPolicy& policy, const ModelInfo& model,
                     std::optional<MachineRates> rates)
    : impl_(std::make_unique<Impl>(policy, model, std::move(rates))) {}
Economics::~Economics() = default;

void Economics::begin(SequenceId sequence) {
  impl_->begin(sequence);
}
void Economics::end(SequenceId sequence) {
  impl_->end(sequence);
}

uint32_t Economics::tokens_to_ask(SequenceId sequence, DraftSource source, bool is_free,
                                  uint32_t n_drafted) {
  return impl_->tokens_to_ask(sequence, source, is_free, n_drafted);
}

void Economics::allocate(std::span<SpecCandidate> candidates, const StepShape& shape) {
  impl_->allocate(candidates, shape);
}

void Economics::observe(std::span<const SpecOutcome> outcomes, const StepMeasure& measure) {
  impl_->observe(outcomes, measure);
}

SpecDecision Economics::decision(SequenceId sequence) const {
  return impl_->decision(sequence);
}

}  // namespace floe

#include "draft/paying_strategy.h"

#include <algorithm>
#include <numeric>

namespace floe {

namespace {

// A gain below this is within the errors of the prediction.
constexpr double kMinGain = 1.03;
// A drafter that runs layers is asked for no more tokens than this.
constexpr uint32_t kMaxPlannedTokens = 8;
// Guesses that are expected to bring less than this pay nowhere: they give way to a probe.
constexpr double kLeastPromise = 0.2;

}  // namespace

void PayingStrategy::begin(SequenceHistory& sequence, bool shares_prompt) {
  if (shares_prompt) return;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    sequence.drafters[s].is_dropped = !drafters_[s].warm.takes_part();
  }
}

uint32_t PayingStrategy::n_planned(const SequenceHistory& sequence, DraftSource source) const {
  const SequenceHistory::DrafterUse& use = sequence.drafters[index(source)];
  return use.planned_in == step_ ? use.n_planned : 0;
}

bool PayingStrategy::may_probe(DraftSource source) const {
  return drafters_[index(source)].probing.is_due() && account_.balance() >= 0;
}

// For a sequence of the batch.
bool PayingStrategy::is_kept_warm(DraftSource source) const {
  bool is_kept = false;
  history().each_in_batch([&](const SequenceHistory& sequence) {
    is_kept |= !sequence.drafters[index(source)].is_dropped;
  });
  return is_kept;
}

void PayingStrategy::plan(DraftSource source) {
  DrafterProfile& drafter = drafters_[index(source)];
  drafter.step.is_planned = true;
  if (!history().has_basis() || !history().is_batch_whole() || parking_.is_parked()) return;
  const std::span<const ListedGuess> guesses = history().list_guesses_of(source, kMaxPlannedTokens);
  const double plain_seconds = history().plain_seconds();
  PlanInput input;
  input.n_sequences = history().n_decoding();
  input.plain_seconds = plain_seconds;
  input.guesses = guesses;
  input.forward_seconds = history().forward_seconds(guesses);
  input.seconds_per_guess = drafter.token_seconds(plain_seconds);
  input.most_seconds = account_.most_seconds();
  input.min_gain = kMinGain;
  const GuessPlan plan = plan_guesses(input);
  drafter.pays = plan.n_guesses != 0;
  drafter.step.not_planned =
      drafter.pays || !plan.is_uncovered ? SpecReason::would_not_pay : SpecReason::loss_account;
  for (const ListedGuess& guess : guesses.first(plan.n_guesses)) {
    SequenceHistory::DrafterUse& use =
        history().decoding()[guess.index].history->drafters[index(source)];
    if (use.planned_in != step_) {
      use.planned_in = step_;
      use.n_planned = 0;
      use.planned_reach = 0;
    }
    ++use.n_planned;
    use.planned_reach += guess.reach;
  }
}

uint32_t PayingStrategy::keep(const SequenceRows& rows, DrafterKind drafter) {
  if (!drafter.runs_layers || rows.draft.empty()) return rows.n_drafted();
  SequenceHistory* sequence = history().find(rows.sequence);
  if (sequence == nullptr) return rows.n_drafted();
  const SequenceHistory::DrafterUse& use = sequence->drafters[index(drafter.source)];
  if (use.is_dropped) return rows.n_drafted();
  const DrafterProfile& profile = drafters_[index(drafter.source)];
  if (!profile.step.is_planned) plan(drafter.source);
  const uint32_t n_paying = n_planned(*sequence, drafter.source);
  if (n_paying == 0 && !may_probe(drafter.source)) return rows.n_drafted();
  // What the draft brings as it stands, against what the later drafter would bring instead, less
  // the tokens that plain steps make in the time its guessing takes. Rows cost the same whoever
  // guessed.
  const double kept = history().expected_tokens(*sequence, rows.draft, std::max(n_paying, 1u));
  double instead = kLeastPromise;
  if (n_paying != 0) {
    const double plain_seconds = history().plain_seconds();
    const double tokens_per_second = history().basis().n_sequences / plain_seconds;
    instead =
        use.planned_reach - n_paying * profile.token_seconds(plain_seconds) * tokens_per_second;
  }
  if (kept >= instead) return rows.n_drafted();
  sequence->shadows.keep(sequence->acceptance, rows.draft);
  return 0;
}

uint32_t PayingStrategy::ask(const SequenceRows& rows, DrafterKind drafter) {
  const uint32_t max_tokens = std::min(rows.max_draft, kMaxDraftTokens);
  if (rows.n_drafted() >= max_tokens) return 0;
  const uint32_t n_most = max_tokens - rows.n_drafted();
  SequenceHistory* sequence = history().find(rows.sequence);
  if (sequence == nullptr) return 0;
  if (!drafter.runs_layers) return n_most;
  DrafterProfile& profile = drafters_[index(drafter.source)];
  SequenceHistory::DrafterUse& use = sequence->drafters[index(drafter.source)];
  profile.is_used = true;
  if (rows.n_drafted() != 0 || use.is_dropped) return 0;
  if (!profile.step.is_planned) plan(drafter.source);
  uint32_t n_tokens = n_planned(*sequence, drafter.source);
  if (n_tokens == 0) {
    if (!may_probe(drafter.source)) {
      if (sequence->in_batch) sequence->not_asked = profile.step.not_planned;
      return 0;
    }
    profile.step.is_probed = true;
    n_tokens = Probing::kTokens;
  }
  n_tokens = std::min(n_tokens, n_most);
  profile.step.n_asked += n_tokens;
  if (use.asked_in + 1 != step_) all_asked_before_ = false;
  use.asked_in = step_;
  return n_tokens;
}

double PayingStrategy::asked_seconds() const {
  double seconds = 0;
  for (const DrafterProfile& drafter : drafters_) {
    seconds += drafter.asked_seconds(history().plain_seconds());
  }
  return seconds;
}

// The number of guesses, from the head of the list, that become rows, and the reason.
SpecReason PayingStrategy::choose(std::span<const ListedGuess> guesses, uint32_t* n_chosen) {
  *n_chosen = 0;
  const uint32_t n_sequences = history().n_decoding();
  if (parking_.is_parked()) return SpecReason::parked;
  if (guesses.empty()) return SpecReason::would_not_pay;
  if (!history().has_basis()) return SpecReason::no_timing;
  const double plain_seconds = history().plain_seconds();
  if (SpecHistory::has_many_prompt_rows(history().n_prompt_rows())) {
    if (history().prompt_row_seconds() == 0) return SpecReason::no_timing;
    *n_chosen = plan_beside_prompt(guesses, history().prompt_row_seconds(),
                                   plain_seconds / n_sequences, account_.balance(), kMinGain);
    return *n_chosen != 0 ? SpecReason::pays : SpecReason::would_not_pay;
  }
  if (history().n_prompt_rows() != 0) return SpecReason::would_not_pay;
  if (!history().plain_steps().is_timed(n_sequences)) return SpecReason::no_timing;
  if (history().plain_steps().wants_plain(n_sequences)) return SpecReason::refresh;
  PlanInput input;
  input.n_sequences = n_sequences;
  input.plain_seconds = plain_seconds;
  input.guesses = guesses;
  input.forward_seconds = history().forward_seconds(guesses);
  input.seconds_sunk = asked_seconds();
  input.most_seconds = account_.most_seconds();
  input.min_gain = kMinGain;
  const GuessPlan plan = plan_guesses(input);
  *n_chosen = plan.n_guesses;
  predicted_seconds_ = plan.forward_seconds;
  if (plan.n_guesses == 0 && plan.is_uncovered) {
    parking_.run_dry();
    return SpecReason::loss_account;
  }
  parking_.covered();
  return plan.n_guesses != 0 ? SpecReason::pays : SpecReason::would_not_pay;
}

void PayingStrategy::allocate(std::span<SequenceRows> step, uint32_t max_draft_rows) {
  predicted_seconds_ = 0;
  if (history().has_basis()) {
    account_.set_plain_seconds(history().plain_seconds());
    if (history().n_prompt_rows() == 0) predicted_seconds_ = history().plain_seconds();
  }
  std::span<const ListedGuess> guesses = history().list_guesses(step);
  guesses = guesses.first(std::min<size_t>(guesses.size(), max_draft_rows));
  uint32_t n_chosen = 0;
  const SpecReason reason = choose(guesses, &n_chosen);
  for (const ListedGuess& guess : guesses.first(n_chosen)) {
    ++step[history().decoding()[guess.index].row_index].n_verify;
  }
  explain(step, {"draft", SpecReason::pays, predicted_seconds_},
          reason == SpecReason::pays ? SpecReason::would_not_pay : reason);
}

void PayingStrategy::learn(std::span<const SequenceRows> step, const StepMeasure& measure) {
  uint32_t n_rows = 0, n_guesses = 0, n_accepted = 0, n_tokens = 0;
  for (const SequenceRows& rows : step) {
    n_rows += rows.n_all_rows();
    if (!rows.decodes()) continue;
    n_guesses += rows.n_verify;
    n_accepted += rows.n_accepted;
    n_tokens += rows.n_sampled;
  }
  history().learn(step, measure, predicted_seconds_);
  const uint32_t n_sequences = history().n_decoding();
  if (n_sequences != 0) {
    for (uint32_t s = 0; s < kDraftSources; ++s) {
      drafters_[s].pays = drafters_[s].pays && is_kept_warm(DraftSource(s));
    }
  }
  if (history().n_prompt_rows() != 0) {
    book_beside_prompts(measure, n_rows, n_guesses, n_accepted);
  } else if (n_sequences != 0) {
    learn_costs(measure.draft_seconds);
    charge_warm_drafters(step, measure.draft_seconds);
    parking_.advance(double{1} * n_tokens / n_sequences);
    book_decoding(measure, n_guesses, n_tokens);
  }
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    count_probe(DraftSource(s));
    drafters_[s].step = {};
  }
  all_asked_before_ = true;
  ++step_;
}

void PayingStrategy::learn_costs(const DraftSeconds& seconds) {
  const bool is_comparable = history().has_basis() && all_asked_before_;
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    drafters_[s].learn_cost(seconds[s], is_comparable, history().plain_seconds());
  }
}

void PayingStrategy::charge_warm_drafters(std::span<const SequenceRows> step,
                                          const DraftSeconds& seconds) {
  if (!history().has_basis()) return;
  std::array<uint32_t, kDraftSources> n_brought{};
  for (const SequenceRows& rows : step) {
    for (const DraftToken& guess : std::span(rows.draft).first(rows.n_accepted)) {
      ++n_brought[index(guess.source)];
    }
  }
  const double tokens_per_second = history().basis().n_sequences / history().plain_seconds();
  for (uint32_t s = 0; s < kDraftSources; ++s) {
    const DraftSource source{static_cast<uint8_t>(s)};
    // Where nobody has it, what little time passes is not the drafter's.
    if (!drafters_[s].is_used || !is_kept_warm(source)) continue;
    if (!drafters_[s].warm.charge(n_brought[s], seconds[s] * tokens_per_second)) continue;
    history().each_in_batch([&](SequenceHistory& sequence) {
      if (n_planned(sequence, source) == 0) sequence.drafters[s].is_dropped = true;
    });
  }
}

// Without guesses there would have been fewer rows, and plain steps for what they brought.
void PayingStrategy::book_beside_prompts(const StepMeasure& measure, uint32_t n_rows,
                                         uint32_t n_guesses, uint32_t n_accepted) {
  if (!history().has_basis()) return;
  const double without = measure.forward_seconds * (n_rows - n_guesses) / n_rows;
  const double saved = n_accepted * history().plain_seconds() / history().n_decoding();
  // What drafters took is mostly the prompt, and not counted; what they were asked for is.
  account_.book(without + saved, measure.forward_seconds + asked_seconds());
}

void PayingStrategy::book_decoding(const StepMeasure& measure, uint32_t n_guesses,
                                   uint32_t n_tokens) {
  const DraftSeconds& drafting = measure.draft_seconds;
  if (n_guesses == 0) {
    // The time that steps without guesses took is what they should take: noise drains nothing.
    double seconds = measure.forward_seconds;
    for (uint32_t s = 0; s < kDraftSources; ++s) {
      seconds += drafters_[s].seconds_of_asking(drafting[s]);
    }
    account_.book(measure.forward_seconds, seconds);
    return;
  }
  if (!history().has_basis()) return;
  const double seconds = std::accumulate(drafting.begin(), drafting.end(), measure.forward_seconds);
  const double plain = n_tokens * history().plain_seconds() / history().n_decoding();
  account_.book(plain, seconds);
  parking_.verified(plain, seconds);
}

// After every step, so that answers of a few tokens do not begin anew. All sequences are probed in
// the same steps.
void PayingStrategy::count_probe(DraftSource source) {
  DrafterProfile& drafter = drafters_[index(source)];
  bool pays_for_all = true, was_right = false;
  history().each_in_batch([&](const SequenceHistory& sequence) {
    const SequenceHistory::DrafterUse& use = sequence.drafters[index(source)];
    pays_for_all &= use.is_dropped || n_planned(sequence, source) != 0;
    was_right |=
        use.asked_in == step_ && (sequence.acceptance.of_source[index(source)].recent & 1) != 0;
  });
  if (!drafter.step.is_probed) {
    drafter.probing.pass();
    if (drafter.step.n_asked != 0 && pays_for_all) drafter.probing = {};
    return;
  }
  double cost = 0;
  if (history().has_basis()) {
    const double plain_seconds = history().plain_seconds();
    cost = 2 * Probing::kTokens * drafter.token_seconds(plain_seconds) *
           history().basis().n_sequences / plain_seconds;
  }
  drafter.probing.probed(cost, was_right);
}

bool PayingStrategy::lets_guess(DrafterKind drafter) const {
  return !parking_.is_parked() && (!drafter.runs_layers || drafters_[index(drafter.source)].pays);
}

void ReportStrategy::plan(DraftSource source) {
  step_of(source).is_planned = true;
}

void ReportStrategy::allocate(std::span<SequenceRows> step, uint32_t max_draft_rows) {
  PayingStrategy::allocate(step, max_draft_rows);
  if (predicted_seconds_ != 0) predicted_seconds_ = history().plain_seconds();  // it runs plain
  for (const SpecHistory::Decoding& one : history().decoding()) {
    if (one.history == nullptr) continue;
    one.history->decision.predicted_seconds = predicted_seconds_;
    if (step[one.row_index].n_verify != 0) one.history->decision.state = "would draft";
  }
  for (SequenceRows& rows : step) rows.n_verify = 0;
}

}  // namespace floe

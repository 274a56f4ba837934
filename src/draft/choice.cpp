#include "draft/choice.h"

#include <algorithm>

namespace floe {

namespace {

// How much longer than predicted a forward may well take.
constexpr double kWorstOverPredicted = 1.05;

}  // namespace

// Probability that rows of one sequence choose an expert not at all.
double BatchRows::missed_by(uint32_t n_rows) const {
  if (router_->n_experts() == 0) return 1;
  constexpr double kLeast = 1e-9;  // it is divided by
  const double share =
      router_->union_of(std::min(n_rows, RouterHistory::kMaxRows)) / router_->n_experts();
  return std::max(kLeast, 1 - share);
}

void BatchRows::reset(uint32_t n_sequences) {
  rows_.assign(n_sequences, 1);
  n_rows_ = n_sequences;
  none_ = 1;
  for (uint32_t s = 0; s < n_sequences; ++s) none_ *= missed_by(1);
}

void BatchRows::add(uint32_t sequence) {
  uint32_t& n = rows_[sequence];
  none_ *= missed_by(n + 1) / missed_by(n);
  ++n;
  ++n_rows_;
}

Choice choose_guesses(std::span<const Chance> chances, const StepCost& cost,
                      const StepCost::Basis& basis, const ChoiceCosts& costs,
                      const LossAccount& account, BatchRows& rows) {
  const uint32_t n_sequences = rows.n_sequences();
  Choice choice;
  choice.seconds = basis.plain_seconds;
  double best = costs.min_gain * n_sequences / (basis.plain_seconds + costs.seconds_sunk);
  double n_tokens = n_sequences;
  double refused = 0;
  for (const Chance& chance : chances) {
    rows.add(chance.sequence);
    n_tokens += chance.reach;
    const double forward = cost.seconds(basis, rows.n_rows(), rows.experts_union());
    const uint32_t n_guesses = rows.n_rows() - n_sequences;
    const double guessing = costs.seconds_sunk + n_guesses * costs.seconds_per_guess;
    const double rate = n_tokens / (forward + guessing);
    if (rate <= best) continue;
    if (!account.covers(kWorstOverPredicted * forward + guessing)) {
      refused = std::max(refused, rate);
      continue;
    }
    best = rate;
    choice = {n_guesses, forward, false};
  }
  choice.is_refused = refused > best;
  rows.reset(n_sequences);
  for (const Chance& chance : chances.first(choice.n_chosen)) rows.add(chance.sequence);
  return choice;
}

}  // namespace floe

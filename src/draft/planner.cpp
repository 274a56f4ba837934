#include "draft/planner.h"

#include <algorithm>

namespace floe {

namespace {

// How much longer than predicted a forward may well take.
constexpr double kWorstOverPredicted = 1.05;

}  // namespace

void sort_by_reach(std::vector<ListedGuess>& guesses) {
  std::sort(guesses.begin(), guesses.end(),
            [](const ListedGuess& a, const ListedGuess& b) { return a.reach > b.reach; });
}

GuessPlan plan_guesses(const PlanInput& input) {
  GuessPlan plan;
  plan.forward_seconds = input.plain_seconds;
  double best = input.min_gain * input.n_sequences / (input.plain_seconds + input.seconds_sunk);
  double best_uncovered = 0;
  double n_tokens = input.n_sequences;
  for (uint32_t n = 1; n <= input.forward_seconds.size(); ++n) {
    n_tokens += input.guesses[n - 1].reach;
    const double forward = input.forward_seconds[n - 1];
    const double guessing = input.seconds_sunk + n * input.seconds_per_guess;
    const double speed = n_tokens / (forward + guessing);
    if (speed <= best) continue;
    if (kWorstOverPredicted * forward + guessing > input.most_seconds) {
      best_uncovered = std::max(best_uncovered, speed);
      continue;
    }
    best = speed;
    plan.n_guesses = n;
    plan.forward_seconds = forward;
  }
  plan.is_uncovered = best_uncovered > best;
  return plan;
}

uint32_t plan_beside_prompt(std::span<const ListedGuess> guesses, double row_seconds,
                            double saved_seconds_per_token, double balance_seconds,
                            double min_gain) {
  uint32_t n = 0;
  while (n < guesses.size() &&
         guesses[n].reach * saved_seconds_per_token > min_gain * row_seconds &&
         balance_seconds > (n + 1) * row_seconds) {
    ++n;
  }
  return n;
}

void share_rows(std::span<const uint32_t> n_drafted, uint32_t n_rows, std::span<uint32_t> n_taken) {
  std::fill(n_taken.begin(), n_taken.end(), 0u);
  for (bool took_one = true; took_one && n_rows != 0;) {
    took_one = false;
    for (size_t i = 0; i < n_drafted.size() && n_rows != 0; ++i) {
      if (n_taken[i] >= n_drafted[i]) continue;
      ++n_taken[i];
      --n_rows;
      took_one = true;
    }
  }
}

}  // namespace floe

#pragma once
// Which guesses become rows of a forward: arithmetic on what is known, without any state.
//
// The time of a forward depends on how many rows it has and hardly on whose they are, so the best n
// guesses of a batch are the n most likely ones. Guesses are therefore listed by the probability
// that they and all before them in their draft are right, and a plan is how many to take from the
// head of the list. That probability falls from guess to guess of a draft: whatever leads the list
// are first parts of drafts.
#include <cstdint>
#include <span>
#include <vector>

namespace floe {

// A guess that may become a row.
struct ListedGuess {
  double reach = 0;    // probability that this guess and all before it in its draft are right
  uint32_t index = 0;  // of its sequence within the batch
};

void sort_by_reach(std::vector<ListedGuess>& guesses);

// What taking guesses would bring and take. The forward has a row of every sequence whatever is
// taken.
struct PlanInput {
  uint32_t n_sequences = 1;
  double plain_seconds = 0;                 // of a forward without guesses
  std::span<const ListedGuess> guesses;     // by falling reach
  std::span<const double> forward_seconds;  // [i]: with the first i + 1 guesses as rows
  double seconds_sunk = 0;                  // of guessing, whatever is taken
  double seconds_per_guess = 0;             // of guessing, for each that is taken
  // What the step may take if every guess is wrong, with a forward a little longer than predicted.
  double most_seconds = 0;
  double min_gain = 1;  // over the speed without guesses
};

struct GuessPlan {
  uint32_t n_guesses = 0;      // from the head of the list
  double forward_seconds = 0;  // predicted
  bool is_uncovered = false;  // another plan would be faster, and could take more than most_seconds
};

// The n with the most (n_sequences + sum of the first n reaches) per second, tried for every n:
// rows become cheap once most experts are read anyway, so that many may pay where the first do not.
GuessPlan plan_guesses(const PlanInput& input);

// Beside a prompt's many rows a guess takes what a row takes on average, and a token that it brings
// saves its share of a plain step later. balance_seconds: what all of them may cost.
uint32_t plan_beside_prompt(std::span<const ListedGuess> guesses, double row_seconds,
                            double saved_seconds_per_token, double balance_seconds,
                            double min_gain);

// The first guesses of all drafts before the second ones of any, n_rows of them at most.
// n_drafted: guesses of each draft that may be taken. n_taken: as many as n_drafted.
void share_rows(std::span<const uint32_t> n_drafted, uint32_t n_rows, std::span<uint32_t> n_taken);

}  // namespace floe

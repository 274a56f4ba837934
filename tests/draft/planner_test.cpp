#include "draft/planner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "draft/batch_rows.h"
#include "draft/step_cost.h"

namespace floe {
namespace {

constexpr uint32_t kPlanExperts = 32, kPlanActive = 4;

struct Machine {
  RouterHistory router;
  StepCost cost;
  StepCost::Basis basis;
};

// Products are free up to some rows per weight and then cost more than bytes: marginal costs of a
// row rise and fall.
Machine machine(uint32_t n_sequences, uint32_t n_experts) {
  const MachineRates rates{1e9, {KernelRates({{1, 3e9}, {4, 3e9}}, 1.0)}, 1e30};
  Machine made{RouterHistory(4, n_experts, n_experts != 0 ? kPlanActive : 0), StepCost(rates), {}};
  BatchRows rows(made.router);
  rows.reset(n_sequences);
  ByteLedger ledger;
  ledger.dense_bytes = 400'000'000;
  ledger.dense_macs = 400'000'000 * n_sequences;
  if (n_experts != 0) {
    ledger.routed_bytes = static_cast<uint64_t>(rows.experts_union() * 100e6);
    ledger.routed_macs = 400'000'000 * n_sequences;
    ledger.n_moe_layers = 1;
  }
  for (int i = 0; i < 4; ++i) {
    made.cost.observe_plain(n_sequences, 100, rows.experts_union(), 1.5, ledger);
  }
  made.basis = made.cost.basis(n_sequences, 100, rows.experts_union());
  return made;
}

struct Case {
  std::vector<std::vector<double>> reaches;  // of each sequence's draft
  std::vector<ListedGuess> guesses;
};

Case random_case(uint64_t seed, uint32_t n_sequences, uint32_t n_draft) {
  Case made;
  for (uint32_t s = 0; s < n_sequences; ++s) {
    double reach = 1;
    made.reaches.emplace_back();
    for (uint32_t k = 0; k < n_draft; ++k) {
      reach *= static_cast<double>(mix64(++seed) % 1000) / 1000;
      made.reaches.back().push_back(reach);
      made.guesses.push_back({reach, s});
    }
  }
  sort_by_reach(made.guesses);
  return made;
}

double rate_of(const Machine& m, const Case& c, const std::vector<uint32_t>& n_of) {
  BatchRows rows(m.router);
  rows.reset(static_cast<uint32_t>(n_of.size()));
  auto n_tokens = static_cast<double>(n_of.size());
  for (uint32_t s = 0; s < n_of.size(); ++s) {
    for (uint32_t k = 0; k < n_of[s]; ++k) {
      rows.add(s);
      n_tokens += c.reaches[s][k];
    }
  }
  return n_tokens / m.cost.seconds(m.basis, rows.n_rows(), rows.experts_union());
}

double best_of_all(const Machine& m, const Case& c, uint32_t n_draft) {
  const size_t n_sequences = c.reaches.size();
  std::vector<uint32_t> n_of(n_sequences, 0);
  double best = 0;
  for (;;) {
    best = std::max(best, rate_of(m, c, n_of));
    size_t s = 0;
    while (s < n_sequences && ++n_of[s] > n_draft) n_of[s++] = 0;
    if (s == n_sequences) return best;
  }
}

// The plan for this machine, where any loss is covered.
GuessPlan plan(const Machine& m, std::span<const ListedGuess> guesses, uint32_t n_sequences,
               double min_gain) {
  BatchRows rows(m.router);
  rows.reset(n_sequences);
  std::vector<double> forward_seconds;
  for (const ListedGuess& guess : guesses) {
    rows.add(guess.index);
    forward_seconds.push_back(m.cost.seconds(m.basis, rows.n_rows(), rows.experts_union()));
  }
  PlanInput input;
  input.n_sequences = n_sequences;
  input.plain_seconds = m.basis.plain_seconds;
  input.guesses = guesses;
  input.forward_seconds = forward_seconds;
  input.most_seconds = 1e9;
  input.min_gain = min_gain;
  return plan_guesses(input);
}

// least_share: of the best rate that trying every combination of rows finds.
void expect_best(uint32_t n_experts, double least_share) {
  for (uint64_t i = 0; i < 60; ++i) {
    const uint32_t n_sequences = 1 + i % 3;
    const uint32_t n_draft = n_sequences == 1 ? 8 : 4;
    const Machine m = machine(n_sequences, n_experts);
    const Case c = random_case(1000 * i, n_sequences, n_draft);
    const GuessPlan made = plan(m, c.guesses, n_sequences, 1.0);
    std::vector<uint32_t> n_of(n_sequences, 0);
    for (uint32_t k = 0; k < made.n_guesses; ++k) ++n_of[c.guesses[k].index];
    EXPECT_GE(rate_of(m, c, n_of), least_share * best_of_all(m, c, n_draft)) << "case " << i;
  }
}

TEST(PlanGuesses, IsExactWhereTimeDependsOnTheNumberOfRows) {
  expect_best(0, 1 - 1e-9);
}

TEST(PlanGuesses, IsCloseWhereExpertsMatterToo) {
  expect_best(kPlanExperts, 0.97);
}

TEST(PlanGuesses, TakesManyRowsWhereTheFirstWereMeasuredToBeDear) {
  Machine m = machine(1, 0);
  const double one = m.cost.seconds(m.basis, 2, 0);
  for (int i = 0; i < 20; ++i) m.cost.observe_verify(m.basis, 2, m.cost.seconds(m.basis, 2, 0), 4);
  for (int i = 0; i < 20; ++i)
    m.cost.observe_verify(m.basis, 4, m.cost.seconds(m.basis, 4, 0), one);
  const std::vector<ListedGuess> guesses = {{0.9, 0}, {0.5, 0}, {0.3, 0}};
  EXPECT_EQ(plan(m, guesses, 1, 1.03).n_guesses, 3u);
}

TEST(PlanGuesses, IsArithmetic) {
  constexpr double kAny = 1e9;
  struct Row {
    const char* what;
    std::vector<double> reaches, forward_seconds;
    double sunk, per_guess, most_seconds;
    uint32_t n_guesses;
    bool is_uncovered;
  };
  // One sequence, a second without guesses, a gain of 3 % at least.
  const Row rows[] = {
      {"no guesses", {}, {}, 0, 0, kAny, 0, false},
      {"1.9 tokens in 1.3 s", {0.9}, {1.3}, 0, 0, kAny, 1, false},
      {"1.25 tokens in 1.3 s", {0.25}, {1.3}, 0, 0, kAny, 0, false},
      {"2 % more is no gain", {0.3}, {1.275}, 0, 0, kAny, 0, false},
      {"4 % more is one", {0.3}, {1.25}, 0, 0, kAny, 1, false},
      // 1.90, 2.70 and 2.95 tokens: 1.46, 1.69 and 1.55 a second.
      {"the second pays and the third does not",
       {0.9, 0.8, 0.25},
       {1.3, 1.6, 1.9},
       0,
       0,
       kAny,
       2,
       false},
      // 1.9, 2.4 and 2.7 tokens: 0.95, 0.96 and 1.23 a second.
      {"three pay where one and two do not",
       {0.9, 0.5, 0.3},
       {2.0, 2.5, 2.2},
       0,
       0,
       kAny,
       3,
       false},
      {"guessing takes what it brings", {0.9}, {1.3}, 0, 0.6, kAny, 0, false},
      {"what is sunk is lost with plain steps too", {0.9}, {1.3}, 0.6, 0, kAny, 1, false},
      // 5 % longer than predicted is 1.365 s.
      {"the account covers it", {0.9}, {1.3}, 0, 0, 1.37, 1, false},
      {"it does not", {0.9}, {1.3}, 0, 0, 1.36, 0, true},
      {"it covers less than would pay most", {0.9, 0.8}, {1.3, 1.6}, 0, 0, 1.5, 1, true},
      {"nothing would pay, covered or not", {0.2}, {1.3}, 0, 0, 1.0, 0, false},
      {"guessing counts as a loss too", {0.9}, {1.3}, 0, 0.1, 1.46, 0, true},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    std::vector<ListedGuess> guesses;
    for (const double reach : row.reaches) guesses.push_back({reach, 0});
    PlanInput input;
    input.plain_seconds = 1;
    input.guesses = guesses;
    input.forward_seconds = row.forward_seconds;
    input.seconds_sunk = row.sunk;
    input.seconds_per_guess = row.per_guess;
    input.most_seconds = row.most_seconds;
    input.min_gain = 1.03;
    const GuessPlan plan = plan_guesses(input);
    EXPECT_EQ(plan.n_guesses, row.n_guesses);
    EXPECT_EQ(plan.is_uncovered, row.is_uncovered);
    EXPECT_EQ(plan.forward_seconds,
              row.n_guesses == 0 ? 1 : row.forward_seconds[row.n_guesses - 1]);
  }
}

TEST(PlanGuesses, CountsARowOfEverySequence) {
  // Four sequences in two seconds are two tokens a second; a guess of 0.5 in 0.2 s is 2.05.
  const std::vector<ListedGuess> guesses = {{0.5, 2}};
  const std::vector<double> forward_seconds = {2.2};
  PlanInput input;
  input.n_sequences = 4;
  input.plain_seconds = 2;
  input.guesses = guesses;
  input.forward_seconds = forward_seconds;
  input.most_seconds = 10;
  input.min_gain = 1.02;
  EXPECT_EQ(plan_guesses(input).n_guesses, 1u);
  input.min_gain = 1.03;
  EXPECT_EQ(plan_guesses(input).n_guesses, 0u);
}

TEST(PlanBesidePrompt, TakesGuessesThatSaveMoreThanARow) {
  const std::vector<ListedGuess> guesses = {{0.9, 0}, {0.5, 0}, {0.4, 1}, {0.1, 0}};
  const struct {
    double row_seconds, saved_seconds, balance_seconds;
    uint32_t n_guesses;
  } cases[] = {
      {0.1, 1.0, 10, 3},    // the last one saves 0.1 s and takes as long
      {0.1, 0.2, 10, 1},    // 0.5 of 0.2 s is no more than a row
      {0.3, 0.2, 10, 0},    // a row takes longer than a token saves
      {0.1, 1.0, 0.25, 2},  // the balance covers two rows
      {0.1, 1.0, 0.1, 0},   // and here none with something left
  };
  for (const auto& c : cases) {
    EXPECT_EQ(plan_beside_prompt(guesses, c.row_seconds, c.saved_seconds, c.balance_seconds, 1.0),
              c.n_guesses)
        << &c - cases;
  }
}

TEST(ShareRows, GivesFirstGuessesBeforeSecondOnes) {
  const struct {
    std::vector<uint32_t> n_drafted;
    uint32_t n_rows;
    std::vector<uint32_t> n_taken;
  } cases[] = {
      {{}, 5, {}},
      {{3, 2, 3}, 0, {0, 0, 0}},
      {{3, 2, 3}, 2, {1, 1, 0}},
      {{3, 2, 3}, 4, {2, 1, 1}},
      {{3, 0, 3}, 5, {3, 0, 2}},
      {{3, 2, 3}, 100, {3, 2, 3}},
  };
  for (const auto& c : cases) {
    std::vector<uint32_t> n_taken(c.n_drafted.size(), 7);
    share_rows(c.n_drafted, c.n_rows, n_taken);
    EXPECT_EQ(n_taken, c.n_taken) << &c - cases;
  }
}

}  // namespace
}  // namespace floe

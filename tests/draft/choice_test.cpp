#include "draft/choice.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"

namespace floe {
namespace {

constexpr uint32_t kExperts = 32, kActive = 4;

struct Machine {
  RouterHistory router;
  StepCost cost;
  StepCost::Basis basis;
};

// Products are free up to some rows per weight and then cost more than bytes: marginal costs of a
// row rise and fall.
Machine machine(uint32_t n_sequences, uint32_t n_experts) {
  const MachineRates rates{1e9, {KernelRates({{1, 3e9}, {4, 3e9}}, 1.0)}, 1e30};
  Machine made{RouterHistory(4, n_experts, n_experts != 0 ? kActive : 0), StepCost(rates), {}};
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
  std::vector<Chance> chances;
};

Case random_case(uint64_t seed, uint32_t n_sequences, uint32_t n_draft) {
  Case made;
  for (uint32_t s = 0; s < n_sequences; ++s) {
    double reach = 1;
    made.reaches.emplace_back();
    for (uint32_t k = 0; k < n_draft; ++k) {
      reach *= static_cast<double>(mix64(++seed) % 1000) / 1000;
      made.reaches.back().push_back(reach);
      made.chances.push_back({reach, s});
    }
  }
  std::sort(made.chances.begin(), made.chances.end(),
            [](const Chance& a, const Chance& b) { return a.reach > b.reach; });
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

// least_share: of the best rate that trying every combination of rows finds.
void expect_best(uint32_t n_experts, double least_share) {
  LossAccount account(0.02);
  account.set_plain_seconds(1000);  // never refuses
  for (uint64_t i = 0; i < 60; ++i) {
    const uint32_t n_sequences = 1 + i % 3;
    const uint32_t n_draft = n_sequences == 1 ? 8 : 4;
    const Machine m = machine(n_sequences, n_experts);
    const Case c = random_case(1000 * i, n_sequences, n_draft);
    BatchRows rows(m.router);
    rows.reset(n_sequences);
    const Choice choice = choose_guesses(c.chances, m.cost, m.basis, {0, 0, 1.0}, account, rows);
    std::vector<uint32_t> n_of(n_sequences, 0);
    for (uint32_t k = 0; k < choice.n_chosen; ++k) ++n_of[c.chances[k].sequence];
    EXPECT_EQ(rows.n_rows(), n_sequences + choice.n_chosen);
    EXPECT_GE(rate_of(m, c, n_of), least_share * best_of_all(m, c, n_draft)) << "case " << i;
  }
}

TEST(ChooseGuesses, IsExactWhereTimeDependsOnTheNumberOfRows) {
  expect_best(0, 1 - 1e-9);
}

TEST(ChooseGuesses, IsCloseWhereExpertsMatterToo) {
  expect_best(kExperts, 0.97);
}

TEST(ChooseGuesses, TakesManyRowsWhereTheFirstDoNotPay) {
  // Four experts of four: a second row is free, but a first guess was measured to be dear.
  Machine m = machine(1, 0);
  const double one = m.cost.seconds(m.basis, 2, 0);
  for (int i = 0; i < 20; ++i) m.cost.observe_verify(m.basis, 2, m.cost.seconds(m.basis, 2, 0), 4);
  for (int i = 0; i < 20; ++i)
    m.cost.observe_verify(m.basis, 4, m.cost.seconds(m.basis, 4, 0), one);
  // The whole list would not pay at what one guess takes.
  const std::vector<Chance> chances = {{0.9, 0}, {0.5, 0}, {0.3, 0}};
  LossAccount account(0.02);
  account.set_plain_seconds(1000);
  BatchRows rows(m.router);
  rows.reset(1);
  EXPECT_EQ(choose_guesses(chances, m.cost, m.basis, {0, 0, 1.03}, account, rows).n_chosen, 3u);
}

TEST(ChooseGuesses, TakesWhatTheAccountCovers) {
  const Machine m = machine(1, kExperts);
  const std::vector<Chance> chances = {{0.99, 0}, {0.98, 0}, {0.97, 0}, {0.96, 0}, {0.95, 0}};
  BatchRows rows(m.router);
  rows.reset(1);
  LossAccount rich(0.02), poor(0.02);
  rich.set_plain_seconds(1000);
  EXPECT_EQ(choose_guesses(chances, m.cost, m.basis, {0, 0, 1.03}, rich, rows).n_chosen, 5u);
  poor.set_plain_seconds(m.basis.plain_seconds);
  poor.settle(0, 1.4 * m.basis.plain_seconds);
  rows.reset(1);
  const Choice choice = choose_guesses(chances, m.cost, m.basis, {0, 0, 1.03}, poor, rows);
  EXPECT_LT(choice.n_chosen, 5u);
  EXPECT_TRUE(choice.is_refused);
}

}  // namespace
}  // namespace floe

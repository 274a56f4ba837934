// What the controller itself costs per step: it decides between forwards, while the machine waits.
#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "draft/economics.h"

namespace floe {
namespace {

// A large model: 75 MoE layers of 256 experts, 8 per token. Every sequence has a draft of 8
// guesses, whose first three are right; a drafter that runs layers is planned for beside it.
void step_of_a_batch(benchmark::State& state) {
  const auto n_sequences = static_cast<uint32_t>(state.range(0));
  constexpr uint32_t kLayers = 75, kExperts = 256, kActive = 8, kDraft = 8;
  ModelInfo model;
  model.n_layers = kLayers;
  model.n_experts = kExperts;
  model.n_active_experts = kActive;
  const KernelRates kernels({{1, 4e10}, {2, 8e10}, {3, 1e11}, {4, 1.2e11}, {8, 1.4e11}}, 0.56);
  Economics economics({}, model, MachineRates{2e10, {kernels}, 5e10});
  for (uint32_t s = 0; s < n_sequences; ++s) economics.begin(s);
  std::vector<DraftToken> draft(kDraft, {1, DraftSource::prompt_lookup, 3});
  for (uint32_t k = 3; k < kDraft; ++k) draft[k].token = 2;
  const uint32_t n_most = n_sequences * (1 + kDraft);
  std::vector<uint32_t> routing(size_t{kLayers} * n_most * kActive);
  for (size_t i = 0; i < routing.size(); ++i) routing[i] = mix64(i) % kExperts;
  std::vector<SequenceRows> step(n_sequences);
  for (uint32_t s = 0; s < n_sequences; ++s) {
    step[s].sequence = s;
    step[s].n_rows = 1;
    step[s].reaches_end = step[s].has_drafters = true;
    step[s].max_draft = kMaxDraftTokens;
  }
  const std::vector<int32_t> text(1001 + kMaxDraftTokens, 1);
  constexpr uint32_t position = 1000;
  uint64_t n_verified = 0;
  for (auto _ : state) {
    for (SequenceRows& rows : step) {
      rows.first_position = position;
      rows.draft.clear();
      benchmark::DoNotOptimize(economics.tokens_to_ask(rows, {DraftSource::prompt_lookup, false}));
      rows.draft = draft;
      benchmark::DoNotOptimize(economics.tokens_to_keep(rows, {DraftSource::mtp, true}));
      benchmark::DoNotOptimize(economics.tokens_to_ask(rows, {DraftSource::mtp, true}));
    }
    economics.allocate(step, 64);
    uint32_t n_rows = 0;
    for (SequenceRows& rows : step) {
      rows.n_accepted = std::min(rows.n_verify, 3u);
      rows.n_sampled = rows.n_accepted + 1;
      rows.first_row = n_rows;
      rows.tokens = std::span(text).first(position + 1 + rows.n_sampled);
      n_rows += rows.n_all_rows();
      n_verified += rows.n_verify;
    }
    ByteLedger ledger;
    ledger.attention_bytes = 9'000'000'000;
    ledger.attention_macs = 16'000'000'000 * n_rows;
    ledger.routed_bytes = 100'000'000 * std::min(kExperts, kActive * n_rows);
    ledger.routed_macs = 2'000'000'000 * n_rows;
    ledger.experts_union = uint64_t{kLayers} * std::min(kExperts, kActive * n_rows);
    ledger.n_moe_layers = kLayers;
    economics.observe(step, {0.5 + 0.01 * n_rows,
                             {},
                             &ledger,
                             std::span(routing).first(size_t{kLayers} * n_rows * kActive)});
  }
  state.counters["guesses"] =
      static_cast<double>(n_verified) / static_cast<double>(state.iterations());
}
BENCHMARK(step_of_a_batch)->Arg(1)->Arg(4)->Arg(8)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace floe

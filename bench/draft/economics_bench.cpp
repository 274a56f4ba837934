// What the controller itself costs per step: it decides between forwards, while the machine waits.
#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "draft/economics.h"

namespace floe {
namespace {

// A large model: 75 MoE layers of 256 experts, 8 per token. Every sequence has a draft of 8
// guesses, whose first three are right; a drafter that costs is planned for beside it.
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
  const std::vector<int32_t> committed(kDraft + 1, 1);
  const uint32_t n_most = n_sequences * (1 + kDraft);
  std::vector<uint32_t> routing(size_t{kLayers} * n_most * kActive);
  for (size_t i = 0; i < routing.size(); ++i) routing[i] = mix64(i) % kExperts;
  std::vector<SpecCandidate> candidates(n_sequences);
  std::vector<SpecOutcome> outcomes(n_sequences);
  uint32_t position = 1000;
  uint64_t n_verified = 0;
  for (auto _ : state) {
    for (uint32_t s = 0; s < n_sequences; ++s) {
      benchmark::DoNotOptimize(
          economics.tokens_to_ask(s, DraftSource::prompt_lookup, true, 0, kMaxDraftTokens));
      benchmark::DoNotOptimize(economics.tokens_to_keep(s, DraftSource::mtp, false, draft));
      benchmark::DoNotOptimize(
          economics.tokens_to_ask(s, DraftSource::mtp, false, kDraft, kMaxDraftTokens));
      candidates[s] = {s, position, draft};
    }
    economics.allocate(candidates, {0, 64});
    uint32_t n_rows = 0;
    for (uint32_t s = 0; s < n_sequences; ++s) {
      const uint32_t n_accepted = std::min(candidates[s].n_verify, 3u);
      outcomes[s] = {s,
                     draft,
                     candidates[s].n_verify,
                     n_accepted,
                     std::span(committed).first(n_accepted + 1),
                     n_rows,
                     n_accepted + 1};
      n_rows += 1 + candidates[s].n_verify;
      n_verified += candidates[s].n_verify;
    }
    ++position;
    ByteLedger ledger;
    ledger.attention_bytes = 9'000'000'000;
    ledger.attention_macs = 16'000'000'000 * n_rows;
    ledger.routed_bytes = 100'000'000 * std::min(kExperts, kActive * n_rows);
    ledger.routed_macs = 2'000'000'000 * n_rows;
    ledger.experts_union = uint64_t{kLayers} * std::min(kExperts, kActive * n_rows);
    ledger.n_moe_layers = kLayers;
    economics.observe(outcomes, {n_rows,
                                 0,
                                 0.5 + 0.01 * n_rows,
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

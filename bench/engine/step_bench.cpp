// What a step costs beside its forward: scheduler, drafters, economics, sampler, events, counts.
//
// The model answers at once, so all the time is the engine's. Every sequence decodes, with two
// guesses where there are any. The processor time of a step per sequence should not grow with their
// number.
#include <benchmark/benchmark.h>

#include <ctime>
#include <functional>
#include <memory>
#include <vector>

#include "engine/engine.h"

namespace floe {
namespace {

constexpr uint32_t kVocab = 32, kContext = 2048, kExperts = 64, kActive = 4;
constexpr uint32_t kGuesses = 2;  // of a sequence in a step
constexpr int kStepsAtOnce = 16;  // timed together: looking at the clock takes as long as one

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Moves with every forward as if it read weights for a while: what the controller learns from.
class ForwardClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_ns_; }
  void advance(int64_t ns) { now_ns_ += ns; }

 private:
  int64_t now_ns_ = 1;
};

// Slots without memory: the model keeps nothing of a token.
class NoCache final : public KvCache {
 public:
  NoCache(const KvCacheLimits& limits, const KvCacheBytes& bytes) : KvCache(limits, bytes) {}
  Result<void> read_block(KvBlockId, std::span<std::byte>) const override { return {}; }
  Result<void> write_block(KvBlockId, std::span<const std::byte>) override { return {}; }
  void poison(uint32_t, uint32_t) override {}
  uint32_t state_tokens(uint32_t) const override { return 0; }
  void clear_state(uint32_t) override {}
  void copy_state(uint32_t, uint32_t) override {}
  Result<void> read_state(uint32_t, std::span<std::byte>) const override { return {}; }
  Result<void> write_state(uint32_t, uint32_t, std::span<const std::byte>) override { return {}; }
};

// The token after t is t + 1: a text that repeats itself, so that prompt lookup is right.
class InstantModel final : public Model {
 public:
  explicit InstantModel(ForwardClock& clock) : clock_(clock) {
    info_.architecture = info_.name = "instant";
    info_.format = "F32";
    info_.n_layers = 1;
    info_.hidden_dim = 1;
    info_.n_vocab = kVocab;
    info_.n_experts = kExperts;
    info_.n_active_experts = kActive;
  }

  const ModelInfo& info() const override { return info_; }
  Result<void> reserve(const ForwardLimits& limits) override {
    logits_.assign(size_t{limits.max_logit_rows} * kVocab, 0.0f);
    likely_.assign(limits.max_logit_rows, 0);
    hidden_.assign(limits.max_rows, 0.0f);
    return {};
  }
  KvCacheBytes cache_bytes(KvTypes) const override { return {}; }
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override {
    return std::unique_ptr<KvCache>(std::make_unique<NoCache>(limits, KvCacheBytes{}));
  }
  uint64_t cache_fingerprint(KvTypes) const override { return 0; }
  Result<ForwardOutput> forward(const ForwardBatch& batch) override {
    ForwardOutput output;
    for (const ForwardRow& row : batch.rows) {
      if (batch.routing_log != nullptr) {
        for (uint32_t k = 0; k < kActive; ++k) {
          batch.routing_log->push_back((row.position * kActive + k) % kExperts);
        }
      }
      if (!row.wants_logits) continue;
      float* logits = logits_.data() + size_t{output.n_logit_rows} * kVocab;
      logits[likely_[output.n_logit_rows]] = 0.0f;
      likely_[output.n_logit_rows] = static_cast<uint32_t>(row.token + 1) % kVocab;
      logits[likely_[output.n_logit_rows++]] = 9.0f;
    }
    output.logits = logits_.data();
    output.hidden = hidden_.data();
    output.ledger.dense_bytes = 5000;
    output.ledger.routed_bytes = 100 * std::min<uint64_t>(kExperts, kActive * batch.rows.size());
    output.ledger.experts_union = std::min<uint64_t>(kExperts, kActive * batch.rows.size());
    output.ledger.n_moe_layers = 1;
    clock_.advance(1'000'000 + 1000 * static_cast<int64_t>(batch.rows.size()));
    return output;
  }
  Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float*) override {
    return forward(batch);
  }
  void embed(int32_t, float*) const override {}
  std::span<const std::byte> weights() const override { return {}; }

 private:
  ForwardClock& clock_;
  ModelInfo info_;
  std::vector<float> logits_, hidden_;
  std::vector<uint32_t> likely_;  // [max_logit_rows], what the last forward set
};

// Guesses right, and has nothing to look up.
class InstantDrafter final : public Drafter {
 public:
  DrafterKind kind() const override { return {DraftSource::mtp, true}; }
  void begin(SequenceId, std::span<const int32_t>, uint32_t, std::span<const int32_t>) override {}
  void draft(std::span<SequenceRows> step, TokenChooser&) override {
    for (SequenceRows& rows : step) {
      while (rows.n_drafted() < rows.n_wanted) {
        const int32_t last = rows.draft.empty() ? rows.tokens.back() : rows.draft.back().token;
        rows.draft.push_back({(last + 1) % static_cast<int32_t>(kVocab), source(), 7});
      }
    }
  }
  void accept(std::span<const SequenceRows>) override {}
  void end(SequenceId) override {}
};

class CountingSink final : public TokenSink {
 public:
  void on_event(TokenEvent&& event) noexcept override {
    if (event.token < 0) return;
    ++n_tokens;
    n_started += event.index == 0 ? 1 : 0;
    longest = std::max(longest, event.index + 1);
  }
  uint64_t n_tokens = 0;
  uint32_t n_started = 0;  // sequences that have had their first token
  uint32_t longest = 0;    // tokens of one of them
};

using MakeDrafter = std::function<Result<std::unique_ptr<Drafter>>(Model& trunk, KvCache& cache,
                                                                   const DraftLimits& limits)>;

void step(benchmark::State& state, ForwardClock& clock, const SpecPolicy& policy,
          const MakeDrafter& make) {
  const auto n_sequences = static_cast<uint32_t>(state.range(0));
  InstantModel model(clock);
  EngineOptions options;
  options.max_context = kContext;
  options.max_sequences = options.max_waiting = n_sequences;
  options.max_draft_rows = kGuesses * n_sequences;
  options.spec = policy;
  options.drafters =
      [&](Model& trunk, KvCache& cache,
          const DraftLimits& limits) -> Result<std::vector<std::unique_ptr<Drafter>>> {
    std::vector<std::unique_ptr<Drafter>> drafters;
    FLOE_TRY(auto drafter, make(trunk, cache, limits));
    drafters.push_back(std::move(drafter));
    return drafters;
  };
  auto created = Engine::create(options, model, clock);
  if (!created.ok()) return state.SkipWithError(created.error().message.c_str());
  Engine& engine = **created;

  auto sink = std::make_shared<CountingSink>();
  std::vector<RequestId> ids;
  const auto start_all = [&] {
    for (const RequestId id : ids) engine.cancel(id);
    ids.clear();
    sink->n_started = sink->longest = 0;
    for (uint32_t s = 0; s < n_sequences; ++s) {
      Request request;
      for (uint32_t i = 0; i < 2 * kVocab; ++i) {
        request.prompt.push_back(static_cast<int32_t>((s + i) % kVocab));
      }
      request.sampling.temperature = 0.0f;
      request.max_draft_tokens = kGuesses;
      request.sink = sink;
      ids.push_back(engine.submit(std::move(request)).id);
    }
    while (sink->n_started < n_sequences) engine.step();
  };
  start_all();
  uint64_t n_tokens = 0;
  double all_seconds = 0;
  for (auto _ : state) {
    if (sink->longest + 2 * kVocab + kStepsAtOnce * (kGuesses + 1) >= kContext) start_all();
    const uint64_t before = sink->n_tokens;
    const double begin = thread_seconds();
    for (int i = 0; i < kStepsAtOnce; ++i) {
      engine.step();
      benchmark::DoNotOptimize(engine.stats());  // as the engine's thread does after every step
    }
    const double seconds = thread_seconds() - begin;
    state.SetIterationTime(seconds);
    all_seconds += seconds;
    n_tokens += sink->n_tokens - before;
  }
  const double n_sequence_steps =
      static_cast<double>(state.iterations()) * kStepsAtOnce * n_sequences;
  state.counters["ns_per_sequence"] = all_seconds / n_sequence_steps * 1e9;
  state.counters["tokens"] = static_cast<double>(n_tokens) / n_sequence_steps;
}

// Time: of kStepsAtOnce steps. tokens: of a sequence in a step.
MakeDrafter instant() {
  return [](Model&, KvCache&, const DraftLimits&) -> Result<std::unique_ptr<Drafter>> {
    return std::unique_ptr<Drafter>(std::make_unique<InstantDrafter>());
  };
}
MakeDrafter of_source(DraftSource source, Model* draft_model = nullptr) {
  return [=](Model& trunk, KvCache& cache, const DraftLimits& limits) {
    return make_drafter({source, 0, draft_model}, trunk, cache, limits);
  };
}

void without_guesses(benchmark::State& state) {
  ForwardClock clock;
  step(state, clock, {SpecMode::off}, instant());
}
void with_guesses(benchmark::State& state) {
  ForwardClock clock;
  step(state, clock, {SpecMode::adaptive}, instant());
}
void with_prompt_lookup(benchmark::State& state) {
  ForwardClock clock;
  step(state, clock, {SpecMode::adaptive}, of_source(DraftSource::prompt_lookup));
}
void with_a_draft_model(benchmark::State& state) {
  ForwardClock clock;
  InstantModel draft_model(clock);
  step(state, clock, {SpecMode::fixed, kGuesses},
       of_source(DraftSource::draft_model, &draft_model));
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  for (const int n : {1, 64, 1024}) benchmark->Arg(n);
  benchmark->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.3);
}
BENCHMARK(without_guesses)->Apply(sizes);
BENCHMARK(with_guesses)->Apply(sizes);
BENCHMARK(with_prompt_lookup)->Apply(sizes);
BENCHMARK(with_a_draft_model)->Apply(sizes);

}  // namespace
}  // namespace floe

#include "lab/spec_bench.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>

#include "base/clock.h"
#include "base/progress.h"
#include "engine/engine.h"

namespace floe {

namespace {

using Clock = std::chrono::steady_clock;

// An engine is new in every round. This many tokens of the class come first and do not count: they
// touch its cache and its drafters' memory for the first time.
constexpr uint32_t kWarmUpTokens = 32;
constexpr uint64_t kWindowStride = 50;
// The arms of a class take turns of so many tokens per sequence: what the machine does meanwhile
// happens to all of them.
constexpr uint32_t kTurnTokens = 32;

// What the first arm said to a prompt, once it has.
using Reference = std::optional<std::vector<int32_t>>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A request that runs.
class Answer final : public TokenSink {
 public:
  explicit Answer(size_t which) : prompt(which) {}
  void on_event(TokenEvent&& event) noexcept override {
    if (event.token >= 0) tokens.push_back(event.token);
    step = event.step;
    finish = event.finish;
  }
  // Tokens that steps made, the one that ended the answer included.
  size_t n_made() const { return tokens.size() + (finish == FinishReason::stop ? 1 : 0); }
  bool decodes() const { return !tokens.empty() && finish == FinishReason::none; }

  const size_t prompt;  // of the class
  RequestId id = 0;
  std::vector<int32_t> tokens;
  StepTelemetry step;  // the last one
  FinishReason finish = FinishReason::none;
};

// One class through one engine.
class Measurement {
 public:
  Measurement(const SpecBenchOptions& options, const SpecClass& prompts, uint32_t n_sequences,
              const SpecPolicy& policy, std::vector<Reference>& references)
      : options_(options),
        class_(prompts),
        n_sequences_(n_sequences),
        policy_(policy),
        references_(references) {}

  Result<void> start(Model& model);
  // Goes on until n_tokens have been counted. False: it is over, the batch cannot be filled any
  // more.
  Result<bool> advance(uint64_t n_tokens);
  SpecRun& result() { return run_; }

 private:
  static EngineOptions engine_options(const SpecBenchOptions& options, const SpecClass& prompts,
                                      uint32_t n_sequences, const SpecPolicy& policy);
  Result<void> submit(size_t prompt, uint32_t max_tokens);
  Result<void> warm_up();
  void counted_step();
  Result<void> retire();
  Result<void> compare(const Answer& answer);
  bool is_full() const {
    return live_.size() == n_sequences_ &&
           std::all_of(live_.begin(), live_.end(), [](const auto& a) { return a->decodes(); });
  }

  const SpecBenchOptions& options_;
  const SpecClass& class_;
  const uint32_t n_sequences_;
  const SpecPolicy& policy_;
  std::vector<Reference>& references_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::shared_ptr<Answer>> live_;
  size_t n_submitted_ = 0;
  SpecRun run_;
};

EngineOptions Measurement::engine_options(const SpecBenchOptions& options, const SpecClass& prompts,
                                          uint32_t n_sequences, const SpecPolicy& policy) {
  EngineOptions engine;
  engine.max_context = spec_bench_context(options, prompts);
  engine.max_sequences = n_sequences;
  engine.max_step_rows = options.max_chunk_rows;
  engine.max_mixed_rows = options.max_chunk_rows;
  engine.kv_types = options.kv_types;
  engine.spec = policy;
  engine.rates = options.rates;
  engine.tap_layers = options.tap_layers;
  engine.drafters = options.drafters;
  return engine;
}

Result<void> Measurement::submit(size_t prompt, uint32_t max_tokens) {
  const SpecPrompt& from = class_.prompts[prompt];
  Request request;
  request.prompt = from.tokens;
  request.max_tokens = std::min({from.max_tokens, options_.max_tokens, max_tokens});
  request.sampling.temperature = from.temperature;
  request.sampling.seed = from.seed;
  request.stop_tokens = options_.stop_tokens;
  auto answer = std::make_shared<Answer>(prompt);
  request.sink = answer;
  const SubmitOutcome outcome = engine_->submit(std::move(request));
  if (outcome.status != SubmitStatus::accepted) {
    return usage_error("prompt {}: {}", from.name, outcome.message);
  }
  answer->id = outcome.id;
  live_.push_back(std::move(answer));
  return {};
}

Result<void> Measurement::warm_up() {
  for (uint32_t i = 0; i < n_sequences_; ++i) {
    FLOE_TRY_VOID(submit(i % class_.prompts.size(), kWarmUpTokens));
  }
  while (engine_->step()) {
  }
  live_.clear();
  return {};
}

Result<void> Measurement::start(Model& model) {
  static const SteadyClock clock;
  FLOE_TRY(engine_,
           Engine::create(engine_options(options_, class_, n_sequences_, policy_), model, clock));
  return warm_up();
}

Result<bool> Measurement::advance(uint64_t n_tokens) {
  // Each prompt once; twice as many as run at once where that is more, so that the batch stays full
  // for a while.
  const size_t n_prompts = class_.prompts.size();
  const size_t n_answers =
      n_sequences_ == 1 ? n_prompts : std::max(n_prompts, size_t{2} * n_sequences_);
  while (run_.n_tokens() < n_tokens) {
    while (live_.size() < n_sequences_ && n_submitted_ < n_answers) {
      FLOE_TRY_VOID(submit(n_submitted_++ % n_prompts, UINT32_MAX));
    }
    if (live_.size() < n_sequences_) {
      for (const auto& answer : live_) FLOE_TRY_VOID(compare(*answer));
      live_.clear();
      engine_.reset();
      return false;
    }
    if (is_full()) {
      counted_step();
    } else {
      const Clock::time_point start = Clock::now();
      engine_->step();
      run_.prompt_seconds += seconds_since(start);
    }
    FLOE_TRY_VOID(retire());
  }
  return true;
}

void Measurement::counted_step() {
  const EngineStats before = engine_->stats();
  uint64_t n_before = 0;
  for (const auto& answer : live_) n_before += answer->n_made();
  const Clock::time_point start = Clock::now();
  engine_->step();
  const double seconds = seconds_since(start);
  const EngineStats after = engine_->stats();
  uint64_t n_after = 0;
  for (const auto& answer : live_) n_after += answer->n_made();

  run_.steps.emplace_back(run_.n_tokens() + n_after - n_before, run_.seconds() + seconds);
  run_.n_sequence_steps += n_sequences_;
  run_.n_rows += after.n_rows - before.n_rows;
  run_.sum_union += after.last_union_mean;
  for (uint32_t i = 0; i < kDraftSources; ++i) {
    run_.n_drafted += after.n_drafted[i] - before.n_drafted[i];
    run_.n_accepted += after.n_draft_accepted[i] - before.n_draft_accepted[i];
  }
  for (uint32_t i = 0; i < kSpecPositions; ++i) {
    run_.drafted_by_position[i] += after.drafted_by_position[i] - before.drafted_by_position[i];
    run_.accepted_by_position[i] += after.accepted_by_position[i] - before.accepted_by_position[i];
  }
  run_.draft_seconds += after.draft_seconds - before.draft_seconds;
  run_.forward_seconds += after.step_seconds - before.step_seconds;
  const StepTelemetry& step = live_.front()->step;
  if (step.predicted_seconds > 0) {
    ++run_.n_predicted;
    run_.predicted_seconds += step.predicted_seconds;
    run_.measured_seconds += step.seconds;
  }
}

// Takes out what has ended.
Result<void> Measurement::retire() {
  for (const auto& answer : live_) {
    if (answer->finish == FinishReason::none) continue;
    if (answer->finish == FinishReason::error) {
      if (engine_->failure()) return *engine_->failure();
      return make_error(ErrorKind::runtime,
                        "prompt {}: the model produced numbers that are not finite",
                        class_.prompts[answer->prompt].name);
    }
    FLOE_TRY_VOID(compare(*answer));
  }
  std::erase_if(live_, [](const auto& answer) { return answer->finish != FinishReason::none; });
  return {};
}

// Of tokens that both have, and of the end, where the answer has come to it.
Result<void> Measurement::compare(const Answer& answer) {
  Reference& reference = references_[answer.prompt];
  const bool complete = answer.finish != FinishReason::none;
  if (!reference) {
    // One at a time, every prompt is answered to the end.
    FLOE_CHECK(policy_.mode == SpecMode::off && complete);
    reference = answer.tokens;
    return {};
  }
  const auto [here, there] = std::mismatch(answer.tokens.begin(), answer.tokens.end(),
                                           reference->begin(), reference->end());
  if (here == answer.tokens.end() && (there == reference->end() || !complete)) return {};
  const auto shown = [](auto at, auto end) {
    return at == end ? std::string("the end") : fmt::format("token {}", *at);
  };
  return make_error(
      ErrorKind::quality,
      "prompt {}, arm {}, {} at once: expected {} at position {} as arm off, found {}",
      class_.prompts[answer.prompt].name, to_string(policy_), n_sequences_,
      shown(there, reference->end()), here - answer.tokens.begin(),
      shown(here, answer.tokens.end()));
}

Result<void> check(const SpecBenchOptions& options) {
  FLOE_CHECK(!options.arms.empty() && options.arms[0].mode == SpecMode::off);
  FLOE_CHECK(!options.batch_sizes.empty());
  const uint32_t most = *std::max_element(options.batch_sizes.begin(), options.batch_sizes.end());
  for (const SpecClass& prompts : options.classes) {
    if (prompts.prompts.size() >= most) continue;
    return usage_error(
        "-np: class {} has {} prompts, {} sequences at once want as many different ones",
        prompts.name, prompts.prompts.size(), most);
  }
  return {};
}

// The answers of a class that those of all rounds are compared with.
Result<void> answer_plainly(Model& model, const SpecBenchOptions& options, const SpecClass& prompts,
                            std::vector<Reference>& references) {
  Measurement measurement(options, prompts, 1, options.arms[0], references);
  FLOE_TRY_VOID(measurement.start(model));
  FLOE_TRY_VOID(measurement.advance(UINT64_MAX));
  return {};
}

// All arms of a class and a batch size, in the options' order.
Result<std::vector<SpecRun>> run_arms(Model& model, const SpecBenchOptions& options,
                                      const SpecClass& prompts, uint32_t n_sequences,
                                      std::vector<Reference>& references) {
  std::vector<Measurement> measurements;
  for (const SpecPolicy& arm : options.arms) {
    measurements.emplace_back(options, prompts, n_sequences, arm, references);
    FLOE_TRY_VOID(measurements.back().start(model));
  }
  size_t n_running = measurements.size();
  std::vector<bool> runs(measurements.size(), true);
  for (uint64_t turn = 1; n_running != 0; ++turn) {
    for (size_t i = 0; i < measurements.size(); ++i) {
      // Nobody is always the one behind the same other.
      const size_t arm = turn % 2 != 0 ? i : measurements.size() - 1 - i;
      if (!runs[arm]) continue;
      FLOE_TRY(runs[arm], measurements[arm].advance(turn * kTurnTokens * n_sequences));
      if (!runs[arm]) --n_running;
    }
  }
  std::vector<SpecRun> results;
  for (Measurement& measurement : measurements) {
    if (measurement.result().steps.empty()) {
      return usage_error("-np: class {}: found no step with {} sequences decoding; raise -n",
                         prompts.name, n_sequences);
    }
    results.push_back(std::move(measurement.result()));
  }
  return results;
}

void finish_rows(std::vector<SpecBenchRow>& rows, size_t n_arms) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const SpecBenchRow& baseline = rows[i - i % n_arms];
    for (size_t round = 0; round < rows[i].runs.size(); ++round) {
      rows[i].ratios.push_back(rows[i].runs[round].tokens_per_second() /
                               baseline.runs[round].tokens_per_second());
    }
    rows[i].worst_window = worst_window(rows[i].runs, baseline.runs, kSpecWindowTokens);
  }
}

}  // namespace

uint32_t spec_bench_context(const SpecBenchOptions& options, const SpecClass& prompts) {
  uint32_t longest = 0;
  for (const SpecPrompt& prompt : prompts.prompts) {
    longest = std::max(longest, static_cast<uint32_t>(prompt.tokens.size()) +
                                    std::min(prompt.max_tokens, options.max_tokens));
  }
  // Room for guesses, so that they preempt nobody.
  return longest + kMaxDraftTokens;
}

double lower_median(std::vector<double> values) {
  FLOE_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

double SpecRun::tokens_per_second() const {
  return seconds() > 0 ? static_cast<double>(n_tokens()) / seconds() : 0;
}

double SpecRun::seconds_at(uint64_t n) const {
  const auto at =
      std::lower_bound(steps.begin(), steps.end(), n,
                       [](const auto& step, uint64_t token) { return step.first < token; });
  FLOE_CHECK(at != steps.end());
  const auto [n_before, before] = at == steps.begin() ? std::pair<uint64_t, double>{} : at[-1];
  if (at->first == n_before) return at->second;
  return before + (at->second - before) * static_cast<double>(n - n_before) /
                      static_cast<double>(at->first - n_before);
}

double SpecBenchRow::tokens_per_second() const {
  std::vector<double> speeds;
  for (const SpecRun& run : runs) speeds.push_back(run.tokens_per_second());
  return lower_median(speeds);
}

double SpecBenchRow::ratio() const {
  return lower_median(ratios);
}

double SpecBenchRow::prompt_seconds() const {
  std::vector<double> seconds;
  for (const SpecRun& run : runs) seconds.push_back(run.prompt_seconds);
  return lower_median(seconds);
}

SpecRun SpecBenchRow::total() const {
  SpecRun sum;
  for (const SpecRun& run : runs) {
    sum.n_sequence_steps += run.n_sequence_steps;
    sum.n_rows += run.n_rows;
    sum.sum_union += run.sum_union;
    sum.n_drafted += run.n_drafted;
    sum.n_accepted += run.n_accepted;
    for (uint32_t i = 0; i < kSpecPositions; ++i) {
      sum.drafted_by_position[i] += run.drafted_by_position[i];
      sum.accepted_by_position[i] += run.accepted_by_position[i];
    }
    sum.draft_seconds += run.draft_seconds;
    sum.forward_seconds += run.forward_seconds;
    sum.n_predicted += run.n_predicted;
    sum.predicted_seconds += run.predicted_seconds;
    sum.measured_seconds += run.measured_seconds;
  }
  return sum;
}

std::optional<double> worst_window(const std::vector<SpecRun>& runs,
                                   const std::vector<SpecRun>& baseline, uint32_t n_tokens) {
  uint64_t n_all = UINT64_MAX;
  for (const SpecRun& run : runs) n_all = std::min(n_all, run.n_tokens());
  for (const SpecRun& run : baseline) n_all = std::min(n_all, run.n_tokens());
  if (runs.empty() || n_all < n_tokens) return std::nullopt;
  std::optional<double> worst;
  for (uint64_t begin = 0; begin + n_tokens <= n_all; begin += kWindowStride) {
    std::vector<double> ratios;
    for (size_t round = 0; round < runs.size(); ++round) {
      const auto window = [&](const SpecRun& run) {
        return run.seconds_at(begin + n_tokens) - run.seconds_at(begin);
      };
      ratios.push_back(window(baseline[round]) / window(runs[round]));
    }
    const double ratio = lower_median(ratios);
    worst = std::min(worst.value_or(ratio), ratio);
  }
  return worst;
}

Result<SpecBenchReport> run_spec_bench(Model& model, ThreadPool& pool,
                                       const SpecBenchOptions& options) {
  FLOE_TRY_VOID(check(options));
  SpecBenchReport report;
  report.n_threads = pool.size();
  const size_t n_arms = options.arms.size();
  for (const SpecClass& prompts : options.classes) {
    for (const uint32_t n_sequences : options.batch_sizes) {
      for (const SpecPolicy& arm : options.arms) {
        SpecBenchRow& row = report.rows.emplace_back();
        row.class_name = prompts.name;
        row.n_sequences = n_sequences;
        row.arm = to_string(arm);
      }
    }
  }
  std::vector<std::vector<Reference>> references;
  for (const SpecClass& prompts : options.classes) references.emplace_back(prompts.prompts.size());

  Progress progress("spec-bench", options.classes.size() + report.rows.size() * options.n_rounds,
                    Progress::Unit::items, options.show_progress);
  for (size_t c = 0; c < options.classes.size(); ++c) {
    FLOE_TRY_VOID(answer_plainly(model, options, options.classes[c], references[c]));
    progress.advance(1);
  }
  for (uint32_t round = 0; round < options.n_rounds; ++round) {
    size_t row = 0;
    for (size_t c = 0; c < options.classes.size(); ++c) {
      for (const uint32_t n_sequences : options.batch_sizes) {
        FLOE_TRY(std::vector<SpecRun> runs,
                 run_arms(model, options, options.classes[c], n_sequences, references[c]));
        for (SpecRun& run : runs) report.rows[row++].runs.push_back(std::move(run));
        progress.advance(n_arms);
      }
    }
  }
  progress.finish();
  finish_rows(report.rows, n_arms);
  return report;
}

}  // namespace floe

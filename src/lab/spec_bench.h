#pragma once
// Speed with guesses beside speed without: the same prompts through engines that differ in their
// speculation only. They take turns of some tokens, round after round.
//
// Only decode counts: steps in which all sequences decode and the batch is full. The tokens of all
// arms are compared with those of the first one, which never guesses: a difference ends the run.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "draft/economics.h"
#include "draft/factory.h"
#include "lab/receipt.h"
#include "lab/spec_prompts.h"
#include "model/model.h"

namespace floe {

// A window of this many tokens is what a person notices.
inline constexpr uint32_t kSpecWindowTokens = 500;
inline constexpr uint32_t kSpecPositions = 8;  // of a draft, whose acceptance is shown

struct SpecBenchOptions {
  std::vector<SpecClass> classes;
  std::vector<SpecPolicy> arms;       // the first one is off
  DrafterMaker drafters;              // of every arm but those that are off
  std::optional<MachineRates> rates;  // of every arm
  std::optional<TapLayers> tap_layers;
  std::vector<uint32_t> batch_sizes;  // sequences at once
  uint32_t n_rounds = 3;
  uint32_t max_tokens = 400;  // of a prompt, if it does not say less
  std::vector<int32_t> stop_tokens;
  uint32_t max_chunk_rows = 512;
  KvTypes kv_types = KvType::F16;
  bool show_progress = true;
};

// The counted steps of one arm in one round.
struct SpecRun {
  // Behind each step: tokens so far, seconds so far.
  std::vector<std::pair<uint64_t, double>> steps;
  uint64_t n_sequence_steps = 0;  // steps, each once per sequence of the batch
  uint64_t n_rows = 0;
  double sum_union = 0;    // of steps: distinct experts, mean over MoE layers
  uint64_t n_drafted = 0;  // guesses that became rows
  uint64_t n_accepted = 0;
  std::array<uint64_t, kSpecPositions> drafted_by_position{};   // [i]: the (i+1)th of its draft
  std::array<uint64_t, kSpecPositions> accepted_by_position{};  // of those, the right ones
  double draft_seconds = 0;
  double forward_seconds = 0;
  // Sums over the steps for which the controller had predicted a time.
  uint64_t n_predicted = 0;
  double predicted_seconds = 0;
  double measured_seconds = 0;
  // Time of the steps that are not counted because they held prompt rows or the batch was not full,
  // the warm-up left out. It includes what drafters do with the prompts.
  double prompt_seconds = 0;

  uint64_t n_tokens() const { return steps.empty() ? 0 : steps.back().first; }
  double seconds() const { return steps.empty() ? 0 : steps.back().second; }
  double tokens_per_second() const;
  // When token n was out, steps being even inside. n <= n_tokens().
  double seconds_at(uint64_t n) const;
};

struct SpecBenchRow {
  std::string class_name;
  uint32_t n_sequences = 1;
  std::string arm;
  std::vector<SpecRun> runs;   // one per counted round
  std::vector<double> ratios;  // speed over that of the first arm in the same round
  // The slowest stretch of kSpecWindowTokens tokens against the first arm's time for the same ones
  // (batches: for as many): the median over the rounds of each stretch, and the least of those.
  // Absent where fewer tokens were counted.
  std::optional<double> worst_window;

  // Lower medians over the rounds.
  double tokens_per_second() const;
  double ratio() const;
  double prompt_seconds() const;
  SpecRun total() const;  // of all rounds; steps stay empty, and there is no sum of prompt_seconds
};

struct SpecBenchReport {
  uint32_t n_threads = 0;
  std::vector<SpecBenchRow> rows;  // by class, batch size, arm
};

// Positions of one sequence in a run of the class. Every arm holds as many slots for each of the
// sequences at once, all arms at the same time.
uint32_t spec_bench_context(const SpecBenchOptions& options, const SpecClass& prompts);

// ErrorKind::quality where an arm's tokens are not the first arm's: the message says prompt, arm
// and position. ErrorKind::usage where a class has fewer prompts than a batch has sequences, or no
// step counts.
Result<SpecBenchReport> run_spec_bench(Model& model, ThreadPool& pool,
                                       const SpecBenchOptions& options);

// The middle one; of two middle ones the lower: two rounds must not show the better one as typical.
double lower_median(std::vector<double> values);

// See SpecBenchRow::worst_window. Both have a run per round.
std::optional<double> worst_window(const std::vector<SpecRun>& runs,
                                   const std::vector<SpecRun>& baseline, uint32_t n_tokens);

// format: md, json, jsonl or csv.
std::string format_spec_bench(const SpecBenchReport& report, const Subject& subject,
                              const std::string& format);

}  // namespace floe

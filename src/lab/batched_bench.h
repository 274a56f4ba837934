#pragma once
// Speed of many sequences at once: B prompts prefilled together, then decode steps of B rows, each
// row continued by the token its own logits rank first.
//
// How many experts a step reads depends on how alike the sequences are. So the sequences hold
// different tokens unless asked otherwise, and the number of experts read (their union) is printed:
// identical prompts would all choose the same experts, which real batches do not.
#include <cstdint>
#include <string>
#include <vector>

#include "lab/floor.h"
#include "lab/receipt.h"
#include "model/model.h"

namespace floe {

struct BatchedBenchOptions {
  std::vector<uint32_t> prompt_tokens, decode_tokens, batch_sizes;  // all combinations
  // Token ids of the prompts, one list each; empty: random tokens, all sequences different.
  // Sequence i takes prompt i modulo their number and goes on with the prompts after it, round and
  // round, until it is full.
  std::vector<std::vector<int32_t>> prompts;
  bool same = false;  // every sequence holds the prompt of sequence 0
  bool shared_prompt =
      false;  // one prefill serves all; sequence i goes on with the i-th best token
  uint32_t n_repetitions = 1;  // counted rounds over all combinations
  uint32_t max_chunk_rows = 512;
  KvTypes kv_types = KvType::F16;
  bool show_progress = true;
};

struct BatchedBenchRow {
  uint32_t n_prompt = 0;  // tokens of a sequence
  uint32_t n_decode = 0;
  uint32_t n_sequences = 0;
  bool shared_prompt = false;
  std::vector<double> samples_prefill_ns, samples_decode_ns;  // one per repetition
  std::vector<double> samples_read;  // bytes per second, probed around the decode phase
  ByteLedger decode_ledger;          // sum over the decode steps of the last repetition

  double prefill_seconds() const { return median_of(samples_prefill_ns) / 1e9; }
  double decode_seconds() const { return median_of(samples_decode_ns) / 1e9; }
  // Tokens cached at the end, all sequences together.
  uint32_t n_kv() const;
  // Tokens that the prefill computed.
  uint32_t n_prefilled() const;
  double prefill_ts() const;
  double decode_ts() const;
  double total_ts() const;
  double gb_s() const;       // bytes per second of the decode phase
  double pct_floor() const;  // of the bandwidth probed beside it
};

struct BatchedBenchReport {
  uint32_t n_threads = 0;
  std::vector<BatchedBenchRow> rows;
};

// The tokens of n_sequences prompts of n_tokens each, as the options say.
std::vector<std::vector<int32_t>> batch_prompts(const BatchedBenchOptions& options,
                                                uint32_t n_sequences, uint32_t n_tokens,
                                                uint32_t n_vocab);

// What the model is reserved with; the cache has max_context slots for each sequence of the largest
// batch, which are max_logit_rows.
ForwardLimits batched_bench_limits(const BatchedBenchOptions& options);
Result<BatchedBenchReport> run_batched_bench(Model& model, ThreadPool& pool,
                                             const BatchedBenchOptions& options);

// format: md, json, jsonl or csv. Columns are llama.cpp's batched-bench's, ours appended.
std::string format_batched_bench(const BatchedBenchReport& report, const Subject& subject,
                                 const std::string& format);

}  // namespace floe

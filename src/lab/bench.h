#pragma once
// Speed of the forward alone: prefill, decode and verify at chosen depths, with the bytes they
// touched.
//
// Tests run interleaved, round after round, so that a slow moment of the machine meets all of them
// alike. Token ids are random and all different, so that routing is spread and the union of experts
// real. Between tests the read bandwidth is probed again, because it drifts on shared machines: a
// row's floor comes from the probes beside its own samples. A probe also empties the caches.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lab/floor.h"
#include "lab/receipt.h"
#include "model/model.h"

namespace floe {

enum class BenchKind : uint8_t {
  prefill,  // ppN: N prompt tokens in chunks, logits of the last
  decode,   // tgN: N forwards of one row
  verify,   // vN: one forward of N rows of one sequence, logits of every row
};

struct BenchCase {
  BenchKind kind = BenchKind::decode;
  uint32_t n_tokens = 0;
  uint32_t depth = 0;        // tokens already cached
  std::string name() const;  // "pp512", "tg128 @ d4096"
};

struct BenchOptions {
  std::vector<uint32_t> prefill_tokens, decode_tokens, verify_rows, depths;
  uint32_t n_repetitions = 5;
  uint32_t max_chunk_rows = 512;
  KvTypes kv_types = KvType::F16;
  bool show_progress = true;
};

struct BenchRow {
  BenchCase test;
  std::vector<double> samples_ns;    // one per repetition
  std::vector<double> samples_ts;    // tokens per second
  std::vector<double> samples_read;  // bytes per second: the mean of the probes around a repetition
  double mean_ns = 0, deviation_ns = 0, mean_ts = 0, deviation_ts = 0, median_ts = 0;
  ByteLedger ledger;                 // of one sample: a prefill, n_tokens decodes, or one verify
  double read_bytes_per_second = 0;  // the median of samples_read
  double gb_s = 0;                   // bytes touched per second at the median
  double floor_ts = 0;               // tokens per second if only the bytes counted
  double pct_floor = 0;              // median_ts / floor_ts * 100
  double gmac_s = 0;                 // multiply-adds per second at the median
  // Of a verify, where v1 was measured at the same depth: its time over that of v1 (the median over
  // the rounds), and what the time model says it should be.
  std::optional<double> ratio, model_ratio;
};

struct BenchReport {
  ComputePeaks peaks;  // of the kernel table in use
  uint32_t n_threads = 0;
  std::vector<BenchRow> rows;
};

// What the model is reserved with; the cache has max_context slots.
ForwardLimits bench_limits(const BenchOptions& options);
Result<BenchReport> run_bench(Model& model, ThreadPool& pool, const BenchOptions& options);

// One object per row; keys are llama-bench's, ours appended.
std::vector<Json> bench_rows(const BenchReport& report, const Subject& subject);
// format: md, json, jsonl or csv.
std::string format_bench(const BenchReport& report, const Subject& subject,
                         const std::string& format);

}  // namespace floe

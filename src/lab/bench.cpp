#include "lab/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "base/progress.h"
#include "base/rng.h"
#include "draft/time_model.h"
#include "kernels/kernel_table.h"
#include "lab/kernel_rates.h"

namespace floe {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kCalibrationSeconds = 0.5;
// A verify is over in milliseconds; a repetition times this many in a row.
constexpr uint32_t kVerifiesPerSample = 4;

// Drives one sequence whose position p lives in slot p.
class Runner {
 public:
  Runner(Model& model, KvCache& cache, uint32_t max_chunk_rows)
      : model_(model), cache_(cache), max_chunk_rows_(max_chunk_rows), slots_(cache.n_slots()) {
    std::iota(slots_.begin(), slots_.end(), 0u);
  }

  Result<ByteLedger> run(const BenchCase& test) {
    ByteLedger ledger;
    switch (test.kind) {
      case BenchKind::prefill:
        FLOE_TRY_VOID(prefill(test.depth, test.n_tokens, ledger));
        break;
      case BenchKind::decode:
        for (uint32_t i = 0; i < test.n_tokens; ++i) {
          FLOE_TRY_VOID(step(test.depth + i, 1, true, ledger));
        }
        break;
      case BenchKind::verify:
        for (uint32_t i = 0; i < kVerifiesPerSample; ++i) {
          FLOE_TRY_VOID(step(test.depth, test.n_tokens, true, ledger));
        }
        break;
    }
    return ledger;
  }

  Result<void> prefill(uint32_t position, uint32_t n_tokens, ByteLedger& ledger) {
    for (uint32_t done = 0; done < n_tokens;) {
      const uint32_t n_rows = std::min(max_chunk_rows_, n_tokens - done);
      done += n_rows;
      FLOE_TRY_VOID(step(position + done - n_rows, n_rows, false, ledger, done == n_tokens));
    }
    return {};
  }

 private:
  Result<void> step(uint32_t position, uint32_t n_rows, bool all_logits, ByteLedger& ledger,
                    bool last_logits = false) {
    rows_.clear();
    const uint64_t n_vocab = model_.info().n_vocab;
    for (uint32_t i = 0; i < n_rows; ++i) {
      const auto token = static_cast<int32_t>(mix64(next_token_++) % n_vocab);
      rows_.push_back({token, position + i, 0, all_logits || (last_logits && i + 1 == n_rows)});
    }
    const SequenceSlots sequence{slots_};
    FLOE_TRY(const ForwardOutput output, model_.forward({rows_, {&sequence, 1}, cache_}));
    ledger += output.ledger;
    return {};
  }

  Model& model_;
  KvCache& cache_;
  uint32_t max_chunk_rows_;
  std::vector<uint32_t> slots_;
  std::vector<ForwardRow> rows_;
  uint64_t next_token_ = 1;
};

uint32_t forwards_per_sample(const BenchCase& test) {
  return test.kind == BenchKind::verify ? kVerifiesPerSample : 1;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation_of(const std::vector<double>& values, double mean) {
  double square = 0;
  for (const double value : values) square += (value - mean) * (value - mean);
  return values.size() > 1 ? std::sqrt(square / static_cast<double>(values.size() - 1)) : 0.0;
}

// The row's ledger is the sum over n forwards of the case and becomes their mean.
void summarise(BenchRow& row, uint64_t n) {
  for (const LedgerClass& kind : kLedgerClasses) {
    row.ledger.*kind.bytes /= n;
    row.ledger.*kind.macs /= n;
  }
  row.mean_ns = mean_of(row.samples_ns);
  row.deviation_ns = deviation_of(row.samples_ns, row.mean_ns);
  row.mean_ts = mean_of(row.samples_ts);
  row.deviation_ts = deviation_of(row.samples_ts, row.mean_ts);
  row.median_ts = median_of(row.samples_ts);
  row.read_bytes_per_second = median_of(row.samples_read);
  const double n_tokens = row.test.n_tokens;
  const double bytes_per_token = static_cast<double>(row.ledger.total_bytes()) / n_tokens;
  row.gb_s = row.median_ts * bytes_per_token / 1e9;
  row.floor_ts = row.read_bytes_per_second / bytes_per_token;
  row.pct_floor = 100 * row.median_ts / row.floor_ts;
  row.gmac_s = row.median_ts * static_cast<double>(row.ledger.total_macs()) / n_tokens / 1e9;
}

// rows: of one depth.
void set_ratios(std::span<BenchRow> rows, const std::vector<KernelRates>& kernel_rates,
                const ComputePeaks& peaks) {
  const auto is_v1 = [](const BenchRow& row) {
    return row.test.kind == BenchKind::verify && row.test.n_tokens == 1;
  };
  const auto one = std::find_if(rows.begin(), rows.end(), is_v1);
  if (one == rows.end()) return;
  for (BenchRow& row : rows) {
    if (row.test.kind != BenchKind::verify) continue;
    std::vector<double> ratios;
    for (size_t i = 0; i < row.samples_ns.size(); ++i) {
      ratios.push_back(row.samples_ns[i] / one->samples_ns[i]);
    }
    row.ratio = median_of(ratios);
    std::vector<double> reads = row.samples_read;
    reads.insert(reads.end(), one->samples_read.begin(), one->samples_read.end());
    const MachineRates rates{median_of(reads), kernel_rates, peaks.f32_macs_per_second};
    row.model_ratio =
        predicted_ratio(one->ledger, median_of(one->samples_ns) / 1e9, row.ledger, rates);
  }
}

}  // namespace

std::string BenchCase::name() const {
  const char* prefix = kind == BenchKind::prefill ? "pp" : kind == BenchKind::decode ? "tg" : "v";
  return depth == 0 ? fmt::format("{}{}", prefix, n_tokens)
                    : fmt::format("{}{} @ d{}", prefix, n_tokens, depth);
}

ForwardLimits bench_limits(const BenchOptions& options) {
  uint32_t max_tokens = 1;
  uint32_t max_rows = 1;
  for (const auto* list : {&options.prefill_tokens, &options.decode_tokens, &options.verify_rows}) {
    for (const uint32_t n : *list) max_tokens = std::max(max_tokens, n);
  }
  for (const uint32_t n : options.verify_rows) max_rows = std::max(max_rows, n);
  ForwardLimits limits;
  limits.max_rows = std::max(options.max_chunk_rows, max_rows);
  limits.max_logit_rows = max_rows;
  limits.max_context = *std::max_element(options.depths.begin(), options.depths.end()) + max_tokens;
  return limits;
}

Result<BenchReport> run_bench(Model& model, ThreadPool& pool, const BenchOptions& options) {
  const ForwardLimits limits = bench_limits(options);
  if (limits.max_context > model.info().context_length) {
    return usage_error(
        "-d: {} tokens with those of the test are more than the model's context of {}",
        limits.max_context, model.info().context_length);
  }
  FLOE_TRY_VOID(model.reserve(limits));
  FLOE_TRY(const std::unique_ptr<KvCache> cache,
           model.make_cache({limits.max_context, options.kv_types}));
  Runner runner(model, *cache, options.max_chunk_rows);

  BenchReport report;
  report.n_threads = pool.size();
  FLOE_TRY(ReadProbe probe, ReadProbe::of(pool, model));
  probe.calibrate(kCalibrationSeconds);
  report.peaks = measure_compute_peaks(pool, kernels().isa);
  FLOE_TRY(const std::vector<KernelRates> kernel_rates,
           measure_kernel_rates(pool, model.info().class_formats));
  const size_t n_per_depth =
      options.prefill_tokens.size() + options.decode_tokens.size() + options.verify_rows.size();
  Progress progress("bench", n_per_depth * options.depths.size() * (options.n_repetitions + 1),
                    Progress::Unit::items, options.show_progress);
  for (const uint32_t depth : options.depths) {
    const size_t first = report.rows.size();
    const auto add = [&](BenchKind kind, const std::vector<uint32_t>& list) {
      for (const uint32_t n : list) {
        report.rows.emplace_back().test = {kind, n, depth};
      }
    };
    add(BenchKind::prefill, options.prefill_tokens);
    add(BenchKind::decode, options.decode_tokens);
    add(BenchKind::verify, options.verify_rows);
    ByteLedger unused;
    FLOE_TRY_VOID(runner.prefill(0, depth, unused));
    // Round 0 warms up and is not counted.
    double read_before = probe.bytes_per_second();
    for (uint32_t round = 0; round <= options.n_repetitions; ++round) {
      for (size_t i = first; i < report.rows.size(); ++i) {
        BenchRow& row = report.rows[i];
        const Clock::time_point start = Clock::now();
        FLOE_TRY(const ByteLedger ledger, runner.run(row.test));
        const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
                          forwards_per_sample(row.test);
        const double read_after = probe.bytes_per_second();
        const double read = (std::exchange(read_before, read_after) + read_after) / 2;
        progress.advance(1);
        if (round == 0) continue;
        row.samples_read.push_back(read);
        row.samples_ns.push_back(ns);
        row.samples_ts.push_back(row.test.n_tokens * 1e9 / ns);
        row.ledger += ledger;
      }
    }
    for (size_t i = first; i < report.rows.size(); ++i) {
      BenchRow& row = report.rows[i];
      summarise(row, uint64_t{options.n_repetitions} * forwards_per_sample(row.test));
    }
    set_ratios(std::span(report.rows).subspan(first), kernel_rates, report.peaks);
  }
  return report;
}

}  // namespace floe

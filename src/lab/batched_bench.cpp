#include "lab/batched_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <span>

#include "base/json.h"
#include "base/progress.h"
#include "base/rng.h"

namespace floe {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kCalibrationSeconds = 0.5;

double ns_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

int32_t best_token(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// ranks[i]: the id with the i-th highest logit.
std::vector<int32_t> best_tokens(std::span<const float> logits, uint32_t n) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  n = std::min(n, static_cast<uint32_t>(ids.size()));
  std::partial_sort(ids.begin(), ids.begin() + n, ids.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  ids.resize(n);
  return ids;
}

// The sequences of one combination, each with slots of its own but for a shared prompt.
class Batch {
 public:
  Batch(Model& model, ThreadPool& pool, KvCache& cache, const BatchedBenchOptions& options,
        const BatchedBenchRow& row)
      : model_(model),
        pool_(pool),
        cache_(cache),
        max_chunk_rows_(options.max_chunk_rows),
        shared_(row.shared_prompt),
        n_prompt_(row.n_prompt),
        n_sequences_(row.n_sequences),
        prompts_(batch_prompts(options, row.n_sequences, row.n_prompt, model.info().n_vocab)),
        next_(row.n_sequences),
        slots_(row.n_sequences) {
    uint32_t n_slots = 0;
    for (uint32_t i = 0; i < n_sequences_; ++i) {
      std::vector<uint32_t>& slots = slots_[i];
      slots.resize(n_prompt_ + row.n_decode);
      uint32_t n_shared = 0;
      if (shared_ && i > 0) {
        n_shared = n_prompt_;
        std::copy_n(slots_[0].begin(), n_shared, slots.begin());
      }
      std::iota(slots.begin() + n_shared, slots.end(), n_slots);
      n_slots += static_cast<uint32_t>(slots.size()) - n_shared;
      sequences_.push_back({slots});
    }
  }

  Result<void> prefill() {
    const uint32_t n_prefilled = shared_ ? 1 : n_sequences_;
    rows_.clear();
    for (uint32_t s = 0; s < n_prefilled; ++s) {
      for (uint32_t p = 0; p < n_prompt_; ++p) {
        rows_.push_back({prompts_[s][p], p, s, p + 1 == n_prompt_});
        if (rows_.size() == max_chunk_rows_ || (s + 1 == n_prefilled && p + 1 == n_prompt_)) {
          FLOE_TRY_VOID(forward());
          rows_.clear();
        }
      }
    }
    return {};
  }

  Result<ByteLedger> decode(uint32_t n_steps) {
    ByteLedger ledger;
    for (uint32_t step = 0; step < n_steps; ++step) {
      rows_.clear();
      for (uint32_t s = 0; s < n_sequences_; ++s) {
        rows_.push_back({next_[s], n_prompt_ + step, s, true});
      }
      FLOE_TRY(const ByteLedger step_ledger, forward());
      ledger += step_ledger;
    }
    return ledger;
  }

 private:
  // Runs rows_ and puts the best token of every row with logits into next_.
  Result<ByteLedger> forward() {
    FLOE_TRY(const ForwardOutput output, model_.forward({rows_, sequences_, cache_}));
    logit_rows_.clear();
    for (const ForwardRow& row : rows_) {
      if (row.wants_logits) logit_rows_.push_back(row.sequence);
    }
    const size_t n_vocab = model_.info().n_vocab;
    const bool is_prompt = rows_.back().position < n_prompt_;
    if (shared_ && is_prompt && !logit_rows_.empty()) {
      const std::vector<int32_t> best = best_tokens({output.logits, n_vocab}, n_sequences_);
      for (uint32_t s = 0; s < n_sequences_; ++s) next_[s] = best[s % best.size()];
      return output.ledger;
    }
    pool_.run([&](Worker& worker) {
      worker.chunks(static_cast<uint32_t>(logit_rows_.size()), 1, [&](uint32_t i, uint32_t) {
        next_[logit_rows_[i]] = best_token({output.logits + i * n_vocab, n_vocab});
      });
    });
    return output.ledger;
  }

  Model& model_;
  ThreadPool& pool_;
  KvCache& cache_;
  uint32_t max_chunk_rows_;
  bool shared_;
  uint32_t n_prompt_;
  uint32_t n_sequences_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<int32_t> next_;  // the token that each sequence goes on with
  std::vector<std::vector<uint32_t>> slots_;
  std::vector<SequenceSlots> sequences_;
  std::vector<ForwardRow> rows_;
  std::vector<uint32_t> logit_rows_;  // the sequences whose logits a forward computes
};

uint32_t largest(const std::vector<uint32_t>& list) {
  return *std::max_element(list.begin(), list.end());
}

}  // namespace

uint32_t BatchedBenchRow::n_prefilled() const {
  return shared_prompt ? n_prompt : n_prompt * n_sequences;
}
uint32_t BatchedBenchRow::n_kv() const {
  return n_prefilled() + n_decode * n_sequences;
}
double BatchedBenchRow::prefill_ts() const {
  return n_prefilled() / prefill_seconds();
}
double BatchedBenchRow::decode_ts() const {
  return n_decode * n_sequences / decode_seconds();
}
double BatchedBenchRow::total_ts() const {
  return n_kv() / (prefill_seconds() + decode_seconds());
}
double BatchedBenchRow::gb_s() const {
  return static_cast<double>(decode_ledger.total_bytes()) / decode_seconds() / 1e9;
}
double BatchedBenchRow::pct_floor() const {
  return 100 * gb_s() * 1e9 / median_of(samples_read);
}

std::vector<std::vector<int32_t>> batch_prompts(const BatchedBenchOptions& options,
                                                uint32_t n_sequences, uint32_t n_tokens,
                                                uint32_t n_vocab) {
  std::vector<std::vector<int32_t>> prompts(n_sequences);
  uint64_t n_drawn = 0;
  for (uint32_t s = 0; s < n_sequences; ++s) {
    std::vector<int32_t>& tokens = prompts[s];
    if (options.same && s > 0) {
      tokens = prompts[0];
    } else if (options.prompts.empty()) {
      while (tokens.size() < n_tokens) {
        tokens.push_back(static_cast<int32_t>(mix64(++n_drawn) % n_vocab));
      }
    } else {
      for (size_t i = s; tokens.size() < n_tokens; ++i) {
        const std::vector<int32_t>& from = options.prompts[i % options.prompts.size()];
        const size_t n = std::min(from.size(), n_tokens - tokens.size());
        tokens.insert(tokens.end(), from.begin(), from.begin() + static_cast<ptrdiff_t>(n));
      }
    }
  }
  return prompts;
}

ForwardLimits batched_bench_limits(const BatchedBenchOptions& options) {
  ForwardLimits limits;
  limits.max_logit_rows = largest(options.batch_sizes);
  limits.max_rows = std::max(options.max_chunk_rows, limits.max_logit_rows);
  limits.max_context = largest(options.prompt_tokens) + largest(options.decode_tokens);
  return limits;
}

Result<BatchedBenchReport> run_batched_bench(Model& model, ThreadPool& pool,
                                             const BatchedBenchOptions& options) {
  const ForwardLimits limits = batched_bench_limits(options);
  const uint32_t max_context = limits.max_context;
  const uint32_t max_sequences = limits.max_logit_rows;
  if (max_context > model.info().context_length) {
    return usage_error("-npp and -ntg: {} tokens are more than the model's context of {}",
                       max_context, model.info().context_length);
  }
  FLOE_TRY_VOID(model.reserve(limits));
  const uint64_t n_slots = uint64_t{max_context} * max_sequences;
  if (n_slots > UINT32_MAX) {
    return usage_error("-npl: {} sequences of {} tokens are more than a cache can hold",
                       max_sequences, max_context);
  }
  FLOE_TRY(const std::unique_ptr<KvCache> cache,
           model.make_cache({static_cast<uint32_t>(n_slots), options.kv_types}));
  FLOE_TRY(ReadProbe probe, ReadProbe::of(pool, model));
  probe.calibrate(kCalibrationSeconds);

  BatchedBenchReport report;
  report.n_threads = pool.size();
  for (const uint32_t n_prompt : options.prompt_tokens) {
    for (const uint32_t n_decode : options.decode_tokens) {
      for (const uint32_t n_sequences : options.batch_sizes) {
        BatchedBenchRow& row = report.rows.emplace_back();
        row.n_prompt = n_prompt;
        row.n_decode = n_decode;
        row.n_sequences = n_sequences;
        row.shared_prompt = options.shared_prompt;
      }
    }
  }
  Progress progress("batched-bench", report.rows.size() * options.n_repetitions,
                    Progress::Unit::items, options.show_progress);
  // The first touch of weights, cache and workspace is nobody's sample.
  BatchedBenchRow warm_up = report.rows.front();
  warm_up.n_prompt = std::min(warm_up.n_prompt, 16u);
  warm_up.n_decode = 1;
  Batch first(model, pool, *cache, options, warm_up);
  FLOE_TRY_VOID(first.prefill());
  FLOE_TRY_VOID(first.decode(1));
  for (uint32_t round = 0; round < options.n_repetitions; ++round) {
    for (BatchedBenchRow& row : report.rows) {
      Batch batch(model, pool, *cache, options, row);
      const Clock::time_point prefill_start = Clock::now();
      FLOE_TRY_VOID(batch.prefill());
      row.samples_prefill_ns.push_back(ns_since(prefill_start));
      const double read_before = probe.bytes_per_second();
      const Clock::time_point decode_start = Clock::now();
      FLOE_TRY(row.decode_ledger, batch.decode(row.n_decode));
      row.samples_decode_ns.push_back(ns_since(decode_start));
      row.samples_read.push_back((read_before + probe.bytes_per_second()) / 2);
      progress.advance(1);
    }
  }
  return report;
}

std::string format_batched_bench(const BatchedBenchReport& report, const Subject& subject,
                                 const std::string& format) {
  if (format == "md") {
    std::string text =
        "|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s | "
        "   S t/s |  union |   GB/s | % floor |\n"
        "|------:|-------:|-----:|-------:|---------:|---------:|---------:|---------:|---------:|-"
        "--------:|-------:|-------:|--------:|\n";
    for (const BatchedBenchRow& row : report.rows) {
      text += fmt::format(
          "|{:6} | {:6} | {:4} | {:6} | {:8.3f} | {:8.2f} | {:8.3f} | {:8.2f} | {:8.3f} | {:8.2f} "
          "| {:6.1f} | {:6.2f} | {:7.1f} |\n",
          row.n_prompt, row.n_decode, row.n_sequences, row.n_kv(), row.prefill_seconds(),
          row.prefill_ts(), row.decode_seconds(), row.decode_ts(),
          row.prefill_seconds() + row.decode_seconds(), row.total_ts(),
          row.decode_ledger.mean_union(), row.gb_s(), row.pct_floor());
    }
    return text;
  }
  // Microseconds, as llama.cpp prints them.
  const auto in_seconds = [](double seconds) { return std::round(seconds * 1e6) / 1e6; };
  const Json head = receipt_head(subject);
  std::vector<Json> rows;
  for (const BatchedBenchRow& row : report.rows) {
    Json json = head;
    json["is_pp_shared"] = row.shared_prompt ? 1 : 0;
    json["pp"] = row.n_prompt;
    json["tg"] = row.n_decode;
    json["pl"] = row.n_sequences;
    json["n_kv"] = row.n_kv();
    json["t_pp"] = in_seconds(row.prefill_seconds());
    json["speed_pp"] = rounded(row.prefill_ts());
    json["t_tg"] = in_seconds(row.decode_seconds());
    json["speed_tg"] = rounded(row.decode_ts());
    json["t"] = in_seconds(row.prefill_seconds() + row.decode_seconds());
    json["speed"] = rounded(row.total_ts());
    json["union"] = rounded(row.decode_ledger.mean_union());
    json["gb_s"] = rounded(row.gb_s());
    json["pct_floor"] = rounded(row.pct_floor());
    json["read_gb_s"] = rounded(median_of(row.samples_read) / 1e9);
    json["bytes"] = row.decode_ledger.total_bytes();
    rows.push_back(std::move(json));
  }
  return print_rows(rows, format);
}

}  // namespace floe

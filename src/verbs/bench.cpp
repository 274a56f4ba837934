#include "lab/bench.h"

#include <cstdio>
#include <filesystem>

#include "base/json.h"
#include "verbs/model_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

namespace {
// "0" leaves a kind of test out, as in llama-bench.
std::vector<uint32_t> positive(const std::vector<int64_t>& list) {
  std::vector<uint32_t> kept;
  for (const int64_t n : list) {
    if (n > 0) kept.push_back(static_cast<uint32_t>(n));
  }
  return kept;
}
}  // namespace

Result<int> run_bench_verb(std::span<const std::string> arguments) {
  ModelFlags flags;
  std::vector<int64_t> prefill = {512};
  std::vector<int64_t> decode = {128};
  std::vector<int64_t> verify = {0};
  std::vector<int64_t> depths = {0};
  int64_t n_repetitions = 5;
  int64_t chunk_rows = 512;
  std::string output = "md";
  std::string compare;
  OptionTable table(
      "bench", "-m FILE [options]",
      "Times the forward alone, tests interleaved, and compares it with the machine's floor.");
  flags.add_to(table);
  table.add("-p,--n-prompt", "LIST", &prefill, 0, 1 << 20, "prefill of N tokens (ppN); 0: none");
  table.add("-n,--n-gen", "LIST", &decode, 0, 1 << 20,
            "decode of N tokens, one by one (tgN); 0: none");
  table.add("-v,--n-verify", "LIST", &verify, 0, 1024,
            "forward of N rows of one sequence with all logits (vN); 0: none");
  table.add("-d,--n-depth", "LIST", &depths, 0, 1 << 24, "tokens already cached before a test");
  table.add("-r,--repetitions", "N", &n_repetitions, 1, 1000,
            "counted rounds, after one that warms up");
  table.add("-ub,--ubatch-size", "N", &chunk_rows, 1, 8192, "rows of one prefill forward");
  table.add_choice("-o,--output", {"md", "json", "jsonl", "csv"}, &output, "output format");
  table.add("--compare", "FILE", &compare,
            "earlier output of this verb (json, jsonl or csv); ratios to it follow, on stderr "
            "unless -o md");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  BenchOptions options;
  options.prefill_tokens = positive(prefill);
  options.decode_tokens = positive(decode);
  options.verify_rows = positive(verify);
  if (options.prefill_tokens.empty() && options.decode_tokens.empty() &&
      options.verify_rows.empty()) {
    return usage_error("-p, -n and -v are all 0: nothing to measure");
  }
  for (const int64_t depth : depths) options.depths.push_back(static_cast<uint32_t>(depth));
  options.n_repetitions = static_cast<uint32_t>(n_repetitions);
  options.max_chunk_rows = static_cast<uint32_t>(chunk_rows);
  options.kv_types = flags.kv_types();
  options.show_progress = flags.progress;
  std::vector<Json> earlier;
  if (!compare.empty()) {
    FLOE_TRY(const std::string text, read_text_file(compare));
    FLOE_TRY(earlier, parse_receipt(text, compare));
  }

  Workload workload;
  workload.memory.context = bench_limits(options).max_context;
  workload.memory.context_option = nullptr;
  workload.memory.sequences_option = nullptr;
  workload.limits = [&](uint32_t) { return bench_limits(options); };
  FLOE_TRY(LoadedModel loaded, load(flags, workload));
  FLOE_TRY(const BenchReport report, run_bench(*loaded.model, *loaded.pool, options));
  const Subject subject{loaded.model->info(), std::filesystem::path(flags.model_path).filename(),
                        options.kv_types, options.max_chunk_rows, report.n_threads};
  fmt::print("{}", format_bench(report, subject, output));
  if (!earlier.empty()) {
    fmt::print(output == "md" ? stdout : stderr, "\n{}",
               compare_receipts(bench_rows(report, subject), earlier));
  }
  return 0;
}

}  // namespace floe

#include "lab/batched_bench.h"

#include <cstdio>
#include <filesystem>

#include "store/gguf.h"
#include "text/tokenizer.h"
#include "verbs/model_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

std::vector<uint32_t> counts(const std::vector<int64_t>& list) {
  return {list.begin(), list.end()};
}

// One prompt per line; lines without a token are left out.
Result<std::vector<std::vector<int32_t>>> read_prompts(const std::string& path,
                                                       const std::string& model_path) {
  FLOE_TRY(const std::string text, read_text_file(path));
  FLOE_TRY(const GgufFile gguf, open_model_file(model_path));
  FLOE_TRY(const auto tokenizer, Tokenizer::load(gguf));
  std::vector<std::vector<int32_t>> prompts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    prompts.push_back(tokenizer->encode(line, true, false));
  }
  if (prompts.empty())
    return usage_error("--prompts: {}: expected one prompt per line, found none", path);
  return prompts;
}

}  // namespace

Result<int> run_batched_bench_verb(std::span<const std::string> arguments) {
  ModelFlags flags;
  std::vector<int64_t> n_prompt = {512};
  std::vector<int64_t> n_decode = {128};
  std::vector<int64_t> n_sequences = {1, 2, 4, 8, 16};
  int64_t n_repetitions = 1;
  int64_t chunk_rows = 512;
  std::string prompt_file;
  bool same = false;
  bool shared_prompt = false;
  std::string output = "md";
  OptionTable table(
      "batched-bench", "-m FILE [options]",
      "Times the prefill of B prompts and decode steps of B rows, each sequence going on with its "
      "likeliest token.");
  flags.add_to(table);
  table.add("-npp", "LIST", &n_prompt, 1, 1 << 20, "tokens of a prompt");
  table.add("-ntg", "LIST", &n_decode, 1, 1 << 20, "decode steps");
  table.add("-npl", "LIST", &n_sequences, 1, 1024, "sequences at once (B)");
  table.add("--prompts", "FILE", &prompt_file,
            "one prompt per line instead of random tokens; sequence i takes line i, going round "
            "when lines run "
            "out; shorter than -npp: goes on with the lines after it");
  table.add("--same", &same, "all sequences hold the prompt of the first");
  table.add(
      "-pps,--prompt-shared", &shared_prompt,
      "one prompt is prefilled for all; sequence i goes on with the i-th likeliest token after it");
  table.add("-r,--repetitions", "N", &n_repetitions, 1, 1000,
            "rounds over all combinations; medians are printed");
  table.add("-ub,--ubatch-size", "N", &chunk_rows, 1, 8192, "rows of one prefill forward");
  table.add_choice("-o,--output", {"md", "json", "jsonl", "csv"}, &output, "output format");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (same && shared_prompt) return usage_error("--same and -pps: expected one of them");
  BatchedBenchOptions options;
  options.prompt_tokens = counts(n_prompt);
  options.decode_tokens = counts(n_decode);
  options.batch_sizes = counts(n_sequences);
  options.same = same;
  options.shared_prompt = shared_prompt;
  options.n_repetitions = static_cast<uint32_t>(n_repetitions);
  options.max_chunk_rows = static_cast<uint32_t>(chunk_rows);
  options.kv_types = flags.kv_types();
  options.show_progress = flags.progress;
  if (!prompt_file.empty()) {
    if (flags.model_path.empty()) return usage_error("-m: expected a model file");
    FLOE_TRY(options.prompts, read_prompts(prompt_file, flags.model_path));
    const int64_t most = *std::max_element(n_sequences.begin(), n_sequences.end());
    if (!same && !shared_prompt && static_cast<size_t>(most) > options.prompts.size()) {
      fmt::print(stderr,
                 "floe: --prompts: {} prompts for {} sequences: some are alike, and so are their "
                 "experts\n",
                 options.prompts.size(), most);
    }
  }

  const ForwardLimits limits = batched_bench_limits(options);
  Workload workload;
  workload.memory.context = limits.max_context;
  workload.memory.n_sequences = limits.max_logit_rows;
  workload.memory.context_option = nullptr;
  workload.memory.sequences_option = "-npl";
  workload.limits = [&](uint32_t) { return limits; };
  FLOE_TRY(LoadedModel loaded, load(flags, workload));
  FLOE_TRY(const BatchedBenchReport report,
           run_batched_bench(*loaded.model, *loaded.pool, options));
  const Subject subject{loaded.model->info(), std::filesystem::path(flags.model_path).filename(),
                        options.kv_types, options.max_chunk_rows, report.n_threads};
  fmt::print("{}", format_batched_bench(report, subject, output));
  return 0;
}

}  // namespace floe

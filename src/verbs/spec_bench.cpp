#include "lab/spec_bench.h"

#include <algorithm>
#include <filesystem>

#include "engine/forward_limits.h"
#include "store/gguf.h"
#include "verbs/model_flags.h"
#include "verbs/spec_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

// The arms of the list, off in front. One that comes twice is measured twice.
Result<std::vector<SpecPolicy>> parse_arms(const std::string& list) {
  std::vector<SpecPolicy> arms;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const auto policy = parse_spec_policy(list.substr(begin, end - begin));
    begin = end + 1;
    if (!policy.ok()) return usage_error("--arms: {}", policy.error().message);
    arms.push_back(*policy);
  }
  if (arms.front().mode != SpecMode::off) {
    arms.insert(arms.begin(), SpecPolicy{.mode = SpecMode::off});
  }
  return arms;
}

// A class for the file, or for every .jsonl file of the folder.
Result<std::vector<SpecClass>> read_classes(const std::string& path, const Tokenizer& tokenizer,
                                            const Result<ChatTemplate>& chat) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (fs::directory_iterator entry(path, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
      if (entry->path().extension() == ".jsonl") files.push_back(entry->path());
    }
    if (error)
      return make_error(ErrorKind::runtime, "{}: cannot be listed: {}", path, error.message());
    std::sort(files.begin(), files.end());
    if (files.empty()) return usage_error("--prompts: {}: expected .jsonl files, found none", path);
  } else {
    files.push_back(path);
  }
  std::vector<SpecClass> classes;
  for (const fs::path& file : files) {
    FLOE_TRY(const std::string text, read_text_file(file.string()));
    FLOE_TRY(SpecClass prompts,
             parse_spec_prompts(text, file.stem().string(), file.string(), tokenizer, chat));
    classes.push_back(std::move(prompts));
  }
  return classes;
}

}  // namespace

Result<int> run_spec_bench_verb(std::span<const std::string> arguments) {
  ModelFlags flags;
  SpecFlags spec;
  std::string prompts;
  std::string arms = "off,on:2,on:4,on:8,auto";
  std::vector<int64_t> n_sequences = {1};
  int64_t n_predict = 400;
  int64_t n_rounds = 3;
  int64_t chunk_rows = 512;
  std::string output = "md";
  OptionTable table(
      "spec-bench", "-m FILE --prompts DIR|FILE [options]",
      "Decodes the same prompts with and without guesses, in turn, and compares speed "
      "and every token. Exit code 5: an arm's tokens differ.");
  flags.add_to(table);
  spec.add_drafters_to(table);
  table.add(
      "--prompts", "PATH", &prompts,
      "file of prompts (JSON lines, see bench/prompts), or a folder of them, a class to a file");
  table.add("--arms", "LIST", &arms,
            "modes to compare: off, on:K, auto, report; off comes first, given or not; "
            "off,off shows how far equal arms differ");
  table.add("-np,--parallel", "LIST", &n_sequences, 1, 256,
            "sequences at once; a class's prompts follow each other so that the batch stays full");
  table.add("-n,--predict", "N", &n_predict, 2, 1 << 20, "most tokens to generate for a prompt");
  table.add("-r,--repetitions", "N", &n_rounds, 1, 1000, "counted rounds over all arms");
  table.add("-ub,--ubatch-size", "N", &chunk_rows, 1, 8192, "rows of one prefill forward");
  table.add_choice("-o,--output", {"md", "json", "jsonl", "csv"}, &output, "output format");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (flags.model_path.empty()) return usage_error("-m: expected a model file");
  if (prompts.empty()) return usage_error("--prompts: expected a file or a folder");

  SpecBenchOptions options;
  FLOE_TRY(options.arms, parse_arms(arms));
  {
    FLOE_TRY(const GgufFile gguf, open_model_file(flags.model_path));
    FLOE_TRY(const auto tokenizer, Tokenizer::load(gguf));
    FLOE_TRY(options.classes,
             read_classes(prompts, *tokenizer, ChatTemplate::load({}, *tokenizer, &gguf)));
    options.stop_tokens = tokenizer->end_of_generation_ids();
  }
  options.batch_sizes.assign(n_sequences.begin(), n_sequences.end());
  options.n_rounds = static_cast<uint32_t>(n_rounds);
  options.max_tokens = static_cast<uint32_t>(n_predict);
  options.max_chunk_rows = static_cast<uint32_t>(chunk_rows);
  options.kv_types = flags.kv_types();
  options.show_progress = flags.progress;

  // What the largest class takes, with the caches of all arms.
  EngineOptions engine;
  engine.max_step_rows = options.max_chunk_rows;
  engine.max_sequences = *std::max_element(options.batch_sizes.begin(), options.batch_sizes.end());
  Workload workload;
  for (const SpecClass& one : options.classes) {
    workload.memory.context = std::max(workload.memory.context, spec_bench_context(options, one));
  }
  workload.memory.n_sequences = engine.max_sequences;
  workload.memory.n_kv_tokens =
      uint64_t{workload.memory.context} * engine.max_sequences * options.arms.size();
  workload.memory.context_option = nullptr;
  workload.limits = [&](uint32_t context) { return forward_limits(engine, context, true); };
  FLOE_TRY(LoadedModel loaded, load(flags, spec, workload));
  FLOE_TRY(const Speculating speculating, prepare(spec, flags, loaded));
  options.drafters = speculating.drafters;
  options.rates = speculating.rates;
  if (speculating.eagle3 != nullptr) options.tap_layers = speculating.eagle3->tap_layers();
  FLOE_TRY(const SpecBenchReport report, run_spec_bench(*loaded.model, *loaded.pool, options));
  const Subject subject{loaded.model->info(), std::filesystem::path(flags.model_path).filename(),
                        options.kv_types, options.max_chunk_rows, report.n_threads};
  fmt::print("{}", format_spec_bench(report, subject, output));
  return 0;
}

}  // namespace floe

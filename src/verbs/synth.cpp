#include "tools/synth.h"

#include <fmt/format.h>

#include "base/stop_signal.h"
#include "tools/synth_words.h"
#include "verbs/model_flags.h"
#include "verbs/verbs.h"

namespace floe {

Result<int> run_synth(std::span<const std::string> arguments) {
  SynthOptions options;
  int64_t n_layers = 0;
  int64_t n_dense = 0;
  int64_t n_experts = 0;
  int64_t n_vocab = 0;
  int64_t seed = 1;
  std::string type = "Q4_0";
  OptionTable table("synth", "--like SHAPE -o FILE [options]",
                    "Writes a model of random weights: for speed runs, not for text.");
  table.add_choice("--like", synth_shapes(), &options.like, "shape to reproduce");
  table.add("--layers", "N", &n_layers, 1, 512, "layers; the shape's when not given");
  table.add("--dense", "N", &n_dense, 0, 512,
            "leading dense layers of shapes that have them; the shape's, or at most 1 when "
            "--layers is given");
  table.add("--experts", "N", &n_experts, 1, 1024,
            "routed experts per layer; the shape's when not given");
  table.add("--vocab", "N", &n_vocab, 16, 1 << 20, "vocabulary; the shape's when not given");
  table.add("--words", "FILE", &options.words_path,
            "model whose words the vocabulary begins with, numbered ones follow; default: "
            "models/floe-nano.gguf; none: token ids alone");
  table.add_choice("--type", synth_types(), &type,
                   "weight format of the matrices; where rows are no multiple of 256, Q4_K becomes "
                   "Q5_0, Q5_K Q5_1 "
                   "and Q6_K Q8_0, and F16 stands where they are none of 32");
  table.add("-s,--seed", "N", &seed, 0, INT64_MAX, "seed of the weights");
  table.add("-o,--output", "FILE", &options.output_path, "file to write");
  table.add("--progress", &options.show_progress, "show progress on stderr");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (options.like.empty())
    return usage_error("--like: expected one of {}", fmt::join(synth_shapes(), ", "));
  if (options.output_path.empty()) return usage_error("-o: expected a file to write");
  if (options.words_path == "none") {
    options.words_path.clear();
  } else if (options.words_path.empty()) {
    const std::optional<std::string> bundled = bundled_model_path();
    // A small vocabulary is asked for where nobody means to send text.
    if (bundled && !table.given("--vocab")) options.words_path = *bundled;
    if (!bundled)
      fmt::print(stderr, "floe: no words: models/floe-nano.gguf was not found (--words FILE)\n");
  }
  if (table.given("--layers")) options.n_layers = static_cast<uint32_t>(n_layers);
  if (table.given("--dense")) options.n_dense = static_cast<uint32_t>(n_dense);
  if (table.given("--experts")) options.n_experts = static_cast<uint32_t>(n_experts);
  if (table.given("--vocab")) options.n_vocab = static_cast<uint32_t>(n_vocab);
  options.type = *parse_format(type);
  options.seed = static_cast<uint64_t>(seed);
  stop_on_signals();
  FLOE_TRY(const SynthResult result, synthesize(options));
  fmt::print("{}: {:.2f} B parameters, {:.2f} GB in {:.1f} s\n", options.output_path,
             static_cast<double>(result.n_params) / 1e9,
             static_cast<double>(result.file_bytes) / 1e9, result.seconds);
  return 0;
}

}  // namespace floe

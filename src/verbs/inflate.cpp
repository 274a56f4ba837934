#include "tools/inflate.h"

#include "base/stop_signal.h"
#include "verbs/model_flags.h"
#include "verbs/verbs.h"

namespace floe {

Result<int> run_inflate(std::span<const std::string> arguments) {
  InflateOptions options;
  int64_t times = 2;
  OptionTable table(
      "inflate", "-m FILE --times K -o FILE [options]",
      "Writes a larger model with the same outputs: hidden, low-rank and FFN widths padded K times "
      "with zeros. Bytes read per token grow about K^2.");
  table.add("-m,--model", "FILE", &options.model_path,
            "GGUF model, any shard of a split set; or the folder of an EAGLE-3 head, for the model "
            "inflated by the same factor (models without norms per head)");
  table.add("--times", "K", &times, 2, kMaxInflation,
            "factor of every width; with 4, 16 and 64 all logits keep their bits in models without "
            "norms per head");
  table.add("-o,--output", "FILE", &options.output_path, "file to write; of a head, the folder");
  table.add("--progress", &options.show_progress, "show progress on stderr");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (options.model_path.empty()) return usage_error("-m: expected a model file");
  if (options.output_path.empty()) return usage_error("-o: expected a file to write");
  options.times = static_cast<uint32_t>(times);
  stop_on_signals();
  FLOE_TRY(const InflateResult result, inflate(options));
  fmt::print("{}: {:.2f} GB, {:.1f} times {:.2f} GB, in {:.1f} s\n", options.output_path,
             static_cast<double>(result.output_bytes) / 1e9,
             static_cast<double>(result.output_bytes) / static_cast<double>(result.input_bytes),
             static_cast<double>(result.input_bytes) / 1e9, result.seconds);
  return 0;
}

}  // namespace floe

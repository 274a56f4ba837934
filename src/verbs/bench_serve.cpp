#include <cstdlib>

#include "lab/serve_bench.h"
#include "verbs/model_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

// Different kinds of text, so that requests choose different experts; used without --prompts.
constexpr const char* kPrompts[] = {
    "Explain how a bill becomes a law.",
    "Write a function in Python that merges two sorted lists.",
    "Translate to French: The train leaves at seven in the morning.",
    "List five things to check before a long bicycle tour.",
    "A shop sells pens at 3 for 2 euros. What do 12 pens cost? Show the steps.",
    "Tell a short story about a lighthouse keeper who collects clocks.",
    "What is the difference between TCP and UDP?",
    "Summarise the causes of the First World War in three sentences.",
};

// A prompt on each line; lines of blanks are left out.
Result<std::vector<std::string>> read_lines(const std::string& path) {
  FLOE_TRY(const std::string text, read_text_file(path));
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") != line.npos) lines.push_back(std::move(line));
  }
  if (lines.empty())
    return usage_error("--prompts: {}: expected one prompt per line, found none", path);
  return lines;
}

}  // namespace

Result<int> run_bench_serve(std::span<const std::string> arguments) {
  ServeBenchOptions options;
  std::string url = "http://127.0.0.1:8080";
  std::string prompt_file;
  std::vector<int64_t> n_at_once = {1, 2, 4, 8, 16};
  int64_t n_requests = options.n_requests;
  int64_t max_tokens = options.max_tokens;
  bool completions = false;
  std::string output = "md";
  OptionTable table("bench-serve", "--url URL [options]",
                    "Times streamed requests to a server of the OpenAI API, at different numbers "
                    "of requests at once.");
  table.add("--url", "URL", &url, "the server: http://HOST[:PORT]");
  table.add("--api-key", "KEY", &options.api_key, "sent as a bearer token");
  table.add("--model", "NAME", &options.model, "default: the first that the server names");
  table.add("--prompts", "FILE", &prompt_file,
            "one prompt per line, taken in order; default: eight of different kinds");
  table.add("-c,--concurrency", "LIST", &n_at_once, 1, 1024, "requests at once; a row each");
  table.add("-n,--requests", "N", &n_requests, 1, 100'000,
            "requests of each row, at least as many as run at once");
  table.add("--max-tokens", "N", &max_tokens, 1, 1 << 20, "tokens of each answer");
  table.add("--completions", &completions, "ask /v1/completions instead of chat");
  table.add("--ignore-eos", &options.ignore_eos,
            "ask for answers of full length; servers that do not know the field may refuse it");
  table.add("--same-prompt", &options.same_prompt,
            "all requests have the first prompt; else a number in front of each makes it its own");
  table.add("--timeout", "SECONDS", &options.timeout_seconds, 0.1, 86400.0,
            "longest silence within an answer");
  table.add("--progress", &options.show_progress, "show progress on stderr");
  table.add_choice("-o,--output", {"md", "json"}, &output, "output format");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  FLOE_TRY(options.url, ServerUrl::parse(url));
  if (options.api_key.find_first_of("\r\n") != std::string::npos) {
    return usage_error("--api-key: expected one line");
  }
  if (prompt_file.empty()) {
    options.prompts.assign(std::begin(kPrompts), std::end(kPrompts));
  } else {
    FLOE_TRY(options.prompts, read_lines(prompt_file));
  }
  options.n_at_once.assign(n_at_once.begin(), n_at_once.end());
  options.n_requests = static_cast<uint32_t>(n_requests);
  options.max_tokens = static_cast<uint32_t>(max_tokens);
  options.chat = !completions;
  FLOE_TRY(const ServeBenchReport report, run_serve_bench(options));
  fmt::print("{}", format_serve_bench(report, output));
  bool all_failed = true;
  for (const ServeBenchRow& row : report.rows) {
    all_failed = all_failed && row.n_failed() == row.requests.size();
  }
  return all_failed ? 1 : 0;
}

}  // namespace floe

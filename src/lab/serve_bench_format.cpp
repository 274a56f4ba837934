#include <algorithm>
#include <map>

#include "base/json.h"
#include "lab/receipt.h"
#include "lab/serve_bench.h"

namespace floe {

namespace {

constexpr std::pair<const char*, double> kFractions[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1.0}};

Json json_of(const ServeBenchReport& report) {
  Json rows = Json::array();
  for (const ServeBenchRow& row : report.rows) {
    Json json;
    json["at_once"] = row.n_at_once;
    json["requests"] = row.requests.size();
    json["failed"] = row.n_failed();
    json["seconds"] = row.seconds;
    json["tokens"] = row.n_tokens();
    json["prompt_tokens"] = row.n_prompt_tokens();
    json["cached_tokens"] = row.n_cached_tokens();
    json["tokens_per_second"] = row.tokens_per_second();
    for (const auto& [name, fraction] : kFractions) {
      json["first_token_ms"][name] = row.first_seconds(fraction) * 1e3;
      json["gap_ms"][name] = row.gap_seconds(fraction) * 1e3;
    }
    Json samples = Json::array();
    for (const ServedRequest& one : row.requests) {
      Json sample{{"tokens", one.n_tokens},
                  {"first_token_ms", one.first_seconds * 1e3},
                  {"total_ms", one.total_seconds * 1e3}};
      if (!one.error.empty()) sample["error"] = one.error;
      samples.push_back(std::move(sample));
    }
    json["samples"] = std::move(samples);
    rows.push_back(std::move(json));
  }
  return Json{{"url", report.url},
              {"model", report.model},
              {"max_tokens", report.max_tokens},
              {"same_prompt", report.same_prompt},
              {"rows", std::move(rows)}};
}

}  // namespace

std::string format_serve_bench(const ServeBenchReport& report, std::string_view format) {
  if (format == "json") return dump_json(json_of(report)) + "\n";
  std::string text =
      "| at once | requests | failed | tokens |  tok/s |     x | first token ms p50 |    p99 | gap "
      "ms p50 |    p99 |\n"
      "|--------:|---------:|-------:|-------:|-------:|------:|-------------------:|-------:|-----"
      "-----:|-------:|\n";
  const double alone = report.rows.empty() ? 0 : report.rows.front().tokens_per_second();
  std::map<std::string, uint32_t> failures;
  for (const ServeBenchRow& row : report.rows) {
    text += fmt::format(
        "| {:7} | {:8} | {:6} | {:6} | {:6.1f} | {:5.2f} | {:18.0f} | {:6.0f} | {:10.1f} | {:6.1f} "
        "|\n",
        row.n_at_once, row.requests.size(), row.n_failed(), row.n_tokens(), row.tokens_per_second(),
        alone > 0 ? row.tokens_per_second() / alone : 0.0, row.first_seconds(0.5) * 1e3,
        row.first_seconds(0.99) * 1e3, row.gap_seconds(0.5) * 1e3, row.gap_seconds(0.99) * 1e3);
    for (const ServedRequest& one : row.requests) {
      if (!one.error.empty()) ++failures[one.error];
    }
  }
  text += report.same_prompt ? "\nAll requests had the same prompt.\n" : "";
  for (const auto& [what, n] : failures) text += fmt::format("\n{} failed: {}\n", n, what);
  return text;
}

}  // namespace floe

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "lab/spec_bench.h"

namespace floe {

namespace {

// What a row shows, in the units it is shown in.
struct Figures {
  double tokens_per_forward = 0;  // of a sequence
  double acceptance = 0;
  double mean_rows = 0;
  double mean_union = 0;
  double forward_ms = 0;
  std::optional<double> predicted_ms, measured_ms;  // of the steps that have a prediction
  double draft_share = 0;                           // of the time of drafts and forwards

  explicit Figures(const SpecBenchRow& row) {
    const SpecRun sum = row.total();
    uint64_t n_tokens = 0;
    for (const SpecRun& run : row.runs) n_tokens += run.n_tokens();
    const double n_sequence_steps =
        static_cast<double>(std::max<uint64_t>(sum.n_sequence_steps, 1));
    const double n_steps = n_sequence_steps / row.n_sequences;
    tokens_per_forward = static_cast<double>(n_tokens) / n_sequence_steps;
    acceptance = sum.n_drafted == 0
                     ? 0
                     : static_cast<double>(sum.n_accepted) / static_cast<double>(sum.n_drafted);
    mean_rows = static_cast<double>(sum.n_rows) / n_steps;
    mean_union = sum.sum_union / n_steps;
    forward_ms = sum.forward_seconds / n_steps * 1e3;
    if (sum.n_predicted != 0) {
      const double n = static_cast<double>(sum.n_predicted);
      predicted_ms = sum.predicted_seconds / n * 1e3;
      measured_ms = sum.measured_seconds / n * 1e3;
    }
    const double all = sum.draft_seconds + sum.forward_seconds;
    draft_share = all > 0 ? sum.draft_seconds / all : 0;
  }
};

// Of the guesses that stood i-th in their draft, the share that was right, i from 1. A guess behind
// a wrong one is wrong.
std::vector<double> by_position(const SpecRun& sum) {
  std::vector<double> shares;
  for (uint32_t i = 0; i < kSpecPositions && sum.drafted_by_position[i] != 0; ++i) {
    shares.push_back(static_cast<double>(sum.accepted_by_position[i]) /
                     static_cast<double>(sum.drafted_by_position[i]));
  }
  return shares;
}

Json optional_number(const std::optional<double>& value) {
  return value ? Json(rounded(*value)) : Json();
}
std::string cell(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", *value) : "";
}
// Ratios deserve a third digit: a loss of 2 % is 0.98.
double rounded_ratio(double value) {
  return std::round(value * 1000) / 1000;
}

std::string markdown(const SpecBenchReport& report) {
  std::string text =
      "| class | np | arm | t/s | ratio | min .. max | t/forward | drafted | accepted "
      "| accepted by position | rows | union | ms | predicted ms | draft ms % | worst 500 "
      "| prompt s |\n"
      "|---|---:|---|---:|---:|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const SpecBenchRow& row : report.rows) {
    const SpecRun sum = row.total();
    const Figures figures(row);
    std::vector<std::string> shares;
    for (const double share : by_position(sum)) shares.push_back(fmt::format("{:.2f}", share));
    const auto [least, most] = std::minmax_element(row.ratios.begin(), row.ratios.end());
    const std::string predicted =
        figures.predicted_ms
            ? fmt::format("{:.2f} of {:.2f}", *figures.predicted_ms, *figures.measured_ms)
            : "";
    text += fmt::format(
        "| {} | {} | {} | {:.2f} | {:.3f} | {:.3f} .. {:.3f} | {:.2f} | {} | {} | {} | {:.2f} | "
        "{:.1f} | {:.2f} | {} | {:.1f} | {} | {:.2f} |\n",
        row.class_name, row.n_sequences, row.arm, row.tokens_per_second(), row.ratio(), *least,
        *most, figures.tokens_per_forward, sum.n_drafted, sum.n_accepted, fmt::join(shares, " "),
        figures.mean_rows, figures.mean_union, figures.forward_ms, predicted,
        100 * figures.draft_share, cell(row.worst_window), row.prompt_seconds());
  }
  return text;
}

Json row_json(const SpecBenchRow& row, const Json& head) {
  const SpecRun sum = row.total();
  const Figures figures(row);
  Json json = head;
  json["class"] = row.class_name;
  json["np"] = row.n_sequences;
  json["arm"] = row.arm;
  json["n_rounds"] = row.runs.size();
  json["tokens_per_second"] = rounded(row.tokens_per_second());
  json["ratio"] = rounded_ratio(row.ratio());
  json["ratios"] = Json::array();
  for (const double ratio : row.ratios) json["ratios"].push_back(rounded_ratio(ratio));
  json["samples_ts"] = Json::array();
  for (const SpecRun& run : row.runs) {
    json["samples_ts"].push_back(rounded(run.tokens_per_second()));
  }
  uint64_t n_tokens = 0;
  for (const SpecRun& run : row.runs) n_tokens += run.n_tokens();
  json["n_tokens"] = n_tokens;
  json["tokens_per_forward"] = rounded(figures.tokens_per_forward);
  json["drafted"] = sum.n_drafted;
  json["accepted"] = sum.n_accepted;
  json["acceptance"] = rounded_ratio(figures.acceptance);
  json["accepted_by_position"] = Json::array();
  for (const double share : by_position(sum)) {
    json["accepted_by_position"].push_back(rounded_ratio(share));
  }
  json["mean_rows"] = rounded(figures.mean_rows);
  json["mean_union"] = rounded(figures.mean_union);
  json["forward_ms"] = rounded_ratio(figures.forward_ms);
  json["predicted_ms"] = optional_number(figures.predicted_ms);
  json["predicted_measured_ms"] = optional_number(figures.measured_ms);
  json["draft_share"] = rounded_ratio(figures.draft_share);
  json["prompt_seconds"] = rounded_ratio(row.prompt_seconds());
  json["worst_window_ratio"] = row.worst_window ? Json(rounded_ratio(*row.worst_window)) : Json();
  return json;
}

}  // namespace

std::string format_spec_bench(const SpecBenchReport& report, const Subject& subject,
                              const std::string& format) {
  if (format == "md") return markdown(report);
  const Json head = receipt_head(subject);
  std::vector<Json> rows;
  for (const SpecBenchRow& row : report.rows) rows.push_back(row_json(row, head));
  return print_rows(rows, format);
}

}  // namespace floe

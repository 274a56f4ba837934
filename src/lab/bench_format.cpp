#include <algorithm>

#include "base/json.h"
#include "kernels/kernel_table.h"
#include "lab/bench.h"

namespace floe {

namespace {

Json optional_number(const std::optional<double>& value) {
  return value ? Json(rounded(*value)) : Json();
}

std::string optional_cell(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", *value) : "";
}

Json row_json(const BenchReport& report, const BenchRow& row, const Json& head) {
  const auto n_if = [&](BenchKind kind) { return row.test.kind == kind ? row.test.n_tokens : 0; };
  Json json = head;
  json["n_prompt"] = n_if(BenchKind::prefill);
  json["n_gen"] = n_if(BenchKind::decode);
  json["n_depth"] = row.test.depth;
  json["avg_ns"] = static_cast<int64_t>(row.mean_ns);
  json["stddev_ns"] = static_cast<int64_t>(row.deviation_ns);
  json["avg_ts"] = rounded(row.mean_ts);
  json["stddev_ts"] = rounded(row.deviation_ts);
  json["samples_ns"] = Json::array();
  json["samples_ts"] = Json::array();
  json["samples_read_gb_s"] = Json::array();
  for (const double ns : row.samples_ns) json["samples_ns"].push_back(static_cast<int64_t>(ns));
  for (const double ts : row.samples_ts) json["samples_ts"].push_back(rounded(ts));
  for (const double read : row.samples_read) {
    json["samples_read_gb_s"].push_back(rounded(read / 1e9));
  }
  json["test"] = row.test.name();
  json["n_verify"] = n_if(BenchKind::verify);
  json["median_ts"] = rounded(row.median_ts);
  json["gb_s"] = rounded(row.gb_s);
  json["floor_ts"] = rounded(row.floor_ts);
  json["pct_floor"] = rounded(row.pct_floor);
  json["experts_union"] = rounded(row.ledger.mean_union());
  json["bytes"] = row.ledger.total_bytes();
  json["gmac_s"] = rounded(row.gmac_s);
  json["r"] = optional_number(row.ratio);
  json["r_model"] = optional_number(row.model_ratio);
  json["read_gb_s"] = rounded(row.read_bytes_per_second / 1e9);
  json["read_spread"] = rounded(spread_of(row.samples_read));
  json["int8_gmac_s"] = rounded(report.peaks.int8_macs_per_second / 1e9);
  return json;
}

std::string markdown(const BenchReport& report, const Subject& subject) {
  std::vector<double> reads;
  for (const BenchRow& row : report.rows) {
    reads.insert(reads.end(), row.samples_read.begin(), row.samples_read.end());
  }
  const auto [least, most] = std::minmax_element(reads.begin(), reads.end());
  std::string text = fmt::format(
      "{}: read bandwidth {:.2f} GB/s beside the tests ({:.2f} to {:.2f}, spread {:.0f} %), "
      "int8 peak {:.0f} GMAC/s, {} thread(s)\n\n",
      subject.model.device.empty() ? receipt_head(subject)["cpu_info"].get<std::string>()
                                   : subject.model.device,
      median_of(reads) / 1e9, *least / 1e9, *most / 1e9, spread_of(reads) * 100,
      report.peaks.int8_macs_per_second / 1e9, report.n_threads);
  text +=
      "| model | size | params | backend | threads | test | t/s | GB/s | floor t/s | % floor | "
      "union | GMAC/s | r | r model | r / model |\n";
  text += "|---|---:|---:|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
  const ModelInfo& model = subject.model;
  for (const BenchRow& row : report.rows) {
    std::optional<double> quotient;
    if (row.ratio && row.model_ratio) quotient = *row.ratio / *row.model_ratio;
    text += fmt::format(
        "| {} {} | {:.2f} GB | {:.2f} B | {} | {} | {} | {:.2f} ± {:.2f} | {:.2f} | {:.2f} | "
        "{:.1f} | {:.1f} | {:.1f} | {} | {} | {} |\n",
        model.architecture, model.format, static_cast<double>(model.file_bytes) / 1e9,
        static_cast<double>(model.n_params) / 1e9,
        model.device.empty() ? std::string(kernels().isa)
                             : model.device.substr(0, model.device.find(' ')),
        report.n_threads, row.test.name(), row.median_ts, row.deviation_ts, row.gb_s, row.floor_ts,
        row.pct_floor, row.ledger.mean_union(), row.gmac_s, optional_cell(row.ratio),
        optional_cell(row.model_ratio), optional_cell(quotient));
  }
  return text;
}

}  // namespace

std::vector<Json> bench_rows(const BenchReport& report, const Subject& subject) {
  const Json head = receipt_head(subject);
  std::vector<Json> rows;
  for (const BenchRow& row : report.rows) rows.push_back(row_json(report, row, head));
  return rows;
}

std::string format_bench(const BenchReport& report, const Subject& subject,
                         const std::string& format) {
  if (format == "md") return markdown(report, subject);
  return print_rows(bench_rows(report, subject), format);
}

}  // namespace floe

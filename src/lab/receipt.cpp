#include "lab/receipt.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/json.h"
#include "base/options.h"
#include "base/version.h"
#include "kernels/kernel_table.h"
#include "lab/machine.h"

namespace floe {

namespace {

// Settings that make two rows of one test incomparable when they differ.
struct Setting {
  const char* key;
  const char* name;
};
constexpr Setting kSettings[] = {{"model_filename", "model"},    {"model_size", "model size"},
                                 {"cpu_info", "machine"},        {"isa", "isa"},
                                 {"n_threads", "threads"},       {"type_k", "cache type"},
                                 {"type_v", "value cache type"}, {"n_ubatch", "ubatch"}};

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string csv_cell(const Json& value) {
  if (value.is_null()) return "";
  const std::string text = value.is_string() ? value.get<std::string>() : dump_json(value);
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

// Cells of the line that begins at `at`, which moves behind its end. Quoted cells may hold commas
// and line breaks.
std::vector<std::string> csv_line(std::string_view text, size_t& at) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted) {
      if (c != '"') {
        cells.back() += c;
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        cells.back() += '"';
        ++at;
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      cells.emplace_back();
    } else if (c == '\n') {
      ++at;
      break;
    } else if (c != '\r') {
      cells.back() += c;
    }
  }
  return cells;
}

std::vector<Json> csv_rows(std::string_view text) {
  std::vector<Json> rows;
  size_t at = 0;
  const std::vector<std::string> header = csv_line(text, at);
  while (at < text.size()) {
    const std::vector<std::string> cells = csv_line(text, at);
    if (cells.size() == 1 && cells[0].empty()) continue;
    Json row = Json::object();
    for (size_t i = 0; i < std::min(header.size(), cells.size()); ++i) {
      const auto number = parse_double(cells[i], -1e18, 1e18);
      row[header[i]] = number.ok() ? Json(*number) : Json(cells[i]);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// Numbers compare as numbers: csv keeps no types.
bool same(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return a.get<double>() == b.get<double>();
  return a == b;
}

std::string shown(const Json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || found->is_null()) return "unknown";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_float() && found->get<double>() == std::floor(found->get<double>())) {
    return fmt::format("{:.0f}", found->get<double>());
  }
  return dump_json(*found);
}

int count_differences(const Json& a, const Json& b) {
  int n = 0;
  for (const Setting& setting : kSettings) {
    const auto left = a.find(setting.key);
    const auto right = b.find(setting.key);
    n += left != a.end() && right != b.end() && same(*left, *right) ? 0 : 1;
  }
  return n;
}

}  // namespace

double rounded(double value) {
  return std::round(value * 100) / 100;
}

Json receipt_head(const Subject& subject) {
  const ModelInfo& model = subject.model;
  Json json;
  json["build_commit"] = kBuildCommit;
  json["build_version"] = kVersion;
  json["cpu_info"] = cpu_name();
  json["backends"] = model.device.empty() ? std::string("CPU ") + kernels().isa : model.device;
  json["isa"] = kernels().isa;
  json["model_filename"] = subject.file;
  json["model_type"] = model.architecture + " " + model.format;
  json["model_size"] = model.file_bytes;
  json["model_n_params"] = model.n_params;
  json["n_batch"] = subject.chunk_rows;
  json["n_ubatch"] = subject.chunk_rows;
  json["n_threads"] = subject.n_threads;
  json["type_k"] = to_string(subject.kv_types.keys);
  json["type_v"] = to_string(subject.kv_types.values);
  json["test_time"] = utc_now();
  return json;
}

std::string print_rows(const std::vector<Json>& rows, std::string_view format) {
  std::string text;
  if (format == "json") return dump_json(Json(rows)) + "\n";
  if (format == "jsonl") {
    for (const Json& row : rows) text += dump_json(row) + "\n";
    return text;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    std::string header;
    std::string line;
    for (const auto& [key, value] : rows[i].items()) {
      header += (header.empty() ? "" : ",") + key;
      line += (line.empty() ? "" : ",") + csv_cell(value);
    }
    if (i == 0) text += header + "\n";
    text += line + "\n";
  }
  return text;
}

Result<std::vector<Json>> parse_receipt(std::string_view text, const std::string& source) {
  std::vector<Json> rows;
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start != text.npos && text[start] == '[') {
    auto json = parse_json(text);
    if (!json.ok()) return usage_error("{}: {}", source, json.error().message);
    for (Json& row : *json) rows.push_back(std::move(row));
  } else if (start != text.npos && text[start] == '{') {
    for (size_t at = start; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string_view line = text.substr(at, end - at);
      at = end + 1;
      if (line.find_first_not_of(" \t\r") == line.npos) continue;
      auto json = parse_json(line);
      if (!json.ok()) {
        return usage_error("{}: row {}: {}", source, rows.size() + 1, json.error().message);
      }
      rows.push_back(std::move(*json));
    }
  } else {
    rows = csv_rows(text);
  }
  if (rows.empty())
    return usage_error("{}: expected rows of 'floe bench -o json', found none", source);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    if (!row.is_object() || !row.contains("test") || !row["test"].is_string() ||
        !row.contains("median_ts") || !row["median_ts"].is_number()) {
      return usage_error("{}: row {}: expected the keys test and median_ts of 'floe bench -o json'",
                         source, i + 1);
    }
  }
  return rows;
}

std::string compare_receipts(const std::vector<Json>& rows, const std::vector<Json>& earlier) {
  std::string text = "| test | t/s | earlier t/s | ratio | earlier build | earlier time |\n";
  text += "|---|---:|---:|---:|---|---|\n";
  std::vector<std::string> warnings;
  bool any = false;
  for (const Json& row : rows) {
    const Json* match = nullptr;
    for (const Json& candidate : earlier) {
      if (candidate["test"] != row["test"]) continue;
      if (match == nullptr || count_differences(row, candidate) <= count_differences(row, *match)) {
        match = &candidate;
      }
    }
    if (match == nullptr) continue;
    any = true;
    const double now = row["median_ts"].get<double>();
    const double then = (*match)["median_ts"].get<double>();
    text += fmt::format("| {} | {:.2f} | {:.2f} | {:.3f} | {} | {} |\n",
                        row["test"].get<std::string>(), now, then, then > 0 ? now / then : 0.0,
                        shown(*match, "build_commit"), shown(*match, "test_time"));
    for (const Setting& setting : kSettings) {
      const auto left = row.find(setting.key);
      const auto right = match->find(setting.key);
      if (left != row.end() && right != match->end() && same(*left, *right)) continue;
      const std::string warning =
          fmt::format("warning: {} differs: {} here, {} earlier\n", setting.name,
                      shown(row, setting.key), shown(*match, setting.key));
      if (std::find(warnings.begin(), warnings.end(), warning) == warnings.end()) {
        warnings.push_back(warning);
      }
    }
  }
  if (!any) return "no test in common with the earlier receipt\n";
  for (const std::string& warning : warnings) text += warning;
  return text;
}

}  // namespace floe

#pragma once
// What a measurement leaves behind: rows of JSON that say what was measured, on what, and when; the
// formats they are written in; and the comparison with rows of an earlier day.
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "model/model.h"

namespace floe {

// What a receipt is about.
struct Subject {
  const ModelInfo& model;
  std::string file;  // the model's file name without its folder
  KvTypes kv_types = KvType::F16;
  uint32_t chunk_rows = 0;  // of a prefill forward
  uint32_t n_threads = 0;
};

// The columns that every row of a receipt begins with: build, machine, model, setting, time. Names
// are llama-bench's where it has one.
Json receipt_head(const Subject& subject);

// Two decimals are more than any timing here is worth.
double rounded(double value);

// format: json (one array), jsonl, or csv with the first row's keys as header.
std::string print_rows(const std::vector<Json>& rows, std::string_view format);

// Reads back what print_rows wrote, in any of its formats. ErrorKind::usage names the source and
// the first row that cannot be read.
Result<std::vector<Json>> parse_receipt(std::string_view text, const std::string& source);

// A markdown table with one line per test that both have: median tokens per second now, earlier,
// and their ratio. Then a line for each setting in which the two differ. Where the earlier rows
// hold a test several times, the row whose settings differ least is taken, and of equals the last.
std::string compare_receipts(const std::vector<Json>& rows, const std::vector<Json>& earlier);

}  // namespace floe

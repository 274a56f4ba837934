#include <algorithm>
#include <numeric>

#include "base/json.h"
#include "model/logits_hash.h"
#include "verbs/model_flags.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

constexpr size_t kFullRows = 4;

struct LogitsOutput {
  std::vector<int64_t> argmax;
  std::vector<std::vector<float>> last;  // full logits of the last rows
  std::string hash;                      // over the bits of every row's logits, in row order
};

Result<LogitsOutput> compute(Model& model, const std::vector<int64_t>& tokens, uint32_t chunk_rows,
                             KvTypes kv_types) {
  const auto n_tokens = static_cast<uint32_t>(tokens.size());
  FLOE_TRY_VOID(model.reserve({chunk_rows, chunk_rows, n_tokens}));
  FLOE_TRY(const std::unique_ptr<KvCache> cache, model.make_cache({n_tokens, kv_types}));
  std::vector<uint32_t> slots(n_tokens);
  std::iota(slots.begin(), slots.end(), 0u);
  const SequenceSlots sequence{slots};
  const size_t n_vocab = model.info().n_vocab;

  LogitsOutput output;
  LogitsHash hash;
  for (uint32_t begin = 0; begin < n_tokens; begin += chunk_rows) {
    std::vector<ForwardRow> rows;
    for (uint32_t i = begin; i < std::min(begin + chunk_rows, n_tokens); ++i) {
      rows.push_back({static_cast<int32_t>(tokens[i]), i, 0, true});
    }
    FLOE_TRY(const ForwardOutput forward, model.forward({rows, {&sequence, 1}, *cache}));
    hash.add(forward.logits, rows.size(), n_vocab);
    for (size_t i = 0; i < rows.size(); ++i) {
      const float* row = forward.logits + i * n_vocab;
      output.argmax.push_back(std::max_element(row, row + n_vocab) - row);
      if (rows[i].position + kFullRows >= n_tokens) output.last.emplace_back(row, row + n_vocab);
    }
  }
  output.hash = hash.text();
  return output;
}

}  // namespace

Result<int> run_logits(std::span<const std::string> arguments) {
  ModelFlags flags;
  std::vector<int64_t> tokens;
  int64_t chunk = 0;
  OptionTable table(
      "logits", "-m FILE --tokens 1,2,3 [options]",
      "Prints the argmax of every row, the last rows' logits and a hash of all rows' bits.");
  flags.add_to(table);
  table.add("--tokens", "LIST", &tokens, 0, INT32_MAX, "token ids, fed as they are");
  table.add("--chunk", "N", &chunk, 0, 8192,
            "rows of one forward; 0: at most 512. The hash does not depend on it");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (tokens.empty()) return usage_error("--tokens: expected at least one token id");
  const auto chunk_rows = static_cast<uint32_t>(
      std::min<int64_t>(chunk != 0 ? chunk : 512, static_cast<int64_t>(tokens.size())));
  Workload workload;
  workload.memory.context = static_cast<uint32_t>(tokens.size());
  workload.memory.context_option = nullptr;
  workload.memory.sequences_option = nullptr;
  workload.limits = [&](uint32_t context) {
    return ForwardLimits{chunk_rows, chunk_rows, context};
  };
  FLOE_TRY(LoadedModel loaded, load(flags, workload));
  const ModelInfo& info = loaded.model->info();
  if (tokens.size() > info.context_length) {
    return usage_error("--tokens: {} tokens are more than the model's context of {}", tokens.size(),
                       info.context_length);
  }
  for (const int64_t token : tokens) {
    if (token >= info.n_vocab) {
      return usage_error("--tokens: expected ids below {}, found {}", info.n_vocab, token);
    }
  }
  FLOE_TRY(const LogitsOutput output, compute(*loaded.model, tokens, chunk_rows, flags.kv_types()));
  Json json;
  json["n_vocab"] = info.n_vocab;
  json["argmax"] = output.argmax;
  json["logits_last4"] = output.last;
  json["hash"] = output.hash;
  fmt::print("{}\n", dump_json(json));
  return 0;
}

}  // namespace floe

// An experiment: does the span that prompt lookup copies tell which experts the copy will read?
//
// Answers of the prompts are decoded greedily, one row at a time, and the experts of every position
// are kept, those of the prompt among them. Wherever a lookup would have guessed T - 1 tokens
// right, a forward of T rows is taken together from the rows that were run, which is exact because
// a row chooses the same experts in any batch. Its union of experts is compared with
//   history  U(T) from the sequence's reuse distances (draft/reuse.h), what the controller uses
//   span     the union of the experts that the T positions of the copied span chose
//   both     their mean
//
//   copied_span MODEL.gguf PROMPTS.jsonl...
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <set>

#include "draft/reuse.h"
#include "draft/token_index.h"
#include "lab/spec_prompts.h"
#include "model/model.h"
#include "store/gguf.h"
#include "text/tokenizer.h"
#include "verbs/text_file.h"

namespace floe {
namespace {

constexpr uint32_t kMostRows = 9;
constexpr uint32_t kNewTokens = 200;

// Of one text: what its positions chose, u32 [position][layer][n_active].
struct Choices {
  uint32_t n_layers = 0, n_active = 0;
  std::vector<uint32_t> experts;

  // routing: u32 [layer][n_rows][n_active]
  void append(std::span<const uint32_t> routing, uint32_t n_rows) {
    n_layers = static_cast<uint32_t>(routing.size() / (size_t{n_rows} * n_active));
    for (uint32_t row = 0; row < n_rows; ++row) {
      for (uint32_t layer = 0; layer < n_layers; ++layer) {
        const auto from = routing.begin() + (size_t{layer} * n_rows + row) * n_active;
        experts.insert(experts.end(), from, from + n_active);
      }
    }
  }
  // Mean over the layers of the distinct experts of positions first .. first + n - 1.
  double mean_union(uint32_t first, uint32_t n) const {
    size_t sum = 0;
    for (uint32_t layer = 0; layer < n_layers; ++layer) {
      std::set<uint32_t> distinct;
      for (uint32_t p = first; p < first + n; ++p) {
        const auto from = experts.begin() + (size_t{p} * n_layers + layer) * n_active;
        distinct.insert(from, from + n_active);
      }
      sum += distinct.size();
    }
    return static_cast<double>(sum) / n_layers;
  }
};

struct Error {
  double sum = 0, sum_absolute = 0;
  void add(double predicted, double actual) {
    sum += predicted / actual - 1;
    sum_absolute += std::abs(predicted / actual - 1);
  }
};

struct Tally {
  uint64_t n = 0;
  double actual = 0;
  Error history, span, both;
};

Result<void> run(Model& model, const SpecPrompt& prompt, RouterHistory& history,
                 std::array<Tally, kMostRows + 1>& tallies) {
  const ModelInfo& info = model.info();
  std::vector<int32_t> tokens = prompt.tokens;
  const auto n_prompt = static_cast<uint32_t>(tokens.size());
  const uint32_t n_all = n_prompt + kNewTokens;
  ForwardLimits limits{n_prompt, 1, n_all};
  FLOE_TRY_VOID(model.reserve(limits));
  FLOE_TRY(const std::unique_ptr<KvCache> cache, model.make_cache({n_all, KvType::F16}));
  std::vector<uint32_t> slots(n_all);
  for (uint32_t i = 0; i < n_all; ++i) slots[i] = i;
  const SequenceSlots sequence{slots};
  Choices choices;
  choices.n_active = info.n_active_experts;
  RouterMemory memory;
  history.begin(memory);
  std::vector<double> union_then(size_t{n_all} * (kMostRows + 1));
  std::vector<uint32_t> routing;
  const auto forward = [&](uint32_t first) {
    std::vector<ForwardRow> rows;
    for (uint32_t p = first; p < tokens.size(); ++p) {
      rows.push_back({tokens[p], p, 0, p + 1 == tokens.size()});
    }
    routing.clear();
    const ForwardOutput output = model.forward({rows, {&sequence, 1}, *cache, 0, &routing}).value();
    const auto n_rows = static_cast<uint32_t>(rows.size());
    choices.append(routing, n_rows);
    if (first != 0) history.commit(memory, routing, n_rows, 0, n_rows);
    const float* best = std::max_element(output.logits, output.logits + info.n_vocab);
    return static_cast<int32_t>(best - output.logits);
  };
  tokens.push_back(forward(0));
  while (tokens.size() < n_all) {
    // What is known before the row of the last token runs.
    for (uint32_t t = 2; t <= kMostRows; ++t) {
      union_then[(tokens.size() - 1) * (kMostRows + 1) + t] = history.union_of(t);
    }
    tokens.push_back(forward(static_cast<uint32_t>(tokens.size()) - 1));
  }

  TokenIndex index;
  for (uint32_t n = n_prompt + 1; n + kMostRows < n_all; ++n) {
    const std::span<const int32_t> known = std::span(tokens).first(n);
    index.extend(known, n - 1);
    std::array<TokenPlace, TokenIndex::kMaxPlaces> places;
    const uint32_t n_places = index.find(known, TokenTail(known, {}), places);
    TokenPlace best;
    for (uint32_t i = 0; i < n_places; ++i) {
      if (places[i].length > best.length) best = places[i];
    }
    if (best.length == 0) continue;
    uint32_t n_rows = 1;
    while (n_rows < kMostRows && best.next + n_rows - 1 < n &&
           tokens[best.next + n_rows - 1] == tokens[n + n_rows - 1]) {
      ++n_rows;
    }
    if (n_rows < 2 || best.next - 1 + n_rows > n - 1) continue;
    Tally& tally = tallies[n_rows];
    const double actual = choices.mean_union(n - 1, n_rows);
    const double by_history = union_then[size_t{n - 1} * (kMostRows + 1) + n_rows];
    const double by_span = choices.mean_union(best.next - 1, n_rows);
    ++tally.n;
    tally.actual += actual;
    tally.history.add(by_history, actual);
    tally.span.add(by_span, actual);
    tally.both.add((by_history + by_span) / 2, actual);
  }
  return {};
}

Result<void> run(std::span<char*> arguments) {
  if (arguments.size() < 3) return usage_error("copied_span MODEL.gguf PROMPTS.jsonl...");
  FLOE_TRY(const GgufFile gguf, GgufFile::open(arguments[1], NoTensors::allow));
  FLOE_TRY(const auto tokenizer, Tokenizer::load(gguf));
  ThreadPool pool(2);
  FLOE_TRY(const auto model, load_model(arguments[1], {}, pool));
  fmt::print("| class | rows | drafts | union | history | span | mean of both |\n");
  fmt::print("|---|---:|---:|---:|---:|---:|---:|\n");
  for (const char* path : arguments.subspan(2)) {
    FLOE_TRY(const std::string text, read_text_file(path));
    FLOE_TRY(const SpecClass prompts,
             parse_spec_prompts(text, std::filesystem::path(path).stem(), path, *tokenizer));
    std::array<Tally, kMostRows + 1> tallies;
    RouterHistory history(model->info().n_layers, model->info().n_experts,
                          model->info().n_active_experts);
    for (const SpecPrompt& prompt : prompts.prompts) {
      FLOE_TRY_VOID(run(*model, prompt, history, tallies));
    }
    for (uint32_t t = 2; t <= kMostRows; ++t) {
      const Tally& tally = tallies[t];
      if (tally.n == 0) continue;
      const double n = static_cast<double>(tally.n);
      const auto shown = [&](const Error& error) {
        return fmt::format("{:+.3f}, {:.3f}", error.sum / n, error.sum_absolute / n);
      };
      fmt::print("| {} | {} | {} | {:.2f} | {} | {} | {} |\n", prompts.name, t, tally.n,
                 tally.actual / n, shown(tally.history), shown(tally.span), shown(tally.both));
    }
  }
  return {};
}

}  // namespace
}  // namespace floe

int main(int argc, char** argv) {
  const auto result = floe::run(std::span(argv, static_cast<size_t>(argc)));
  if (result.ok()) return 0;
  fmt::print(stderr, "{}\n", result.error().message);
  return 1;
}

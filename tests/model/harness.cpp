#include "model/harness.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

#include "model/architecture.h"
#include "quant/format.h"
#include "repo_path.h"

namespace floe::test {

Result<LoadedModel> LoadedModel::load(const std::string& path, const RunSetup& setup) {
  LoadedModel loaded;
  loaded.pool = std::make_unique<ThreadPool>(setup.n_threads, false);
  ModelOptions options;
  options.kernels = setup.kernels;
  options.mtp_path = setup.mtp_path;
  FLOE_TRY(loaded.model, load_model(path, options, *loaded.pool));
  ForwardLimits limits;
  limits.max_rows = setup.max_rows;
  limits.max_logit_rows = setup.max_rows;
  limits.max_context = setup.max_context;
  limits.tap_layers = setup.tap_layers;
  FLOE_TRY_VOID(loaded.model->reserve(limits));
  FLOE_TRY(loaded.cache, loaded.model->make_cache({setup.n_slots, setup.kv_types}));
  loaded.free_slots.resize(setup.n_slots);
  std::iota(loaded.free_slots.begin(), loaded.free_slots.end(), 0u);
  if (setup.slot_seed != 0) {
    loaded.cache->poison(0, setup.n_slots);
    std::mt19937_64 random(setup.slot_seed);
    std::shuffle(loaded.free_slots.begin(), loaded.free_slots.end(), random);
  }
  return loaded;
}

std::vector<uint32_t> LoadedModel::take_slots(uint32_t n) {
  FLOE_CHECK(n <= free_slots.size());
  std::vector<uint32_t> taken(free_slots.begin(), free_slots.begin() + n);
  free_slots.erase(free_slots.begin(), free_slots.begin() + n);
  return taken;
}

uint32_t argmax(std::span<const float> row) {
  return static_cast<uint32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

namespace {

Rows run_rows(LoadedModel& loaded, std::span<const uint32_t> slots, std::span<const int32_t> tokens,
              uint32_t first, uint32_t chunk, const float* mtp_hidden) {
  Rows rows;
  rows.n_vocab = loaded.model->info().n_vocab;
  rows.hidden_dim = loaded.model->info().hidden_dim;
  const SequenceSlots sequence{slots};
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const size_t end = std::min(begin + chunk, tokens.size());
    std::vector<ForwardRow> batch_rows;
    for (size_t i = begin; i < end; ++i) {
      batch_rows.push_back({tokens[i], first + static_cast<uint32_t>(i), 0, true});
    }
    const ForwardBatch batch{batch_rows, {&sequence, 1}, *loaded.cache};
    const ForwardOutput output =
        mtp_hidden == nullptr
            ? loaded.model->forward(batch).value()
            : loaded.model->forward_mtp(batch, mtp_hidden + begin * rows.hidden_dim).value();
    rows.logits.insert(rows.logits.end(), output.logits,
                       output.logits + size_t{output.n_logit_rows} * rows.n_vocab);
    rows.hidden.insert(rows.hidden.end(), output.hidden,
                       output.hidden + batch_rows.size() * rows.hidden_dim);
  }
  return rows;
}

}  // namespace

Rows run_tokens(LoadedModel& loaded, std::span<const uint32_t> slots,
                std::span<const int32_t> tokens, uint32_t first, uint32_t chunk) {
  return run_rows(loaded, slots, tokens, first, chunk, nullptr);
}

Rows run_mtp(LoadedModel& loaded, std::span<const uint32_t> slots, std::span<const int32_t> tokens,
             std::span<const float> hidden, uint32_t chunk) {
  return run_rows(loaded, slots, tokens, 0, chunk, hidden.data());
}

std::vector<int32_t> run_greedy(LoadedModel& loaded, std::span<const uint32_t> slots,
                                std::span<const float> last_logits, uint32_t position, uint32_t n) {
  std::vector<int32_t> tokens{static_cast<int32_t>(argmax(last_logits))};
  while (tokens.size() < n) {
    const int32_t token = tokens.back();
    const Rows rows = run_tokens(loaded, slots, {&token, 1}, position++, 1);
    tokens.push_back(static_cast<int32_t>(argmax(rows.row(0))));
  }
  return tokens;
}

Json load_json(const std::string& path) {
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto json = parse_json(text);
  if (!json.ok()) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), json.error().message.c_str());
    std::abort();
  }
  return std::move(json).value();
}

namespace {

// Adds the cases of a folder that floe reads and that are not there yet.
void add_golden_cases(const std::filesystem::path& directory, std::vector<GoldenCase>& cases) {
  const Json index = load_json((directory / "index.json").string());
  for (const auto& entry : index["cases"]) {
    GoldenCase c;
    c.name = entry["name"];
    if (std::any_of(cases.begin(), cases.end(),
                    [&](const GoldenCase& other) { return other.name == c.name; })) {
      continue;
    }
    c.architecture = entry["arch"];
    c.kind = entry["kind"];
    c.model_path = (directory / entry["file"].get<std::string>()).string();
    c.json_path = (directory / entry["json"].get<std::string>()).string();
    c.mtp = entry["mtp"];
    c.plain_floats = true;
    bool supported = find_architecture(c.architecture) != nullptr;
    for (const auto& [format, count] : entry["tensor_types"].items()) {
      supported = supported && parse_format(format).has_value();
      c.plain_floats = c.plain_floats && (format == "F32" || format == "F16" || format == "BF16");
    }
    if (supported) cases.push_back(std::move(c));
  }
}

}  // namespace

std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  for (const std::string& directory : golden_directories()) add_golden_cases(directory, cases);
  return cases;
}

std::string golden_name(const testing::TestParamInfo<GoldenCase>& info) {
  std::string name = info.param.name;
  for (char& ch : name) {
    if (std::isalnum(static_cast<unsigned char>(ch)) == 0) ch = '_';
  }
  return name;
}

double divergence(std::span<const float> p, std::span<const float> q) {
  const auto log_sum = [](std::span<const float> row) {
    const double max = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float logit : row) sum += std::exp(logit - max);
    return max + std::log(sum);
  };
  const double p_sum = log_sum(p);
  const double q_sum = log_sum(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - p_sum;
    kl += std::exp(log_p) * (log_p - (q[i] - q_sum));
  }
  return kl;
}

}  // namespace floe::test

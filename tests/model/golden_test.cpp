// Logits, greedy tokens and draft rows against the reference data, within the limits its README
// gives. FLOE_GOLDEN_TABLE=1 prints one line per case with the distances found.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>

#include "model/harness.h"
#include "repo_path.h"

namespace floe::test {
namespace {

struct Distance {
  double max_abs = 0.0;
  double sum_squares = 0.0;
  size_t n = 0;

  void add(double found, double expected) {
    const double d = found - expected;
    // A NaN is infinitely far away.
    max_abs = std::isnan(d) ? INFINITY : std::max(max_abs, std::fabs(d));
    sum_squares += d * d;
    ++n;
  }
  double rms() const { return std::sqrt(sum_squares / static_cast<double>(n)); }
};

// Against prefix + "logits_last4" and "logits_probe_all".
Distance distance(const Json& golden, const std::string& prefix, const Rows& rows) {
  Distance d;
  const auto& last = golden[prefix + "logits_last4"];
  for (size_t i = 0; i < last.size(); ++i) {
    const auto row = rows.row(rows.n_rows() - last.size() + i);
    EXPECT_EQ(last[i].size(), row.size());
    for (size_t c = 0; c < row.size(); ++c) d.add(row[c], last[i][c]);
  }
  const std::string probe_key = prefix + "logits_probe_all";
  if (golden.contains(probe_key)) {
    const std::vector<uint32_t> columns = golden["probe_cols"];
    for (size_t i = 0; i < rows.n_rows(); ++i) {
      for (size_t c = 0; c < columns.size(); ++c) {
        d.add(rows.row(i)[columns[c]], golden[probe_key][i][c]);
      }
    }
  }
  return d;
}

uint32_t count_equal_argmax(const std::vector<uint32_t>& expected, const Rows& rows) {
  uint32_t n = 0;
  for (size_t i = 0; i < rows.n_rows(); ++i) n += argmax(rows.row(i)) == expected[i];
  return n;
}

void print_line(const std::string& name, const char* what, const Distance& d, double logit_std,
                uint32_t n_equal, uint32_t n_rows, const char* isa) {
  if (std::getenv("FLOE_GOLDEN_TABLE") == nullptr) return;
  std::printf("%-36s %-9s %-10s max %9.2e s  rms %9.2e s  argmax %u/%u\n", name.c_str(), what, isa,
              d.max_abs / logit_std, d.rms() / logit_std, n_equal, n_rows);
}

class Golden : public testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    golden_ = load_json(GetParam().json_path);
    tokens_ = golden_["tokens"].get<std::vector<int32_t>>();
    logit_std_ = golden_["logit_std"];
  }

  LoadedModel load(KvTypes kv_types) {
    RunSetup setup;
    setup.kv_types = kv_types;
    setup.n_threads = 2;
    setup.slot_seed = 11;
    auto loaded = LoadedModel::load(GetParam().model_path, setup);
    if (!loaded.ok()) ADD_FAILURE() << loaded.error().message;
    return loaded.ok() ? std::move(loaded).value() : LoadedModel();
  }

  Json golden_;
  std::vector<int32_t> tokens_;
  double logit_std_ = 0.0;
};

TEST_P(Golden, Logits) {
  const GoldenCase& c = GetParam();
  LoadedModel loaded = load(KvType::F32);
  ASSERT_NE(loaded.model, nullptr);
  const std::vector<uint32_t> slots = loaded.take_slots(64);
  const Rows rows = run_tokens(loaded, slots, tokens_, 0, 64);
  const std::string prefix = c.kind == "f32" ? "" : "ref_";
  const Distance d = distance(golden_, prefix, rows);
  const uint32_t n_equal = count_equal_argmax(golden_[prefix + "argmax_all"], rows);
  print_line(c.name, "kv f32", d, logit_std_, n_equal, rows.n_rows(), kernels().isa);
  if (c.plain_floats) {
    EXPECT_LE(d.max_abs, 1e-3 * logit_std_);
    EXPECT_EQ(n_equal, rows.n_rows());
  } else {
    // How far 8-bit activations lead: in llama.cpp, or, of a case that llama.cpp did not run, by
    // rounding them in an exact forward.
    const Json& rounding = golden_.contains("rounded_activations_vs_ref")
                               ? golden_["rounded_activations_vs_ref"]
                               : golden_["llama_cpp_vs_ref"];
    EXPECT_LE(d.rms(), 2.0 * rounding["rms_all"].get<double>());
    EXPECT_LE(d.max_abs, 2.5 * rounding["max_abs_all"].get<double>());
    EXPECT_GE(n_equal, 38u);
  }
  if (golden_.contains("rounded_logits_last4")) {
    // An exact forward whose activations are rounded as ours are: only float32 is left.
    const Distance from_rounded = distance(golden_, "rounded_", rows);
    print_line(c.name, "rounded", from_rounded, logit_std_, n_equal, rows.n_rows(), kernels().isa);
    EXPECT_LE(from_rounded.max_abs, 1e-3 * logit_std_);
  }

  // Greedy tokens: all of them for plain floats, otherwise up to the first close call.
  const std::vector<int32_t> expected = golden_[prefix + "greedy16"];
  const std::vector<double> gaps = golden_[prefix + "greedy16_gap"];
  const std::vector<int32_t> greedy =
      run_greedy(loaded, slots, rows.row(rows.n_rows() - 1), 40, 16);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!c.plain_floats && gaps[i] < 0.5 * logit_std_) break;
    ASSERT_EQ(greedy[i], expected[i]) << "greedy step " << i;
  }
}

// F32 models over a half-precision cache.
class GoldenHalfCache : public Golden {};

TEST_P(GoldenHalfCache, Logits) {
  const GoldenCase& c = GetParam();
  LoadedModel loaded = load(KvType::F16);
  ASSERT_NE(loaded.model, nullptr);
  const std::vector<uint32_t> slots = loaded.take_slots(64);
  const Rows rows = run_tokens(loaded, slots, tokens_, 0, 16);
  const Distance d = distance(golden_, "", rows);
  const uint32_t n_equal = count_equal_argmax(golden_["argmax_all"], rows);
  print_line(c.name, "kv f16", d, logit_std_, n_equal, rows.n_rows(), kernels().isa);
  EXPECT_LE(d.max_abs, 0.04 * logit_std_);
  EXPECT_EQ(n_equal, rows.n_rows());
}

// The mean KL from a half-precision to an 8-bit cache, and how many rows keep their best token.
struct CacheLoss {
  double mean_kl = 0;
  double median_kl = 0;
  uint32_t n_equal = 0;
  uint32_t n_rows = 0;
};

CacheLoss cache_loss(const std::string& path, std::span<const int32_t> tokens) {
  Rows rows[2];
  for (const KvType type : {KvType::F16, KvType::Q8_0}) {
    RunSetup setup;
    setup.kv_types = type;
    setup.n_threads = 2;
    setup.n_slots = setup.max_context = static_cast<uint32_t>(tokens.size());
    auto loaded = LoadedModel::load(path, setup);
    if (!loaded.ok()) {
      ADD_FAILURE() << loaded.error().message;
      return {};
    }
    const std::vector<uint32_t> slots = loaded->take_slots(setup.n_slots);
    rows[type == KvType::Q8_0] = run_tokens(*loaded, slots, tokens, 0, 64);
  }
  CacheLoss loss;
  loss.n_rows = rows[0].n_rows();
  std::vector<double> kl;
  for (uint32_t i = 0; i < loss.n_rows; ++i) {
    kl.push_back(divergence(rows[0].row(i), rows[1].row(i)));
    loss.mean_kl += kl.back() / loss.n_rows;
    loss.n_equal += argmax(rows[0].row(i)) == argmax(rows[1].row(i)) ? 1 : 0;
  }
  std::nth_element(kl.begin(), kl.begin() + kl.size() / 2, kl.end());
  loss.median_kl = kl[kl.size() / 2];
  return loss;
}

void print_loss(const std::string& name, const CacheLoss& loss) {
  if (std::getenv("FLOE_GOLDEN_TABLE") == nullptr) return;
  std::printf("%-32s kv q8_0  mean KL %.3g  median %.3g  same best token in %u of %u rows\n",
              name.c_str(), loss.mean_kl, loss.median_kl, loss.n_equal, loss.n_rows);
}

// Estimated before anything was measured: an 8-bit value is off by about 0.4 % of its block's
// spread, logits move by about that part of their own, and KL is half the square of it. It holds
// for the plain dense models and is asked of those alone.
constexpr double kMostDenseKl = 1e-3;
// The estimate does not hold for all others: 2.6e-3 was found for the worst of the small latent
// models, 1.5e-2 for the bundled one over random tokens. These are ceilings over what was measured,
// not derived: they catch a broken cache, not one that lost a bit.
constexpr double kMostKl = 1e-2;
constexpr double kMostBundledKl = 5e-2;

TEST(QuantisedCache, BundledModel) {
  const std::string path = repo_path("models/floe-nano.gguf");
  std::mt19937 random(3);
  std::vector<int32_t> tokens(300);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 8000);
  const CacheLoss loss = cache_loss(path, tokens);
  print_loss("floe-nano", loss);
  ASSERT_EQ(loss.n_rows, tokens.size());
  EXPECT_LT(loss.mean_kl, kMostBundledKl);
  EXPECT_GT(loss.mean_kl, 0.0) << "the cache was not quantised";
  EXPECT_GE(loss.n_equal, tokens.size() * 9 / 10);
}

class GoldenQuantisedCache : public Golden {};

TEST_P(GoldenQuantisedCache, Divergence) {
  const CacheLoss loss = cache_loss(GetParam().model_path, tokens_);
  print_loss(GetParam().name, loss);
  const bool dense =
      GetParam().name.starts_with("llama-dense") || GetParam().architecture == "qwen3";
  EXPECT_LT(loss.mean_kl, dense ? kMostDenseKl : kMostKl);
  EXPECT_GE(loss.n_equal, loss.n_rows - 2);
}

// F32 models with a draft head.
class GoldenDraftHead : public Golden {};

TEST_P(GoldenDraftHead, Rows) {
  const GoldenCase& c = GetParam();
  LoadedModel loaded = load(KvType::F32);
  ASSERT_NE(loaded.model, nullptr);
  ASSERT_TRUE(loaded.model->info().has_mtp);
  const std::vector<uint32_t> slots = loaded.take_slots(64);
  const std::vector<int32_t> mtp_tokens = golden_["mtp_tokens"];
  const Rows trunk = run_tokens(loaded, slots, tokens_, 0, 64);

  // Row p reads the trunk's hidden row p - 1; row 0 reads zeros.
  std::vector<float> hidden(trunk.hidden_dim, 0.0f);
  hidden.insert(hidden.end(), trunk.hidden.begin(), trunk.hidden.end());
  const Rows draft = run_mtp(loaded, slots, mtp_tokens, hidden, 64);
  const Distance d0 = distance(golden_, "mtp0_", draft);
  const uint32_t n_equal0 = count_equal_argmax(golden_["mtp0_argmax"], draft);
  print_line(c.name, "mtp0", d0, logit_std_, n_equal0, draft.n_rows(), kernels().isa);
  EXPECT_LE(d0.max_abs, 1e-3 * logit_std_);
  EXPECT_EQ(n_equal0, draft.n_rows());

  // Without row 0 in the head's cache: the rotation is relative, so the rows may start at position
  // 0.
  const std::vector<uint32_t> other_slots = loaded.take_slots(64);
  const Rows later =
      run_mtp(loaded, other_slots, std::span(mtp_tokens).subspan(1), trunk.hidden, 64);
  const Distance d1 = distance(golden_, "mtp1_", later);
  const uint32_t n_equal1 = count_equal_argmax(golden_["mtp1_argmax"], later);
  print_line(c.name, "mtp1", d1, logit_std_, n_equal1, later.n_rows(), kernels().isa);
  EXPECT_LE(d1.max_abs, 1e-3 * logit_std_);
  EXPECT_EQ(n_equal1, later.n_rows());
}

template <typename Keep>
std::vector<GoldenCase> cases_where(Keep&& keep) {
  std::vector<GoldenCase> kept;
  for (const GoldenCase& c : golden_cases()) {
    if (keep(c)) kept.push_back(c);
  }
  return kept;
}

INSTANTIATE_TEST_SUITE_P(Shared, Golden, testing::ValuesIn(golden_cases()), golden_name);
INSTANTIATE_TEST_SUITE_P(Shared, GoldenHalfCache,
                         testing::ValuesIn(cases_where([](const GoldenCase& c) {
                           return c.kind == "f32";
                         })),
                         golden_name);
INSTANTIATE_TEST_SUITE_P(Shared, GoldenQuantisedCache,
                         testing::ValuesIn(cases_where([](const GoldenCase& c) {
                           return c.kind == "f32";
                         })),
                         golden_name);
INSTANTIATE_TEST_SUITE_P(Shared, GoldenDraftHead,
                         testing::ValuesIn(cases_where([](const GoldenCase& c) {
                           return c.kind == "f32" && c.mtp;
                         })),
                         golden_name);

}  // namespace
}  // namespace floe::test

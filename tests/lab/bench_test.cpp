#include "lab/bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/json.h"
#include "kv/host_cache.h"

namespace floe {
namespace {

// Counts what it is asked to do and answers zeros.
class CountingModel final : public Model {
 public:
  CountingModel() {
    info_.n_vocab = 1000;
    info_.context_length = 4096;
  }
  const ModelInfo& info() const override { return info_; }
  KvCacheBytes cache_bytes(KvTypes types) const override {
    return HostKvCache::bytes_of({&layer_, 1}, types);
  }
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override {
    FLOE_TRY(std::unique_ptr<KvCache> cache, HostKvCache::create({&layer_, 1}, limits));
    return cache;
  }
  uint64_t cache_fingerprint(KvTypes) const override { return 0; }
  Result<void> reserve(const ForwardLimits& limits) override {
    limits_ = limits;
    return {};
  }
  Result<ForwardOutput> forward(const ForwardBatch& batch) override {
    FLOE_CHECK(batch.rows.size() <= limits_.max_rows);
    uint32_t n_logits = 0;
    for (const ForwardRow& row : batch.rows) {
      FLOE_CHECK(row.position < limits_.max_context);
      tokens.insert(row.token);
      n_logits += row.wants_logits ? 1 : 0;
    }
    FLOE_CHECK(n_logits <= limits_.max_logit_rows);
    n_rows += batch.rows.size();
    n_logit_rows += n_logits;
    ForwardOutput output;
    output.ledger.routed_bytes = 1000;
    output.ledger.experts_union = 6;
    output.ledger.n_moe_layers = 2;
    return output;
  }
  Result<ForwardOutput> forward_mtp(const ForwardBatch&, const float*) override {
    return ForwardOutput{};
  }
  void embed(int32_t, float*) const override {}
  std::span<const std::byte> weights() const override { return {}; }

  std::set<int32_t> tokens;
  uint64_t n_rows = 0;
  uint64_t n_logit_rows = 0;

 private:
  const KvLayerSpec layer_{{{1, 8}}};
  ModelInfo info_;
  ForwardLimits limits_;
};

TEST(Bench, RunsEveryCaseTheStatedNumberOfTimes) {
  CountingModel model;
  ThreadPool pool(1, false);
  BenchOptions options;
  options.prefill_tokens = {20};
  options.decode_tokens = {3};
  options.verify_rows = {4};
  options.depths = {0, 10};
  options.n_repetitions = 2;
  options.max_chunk_rows = 8;
  options.show_progress = false;
  const auto report = run_bench(model, pool, options);
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(report->rows.size(), 6u);
  // 3 rounds (one warms up) of 20 + 3 + 4 verifies of 4, at two depths, and the fill of depth 10.
  EXPECT_EQ(model.n_rows, 2u * 3 * (20 + 3 + 16) + 10);
  EXPECT_EQ(model.n_logit_rows, 2u * 3 * (1 + 3 + 16) + 1);
  EXPECT_GT(model.tokens.size(), 100u) << "tokens must be distinct";
  EXPECT_EQ(report->rows[0].test.name(), "pp20");
  EXPECT_EQ(report->rows[5].test.name(), "v4 @ d10");
  EXPECT_EQ(report->rows[0].samples_ns.size(), 2u);
  EXPECT_EQ(report->rows[0].ledger.routed_bytes, 3000u) << "three chunks of one prefill";
  EXPECT_EQ(report->rows[2].ledger.routed_bytes, 1000u) << "one verify";
  EXPECT_EQ(report->rows[2].ledger.mean_union(), 3.0);
}

BenchReport small_report(CountingModel& model) {
  ThreadPool pool(1, false);
  BenchOptions options;
  options.decode_tokens = {2};
  options.verify_rows = {1, 2};
  options.depths = {0};
  options.n_repetitions = 3;
  options.show_progress = false;
  auto report = run_bench(model, pool, options);
  EXPECT_TRUE(report.ok());
  return std::move(report).value();
}

TEST(Bench, JsonCarriesLlamaBenchsKeysAndOurs) {
  CountingModel model;
  const BenchReport report = small_report(model);
  const Subject subject{model.info(), "m.gguf", KvType::F16, 512, 1};
  const auto json = parse_json(format_bench(report, subject, "json"));
  ASSERT_TRUE(json.ok());
  ASSERT_EQ(json->size(), 3u);
  for (const char* key :
       {"build_commit", "cpu_info",  "isa",           "model_filename", "model_size", "n_threads",
        "type_k",       "n_prompt",  "n_gen",         "n_depth",        "test_time",  "avg_ns",
        "stddev_ns",    "avg_ts",    "stddev_ts",     "samples_ns",     "samples_ts", "gb_s",
        "floor_ts",     "pct_floor", "experts_union", "bytes",          "gmac_s",     "r",
        "r_model"}) {
    EXPECT_TRUE((*json)[0].contains(key)) << key;
  }
  EXPECT_TRUE((*json)[0]["r"].is_null()) << "only verifies have a ratio";
  EXPECT_EQ((*json)[1]["r"].get<double>(), 1.0);
  EXPECT_EQ((*json)[1]["r_model"].get<double>(), 1.0);
  EXPECT_EQ((*json)[2]["samples_read_gb_s"].size(), 3u) << "each sample has its own bandwidth";
  // The three figures belong together: bytes per second over the floor's.
  const Json& row = (*json)[0];
  EXPECT_NEAR(row["pct_floor"].get<double>(),
              100 * row["median_ts"].get<double>() / row["floor_ts"].get<double>(), 0.1);
  const std::string csv = format_bench(report, subject, "csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 4);
  const std::string md = format_bench(report, subject, "md");
  EXPECT_NE(md.find("| GMAC/s | r | r model | r / model |"), md.npos);
}

TEST(Bench, WithoutV1ThereIsNoRatio) {
  CountingModel model;
  ThreadPool pool(1, false);
  BenchOptions options;
  options.verify_rows = {2};
  options.depths = {0};
  options.n_repetitions = 1;
  options.show_progress = false;
  const auto report = run_bench(model, pool, options);
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(report->rows[0].ratio.has_value());
  EXPECT_FALSE(report->rows[0].model_ratio.has_value());
}

TEST(Bench, ADepthBeyondTheContextIsAUsageError) {
  CountingModel model;
  ThreadPool pool(1, false);
  BenchOptions options;
  options.decode_tokens = {1};
  options.depths = {4096};
  options.show_progress = false;
  const auto report = run_bench(model, pool, options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace floe

#include "lab/batched_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/json.h"
#include "repo_path.h"

namespace floe {
namespace {

const std::string kNano = repo_path("models/floe-nano.gguf");

// The bundled model, which keeps the rows of every decode step that it was asked for.
class RecordingModel final : public Model {
 public:
  struct Step {
    std::vector<ForwardRow> rows;
    std::vector<std::vector<uint32_t>> slots;
  };

  explicit RecordingModel(Model& model) : model_(model) {}
  const ModelInfo& info() const override { return model_.info(); }
  KvCacheBytes cache_bytes(KvTypes types) const override { return model_.cache_bytes(types); }
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override {
    return model_.make_cache(limits);
  }
  uint64_t cache_fingerprint(KvTypes types) const override {
    return model_.cache_fingerprint(types);
  }
  Result<void> reserve(const ForwardLimits& limits) override { return model_.reserve(limits); }
  Result<ForwardOutput> forward(const ForwardBatch& batch) override {
    Step& step = steps.emplace_back();
    step.rows.assign(batch.rows.begin(), batch.rows.end());
    for (const SequenceSlots& sequence : batch.sequences) {
      step.slots.emplace_back(sequence.slots.begin(), sequence.slots.end());
    }
    n_slots = std::max(n_slots, batch.cache.n_slots());
    return model_.forward(batch);
  }
  Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float* hidden) override {
    return model_.forward_mtp(batch, hidden);
  }
  void embed(int32_t token, float* out) const override { model_.embed(token, out); }
  std::span<const std::byte> weights() const override { return model_.weights(); }

  std::vector<Step> steps;
  uint32_t n_slots = 0;

 private:
  Model& model_;
};

class BatchedBench : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = load_model(kNano, {}, pool_);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    model_ = std::move(loaded).value();
  }

  BatchedBenchRow run(Model& model, const BatchedBenchOptions& options) {
    auto report = run_batched_bench(model, pool_, options);
    EXPECT_TRUE(report.ok());
    return report->rows.back();
  }

  static BatchedBenchOptions small() {
    BatchedBenchOptions options;
    options.prompt_tokens = {9};
    options.decode_tokens = {4};
    options.batch_sizes = {5};
    options.max_chunk_rows = 7;  // chunks that end within a sequence
    options.kv_types = KvType::F32;
    options.show_progress = false;
    return options;
  }

  ThreadPool pool_{2, false};
  std::unique_ptr<Model> model_;
};

// Row invariance makes a row choose the same experts by itself as in the batch, so the union of a
// step is that of its rows, each run alone.
TEST_F(BatchedBench, TheUnionIsThatOfTheRowsRunAlone) {
  RecordingModel recording(*model_);
  const BatchedBenchRow row = run(recording, small());
  auto cache = model_->make_cache({recording.n_slots, KvType::F32});
  ASSERT_TRUE(cache.ok());
  std::vector<uint32_t> log;
  const uint32_t k = model_->info().n_active_experts;
  uint64_t n_experts = 0;
  uint64_t n_layers = 0;
  // The last four forwards are the counted round's decode steps.
  for (size_t i = 0; i < recording.steps.size(); ++i) {
    const RecordingModel::Step& step = recording.steps[i];
    std::vector<std::set<uint32_t>> chosen;
    for (ForwardRow one : step.rows) {
      const SequenceSlots sequence{step.slots[one.sequence]};
      one.sequence = 0;
      log.clear();
      model_->forward({{&one, 1}, {&sequence, 1}, **cache, 0, &log}).value();
      ASSERT_EQ(log.size() % k, 0u);
      chosen.resize(log.size() / k);
      for (size_t j = 0; j < log.size(); ++j) chosen[j / k].insert(log[j]);
    }
    if (i + 4 < recording.steps.size()) continue;
    ASSERT_EQ(step.rows.size(), 5u);
    for (const std::set<uint32_t>& layer : chosen) n_experts += layer.size();
    n_layers += chosen.size();
  }
  ASSERT_GT(n_layers, 0u);
  EXPECT_EQ(row.decode_ledger.experts_union, n_experts);
  EXPECT_EQ(row.decode_ledger.n_moe_layers, n_layers);
  EXPECT_GT(n_experts, n_layers * k) << "different prompts choose different experts";
}

TEST_F(BatchedBench, SamePromptsChooseTheSameExperts) {
  BatchedBenchOptions options = small();
  options.same = true;
  EXPECT_EQ(run(*model_, options).decode_ledger.mean_union(), model_->info().n_active_experts);
}

TEST_F(BatchedBench, ASharedPromptIsPrefilledOnceAndContinuedInManyWays) {
  BatchedBenchOptions options = small();
  options.shared_prompt = true;
  RecordingModel recording(*model_);
  const BatchedBenchRow row = run(recording, options);
  EXPECT_EQ(row.n_prefilled(), 9u);
  EXPECT_EQ(row.n_kv(), 9u + 5 * 4);
  const RecordingModel::Step& first = recording.steps[recording.steps.size() - 4];
  std::set<int32_t> tokens;
  for (const ForwardRow& decoded : first.rows) tokens.insert(decoded.token);
  EXPECT_EQ(tokens.size(), 5u);
  std::set<uint32_t> own;
  for (const std::vector<uint32_t>& slots : first.slots) {
    EXPECT_TRUE(std::equal(slots.begin(), slots.begin() + 9, first.slots[0].begin()));
    own.insert(slots.begin() + 9, slots.end());
  }
  EXPECT_EQ(own.size(), 5u * 4) << "decoded tokens have slots of their own";
}

// What decode continues with is what the same sequence alone would say.
TEST_F(BatchedBench, SequencesDoNotSeeEachOther) {
  BatchedBenchOptions options = small();
  RecordingModel batched(*model_);
  run(batched, options);
  options.batch_sizes = {1};
  RecordingModel alone(*model_);
  run(alone, options);
  for (size_t i = 1; i <= 4; ++i) {
    const ForwardRow& together = batched.steps[batched.steps.size() - i].rows[0];
    const ForwardRow& single = alone.steps[alone.steps.size() - i].rows[0];
    EXPECT_EQ(together.token, single.token);
    EXPECT_EQ(together.position, single.position);
  }
}

TEST_F(BatchedBench, FormatsCarryLlamaCppsColumnsAndOurs) {
  BatchedBenchOptions options = small();
  options.batch_sizes = {1, 2};
  const auto report = run_batched_bench(*model_, pool_, options);
  ASSERT_TRUE(report.ok());
  const Subject subject{model_->info(), "m.gguf", KvType::F32, 7, 2};
  const auto json = parse_json(format_batched_bench(*report, subject, "json"));
  ASSERT_TRUE(json.ok());
  ASSERT_EQ(json->size(), 2u);
  for (const char* key :
       {"is_pp_shared", "n_threads", "pp", "tg", "pl", "n_kv", "t_pp", "speed_pp", "t_tg",
        "speed_tg", "t", "speed", "union", "gb_s", "pct_floor", "model_filename", "isa"}) {
    EXPECT_TRUE((*json)[0].contains(key)) << key;
  }
  EXPECT_EQ((*json)[1]["n_kv"], 2 * (9 + 4));
  const std::string md = format_batched_bench(*report, subject, "md");
  EXPECT_EQ(std::count(md.begin(), md.end(), '\n'), 4);
  EXPECT_NE(md.find("T_TG s | S_TG t/s"), md.npos);
}

TEST_F(BatchedBench, MoreThanTheContextIsAUsageError) {
  BatchedBenchOptions options = small();
  options.prompt_tokens = {model_->info().context_length};
  const auto report = run_batched_bench(*model_, pool_, options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::usage);
}

TEST(BatchPrompts, RandomTokensDifferFromSequenceToSequence) {
  const auto prompts = batch_prompts({}, 3, 100, 50000);
  ASSERT_EQ(prompts.size(), 3u);
  EXPECT_NE(prompts[0], prompts[1]);
  EXPECT_NE(prompts[1], prompts[2]);
  BatchedBenchOptions same;
  same.same = true;
  const auto equal = batch_prompts(same, 3, 100, 50000);
  EXPECT_EQ(equal[0], prompts[0]);
  EXPECT_EQ(equal[2], equal[0]);
}

TEST(BatchPrompts, GivenPromptsAreCutContinuedAndUsedInTurn) {
  BatchedBenchOptions options;
  options.prompts = {{1, 2, 3, 4, 5, 6}, {7, 8}};
  const auto prompts = batch_prompts(options, 3, 5, 100);
  EXPECT_EQ(prompts[0], (std::vector<int32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(prompts[1], (std::vector<int32_t>{7, 8, 1, 2, 3}));
  EXPECT_EQ(prompts[2], prompts[0]);
}

}  // namespace
}  // namespace floe

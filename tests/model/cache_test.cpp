// A cache behind the model's door: blocks that leave it and come back, and when that is allowed.
#include <gtest/gtest.h>

#include "kv/kv_cache.h"
#include "model/harness.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

class Cache : public testing::Test {
 protected:
  LoadedModel load(const TinyModel& model, RunSetup setup = {}) {
    setup.n_slots = 128;
    auto loaded = LoadedModel::load(folder_.write("model.gguf", model.bytes()), setup);
    if (!loaded.ok()) ADD_FAILURE() << loaded.error().message;
    return loaded.ok() ? std::move(loaded).value() : LoadedModel();
  }
  uint64_t fingerprint(const TinyModel& model, KvTypes types = KvType::F16, RunSetup setup = {}) {
    return load(model, setup).model->cache_fingerprint(types);
  }

  ScratchFolder folder_;
};

// Slots [first, first + 64): two blocks and the positions behind them.
std::vector<uint32_t> slots_from(uint32_t first) {
  std::vector<uint32_t> slots(64);
  for (uint32_t i = 0; i < slots.size(); ++i) slots[i] = first + i;
  return slots;
}

// What one process wrote to disk and another reads: the rows behind the blocks are those of a
// sequence that was never interrupted.
TEST_F(Cache, BlocksGoOnInAnotherProcessesCache) {
  const std::vector<int32_t> tokens = tiny_tokens(48, 4);
  for (const auto& [name, model] : all_tiny_models()) {
    for (const KvTypes types : {KvTypes(KvType::F16), KvTypes(KvType::Q8_0, KvType::F32)}) {
      RunSetup setup;
      setup.kv_types = types;
      LoadedModel first = load(model, setup);
      const Rows whole = run_tokens(first, slots_from(0), tokens, 0, 16);

      setup.slot_seed = 3;  // the cache is full of NaN
      setup.n_threads = 2;
      LoadedModel second = load(model, setup);
      ASSERT_EQ(first.model->cache_fingerprint(types), second.model->cache_fingerprint(types));
      ASSERT_EQ(first.cache->block_bytes(), second.cache->block_bytes());
      std::vector<std::byte> bytes(first.cache->block_bytes());
      EXPECT_TRUE(first.cache->read_block(0, bytes).ok());
      EXPECT_TRUE(second.cache->write_block(2, bytes).ok());
      const Rows rest = run_tokens(second, slots_from(64), std::span(tokens).subspan(32), 32, 16);
      for (uint32_t i = 0; i < rest.n_rows(); ++i) {
        const auto there = rest.row(i);
        const auto here = whole.row(32 + i);
        EXPECT_TRUE(std::equal(there.begin(), there.end(), here.begin())) << name << ", row " << i;
      }
    }
  }
}

TEST_F(Cache, AFingerprintTellsApartWhatLeavesOtherBytes) {
  const uint64_t original = fingerprint(tiny_qwen3moe());
  RunSetup threads;
  threads.n_threads = 3;
  EXPECT_EQ(fingerprint(tiny_qwen3moe(), KvType::F16, threads), original);
  TinyModel renamed = tiny_qwen3moe();
  renamed.set("general.name", std::string("another name"));
  EXPECT_EQ(fingerprint(renamed), original);

  struct Case {
    const char* name;
    TinyModel model;
    KvTypes types;
  };
  std::vector<Case> cases;
  cases.push_back({"types", tiny_qwen3moe(), KvType::F32});
  cases.push_back({"type of values", tiny_qwen3moe(), KvTypes(KvType::F16, KvType::Q8_0)});
  cases.push_back({"one weight", tiny_qwen3moe(), KvType::F16});
  cases.back().model.find("blk.1.attn_k.weight")->values().back() += 0.125f;
  cases.push_back({"one norm", tiny_qwen3moe(), KvType::F16});
  cases.back().model.find("output_norm.weight")->values().back() += 0.125f;
  cases.push_back({"a hyperparameter", tiny_qwen3moe(), KvType::F16});
  cases.back().model.set("rope.freq_base", 5000.0f);
  cases.push_back({"another family", tiny_llama_moe(), KvType::F16});
  for (const Case& c : cases) EXPECT_NE(fingerprint(c.model, c.types), original) << c.name;
}

}  // namespace
}  // namespace floe::test

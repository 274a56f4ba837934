#pragma once
// What the model tests share: a loaded model with a cache, sequences with scattered slots, and the
// golden cases.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "model/logits_hash.h"
#include "model/model.h"

namespace floe::test {

struct RunSetup {
  uint32_t n_threads = 1;
  KvTypes kv_types = KvType::F32;
  const KernelTable* kernels = nullptr;
  std::string mtp_path;
  uint32_t n_slots = 256;
  uint32_t max_context = 64;
  uint32_t max_rows = 64;
  std::optional<TapLayers> tap_layers = std::nullopt;
  uint64_t slot_seed = 0;  // 0: slots in order; otherwise a random permutation of a poisoned cache
};

// A model ready to run. Slots are taken from one list, so sequences never share one.
struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Model> model;
  std::unique_ptr<KvCache> cache;
  std::vector<uint32_t> free_slots;

  static Result<LoadedModel> load(const std::string& path, const RunSetup& setup);
  std::vector<uint32_t> take_slots(uint32_t n);
};

// The hash of rows of logits, f32 [n_rows][n_vocab].
inline uint64_t hash_logits(const float* logits, size_t n_rows, size_t n_vocab) {
  LogitsHash hash;
  hash.add(logits, n_rows, n_vocab);
  return hash.value();
}

// Logits [n_rows][n_vocab] and hidden states of a run.
struct Rows {
  uint32_t n_vocab = 0;
  uint32_t hidden_dim = 0;
  std::vector<float> logits;
  std::vector<float> hidden;

  uint32_t n_rows() const {
    return n_vocab == 0 ? 0 : static_cast<uint32_t>(logits.size() / n_vocab);
  }
  std::span<const float> row(size_t i) const { return {logits.data() + i * n_vocab, n_vocab}; }
  uint64_t hash() const { return hash_logits(logits.data(), n_rows(), n_vocab); }
};

uint32_t argmax(std::span<const float> row);

// Feeds tokens at positions first.. in chunks, every row wanting logits.
Rows run_tokens(LoadedModel& loaded, std::span<const uint32_t> slots,
                std::span<const int32_t> tokens, uint32_t first, uint32_t chunk);
// The MTP layer over tokens at positions 0.., row i reading hidden row i of [tokens][hidden_dim].
Rows run_mtp(LoadedModel& loaded, std::span<const uint32_t> slots, std::span<const int32_t> tokens,
             std::span<const float> hidden, uint32_t chunk);
// n greedy tokens after the prompt's last row of logits.
std::vector<int32_t> run_greedy(LoadedModel& loaded, std::span<const uint32_t> slots,
                                std::span<const float> last_logits, uint32_t position, uint32_t n);

// One row of golden/index.json whose architecture and weight formats floe supports.
struct GoldenCase {
  std::string name;
  std::string architecture;
  std::string kind;  // "f32" or "quant"
  std::string model_path;
  std::string json_path;
  bool mtp = false;
  bool plain_floats = false;  // only F32, F16 and BF16 weights
};
// The cases in golden_directories() (repo_path.h) whose family and formats floe reads.
std::vector<GoldenCase> golden_cases();
std::string golden_name(const testing::TestParamInfo<GoldenCase>& info);
Json load_json(const std::string& path);
inline void PrintTo(const GoldenCase& c, std::ostream* out) {
  *out << c.name;
}

// KL(p || q) of two rows of logits, in nats.
double divergence(std::span<const float> p, std::span<const float> q);

}  // namespace floe::test

#pragma once
// A model whose answers are known in closed form and whose cache accuses: each slot holds the hash
// of the tokens up to its position, and every forward reads back all slots before its rows. A
// stale, foreign, moved or half-written slot is a violation, not a slightly different output.
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kv/host_cache.h"
#include "model/model.h"

namespace floe {

// Time that stands still unless somebody moves it. Readable from any thread.
class VirtualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_ns_.load(std::memory_order_relaxed); }
  void advance(int64_t delta_ns) { now_ns_.fetch_add(delta_ns, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> now_ns_{1};
};

struct FakeModelOptions {
  uint32_t n_vocab = 64;
  uint32_t context_length = 4096;
  // A prompt that starts with this token belongs to a request whose logits may be NaN; -1: none.
  int32_t nan_marker = -1;
  uint32_t nan_one_in = 8;   // of such a request's rows
  uint64_t state_bytes = 0;  // that the cache keeps of a sequence
  // What a device says that fails in the forward of a batch; it has scribbled over the rows' slots
  // then. Nothing: it does not fail.
  std::function<std::optional<Error>(const ForwardBatch& batch)> failure;
  // Runs after each forward with its number of rows: moves a virtual clock, or sleeps.
  std::function<void(size_t n_rows)> after_forward;
};

class FakeModel final : public Model {
 public:
  explicit FakeModel(FakeModelOptions options = {});

  const ModelInfo& info() const override { return info_; }
  KvCacheBytes cache_bytes(KvTypes types) const override;
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override;
  uint64_t cache_fingerprint(KvTypes) const override { return 0; }
  Result<void> reserve(const ForwardLimits& limits) override;
  Result<ForwardOutput> forward(const ForwardBatch& batch) override;
  Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float* hidden) override;
  void embed(int32_t, float*) const override {}
  std::span<const std::byte> weights() const override { return {}; }

  // The first broken promise of a caller, empty while there is none.
  const std::string& violation() const { return violation_; }
  uint64_t n_rows() const { return n_rows_; }

  // Closed form. start(first prompt token), then next(state, token) for each token; logits of the
  // row whose token came last.
  struct State {
    uint64_t hash = 0;
    bool may_be_nan = false;
  };
  State next(State state, int32_t token, uint32_t position) const;
  void logits(const State& state, std::span<float> out) const;  // f32 [n_vocab]
  static float hidden(const State& state) { return static_cast<float>(state.hash >> 40); }
  int32_t greedy_token(const State& state) const;
  bool row_is_nan(const State& state) const;

 private:
  struct Slot {
    uint64_t hash;
    uint32_t position;
    int32_t token;
    uint64_t checksum;
  };
  // Where the verified prefix of a sequence ends within a batch.
  struct Prefix {
    State state;
    uint32_t n_positions = 0;
  };
  static uint64_t checksum(const Slot& slot);
  KvLayerSpec layer() const;
  void violate(std::string what);

  FakeModelOptions options_;
  ModelInfo info_;
  ForwardLimits limits_;
  std::vector<float> logits_;
  std::vector<float> hidden_;  // [max_rows][1]
  std::vector<Prefix> prefixes_;
  std::string violation_;
  uint64_t n_rows_ = 0;
};

}  // namespace floe

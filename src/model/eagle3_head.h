#pragma once
// An EAGLE-3 head (arXiv 2503.01840): one layer that guesses the trunk's next tokens from three of
// its hidden states. It is read from the folder that published heads come in: config.json and
// model.safetensors, single or in shards.
//
//   features(p) = fc [tap_0(p) ; tap_1(p) ; tap_2(p)]    of a position that the trunk has computed
//
//   x      = [rms(embedding(token of p + 1)) ; rms(features(p))]
//
//   h      = features(p) + attention(x)    norm_before_residual: rms(features(p)) + attention(x)
//
//   out(p) = h + ffn(rms(h))
//
//   logits(p) = lm_head rms(out(p))        of the token of p + 2
//
// and in a chain out(p) stands for features(p + 1). A row's position is that of its features.
// lm_head knows only a part of the vocabulary; what it does not know is never guessed.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "kv/kv_cache.h"
#include "model/model.h"

namespace floe {

struct Network;
struct Pass;
struct Workspace;

struct Eagle3Options {
  // Keep matrices as Q4_0 where their rows are whole blocks. Every guess then reads a quarter of
  // the bytes, which gains more speed than the few guesses cost that a rounded head gets wrong.
  bool quantize = true;
  const KernelTable* kernels = nullptr;  // nullptr: the table chosen for this machine
};

class Eagle3Head {
 public:
  ~Eagle3Head();

  // The logit of a token that lm_head does not know.
  static constexpr float kUnknownLogit = -1e30f;

  // Checks the head against the trunk, which embeds the head's tokens and outlives it, as the pool
  // does. Errors of ErrorKind::model name the file, the field or tensor, the expected and the
  // found.
  static Result<std::unique_ptr<Eagle3Head>> load(const std::string& folder, const Model& trunk,
                                                  const Eagle3Options& options, ThreadPool& pool);

  // What the trunk must be reserved with.
  const TapLayers& tap_layers() const { return tap_layers_; }
  uint32_t hidden_dim() const;
  uint32_t taps_dim() const;                     // kTaps * hidden_dim of the trunk
  uint32_t n_vocab() const { return n_vocab_; }  // the trunk's
  uint32_t n_draft_vocab() const { return static_cast<uint32_t>(target_ids_.size()); }  // lm_head's
  uint64_t weight_bytes() const { return weights_.size_bytes(); }                       // packed
  // As of a Model; nothing is kept but by slots.
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits);

  Result<void> reserve(const ForwardLimits& limits);

  enum class Features : uint8_t {
    taps,  // f32 [n_rows][taps_dim], of the trunk
    own,   // f32 [n_rows][hidden_dim], as output.hidden of the rows before
  };
  // A row's token is the one behind its position. Rows that want no logits are cached and no more.
  // output.logits f32 [n_logit_rows][n_vocab], output.hidden f32 [n_logit_rows][hidden_dim] before
  // the norm. Valid until the next forward.
  ForwardOutput forward(const ForwardBatch& batch, const float* features, Features kind);

 private:
  friend struct Eagle3Loader;
  Eagle3Head(const Model& trunk, ThreadPool& pool, const KernelTable& kernels);
  // walk(pass) on every worker.
  template <typename Walk>
  void run(const ForwardBatch& batch, ByteLedger* ledger, const Walk& walk);
  Stage fuse(Pass& pass, const float* features, Features kind);
  void cache_rows(Pass& pass, Stages fused);
  void finish(Pass& pass, Stages fused, uint32_t n_logit_rows);
  void join_row(Pass& pass, uint32_t row);

  const Model& trunk_;
  ThreadPool& pool_;
  const KernelTable& kernels_;
  std::unique_ptr<Network> network_;
  HugeBuffer weights_;
  TapLayers tap_layers_{};
  uint32_t n_vocab_ = 0;
  std::vector<uint32_t> target_ids_;  // [n_draft_vocab], in the trunk's vocabulary
  std::unique_ptr<Workspace> ws_;     // once reserved
  HugeBuffer logits_;                 // f32 [max_logit_rows][n_vocab]
};

}  // namespace floe

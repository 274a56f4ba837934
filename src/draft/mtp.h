#pragma once
// Self-speculation: the draft head that a model was trained with (multi-token prediction).
//
// The head is one layer behind the trunk. Its row at position p takes the token of p and the
// trunk's hidden state of p - 1 and predicts the token of p + 1; in a chain it takes the hidden
// state that it gave itself. Where the hidden state is not at hand (position 0, and the first
// position behind a shared prefix) it is zeros. The head works in the trunk's workspace and caches
// in the trunk's cache, whose slots have room for what the head keeps of a token.
#include <memory>
#include <utility>

#include "draft/layer_drafter.h"
#include "kv/kv_cache.h"

namespace floe {

class MtpDrafter final : public LayerDrafter {
 public:
  // n_vocab: only the first n_vocab tokens are guessed, and only their rows of the lm_head read; 0:
  // all. The ids of a BPE vocabulary are roughly in the order of frequency. trunk has room for
  // forwards of max_step_rows rows, max_sequences of them with logits. ErrorKind::model: it has no
  // draft head.
  static Result<std::unique_ptr<Drafter>> create(Model& trunk, KvCache& cache,
                                                 const DraftLimits& limits, uint32_t n_vocab);

  DrafterKind kind() const override { return {DraftSource::mtp, true}; }

 private:
  MtpDrafter(Model& trunk, KvCache& cache, const DraftLimits& limits, uint32_t n_vocab,
             HugeBuffer memory)
      : LayerDrafter(limits, features(trunk), cache, n_vocab, std::move(memory)), trunk_(trunk) {}
  static RowFeatures features(const Model& trunk) {
    return {trunk.info().hidden_dim, trunk.info().hidden_dim};
  }
  Result<ForwardOutput> forward(const ForwardBatch& batch, const float* hidden,
                                bool chained) override;
  bool shares_head() const override { return true; }

  Model& trunk_;
};

}  // namespace floe

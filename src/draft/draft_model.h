#pragma once
// A smaller model of the same vocabulary as drafter. It has a cache of its own with the trunk's
// slot numbers, so the trunk's block tables serve both.
#include <memory>
#include <utility>

#include "draft/layer_drafter.h"
#include "kv/kv_cache.h"

namespace floe {

class ModelDrafter final : public LayerDrafter {
 public:
  // Reserves model's workspace; it outlives the drafter, and nobody else runs it. n_slots: of the
  // trunk's cache. Goes on from what another drafter began: its guesses are tokens like any other.
  // ErrorKind::model where the vocabularies differ in size (whether they hold the same tokens is
  // expect_same_tokens() tells, text/vocabulary.h); ErrorKind::memory with the bytes needed.
  static Result<std::unique_ptr<Drafter>> create(Model& model, const Model& trunk, uint32_t n_slots,
                                                 const DraftLimits& limits);

  DrafterKind kind() const override { return {DraftSource::draft_model, true}; }

 private:
  ModelDrafter(Model& model, std::unique_ptr<KvCache> cache, const DraftLimits& limits)
      : LayerDrafter(limits, {}, *cache, model.info().n_vocab, {}),
        model_(model),
        cache_(std::move(cache)) {}
  Result<ForwardOutput> forward(const ForwardBatch& batch, const float*, bool) override {
    return model_.forward(batch);
  }

  Model& model_;
  std::unique_ptr<KvCache> cache_;
};

}  // namespace floe

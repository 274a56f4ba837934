#pragma once
// Speculation with an EAGLE-3 head (model/eagle3_head.h), which has a file of its own and reads
// hidden states of three trunk layers: the trunk is reserved with the head's tap_layers().
//
// As in the trunk a row at position p takes the token of p, and with it what the trunk computed at
// p - 1: it caches at p's slot, and what it caches depends on no later token. The head counts
// positions from there, so its row 0 is the one at position 1. Behind a shared prefix, whose last
// hidden states nobody kept, they are zeros.
#include <memory>
#include <utility>
#include <vector>

#include "draft/layer_drafter.h"
#include "kv/kv_cache.h"
#include "model/eagle3_head.h"

namespace floe {

class Eagle3Drafter final : public LayerDrafter {
 public:
  // Reserves the head. n_slots: of the trunk's cache, whose slot numbers this drafter's own cache
  // shares. The head outlives the drafter.
  static Result<std::unique_ptr<Drafter>> create(Eagle3Head& head, uint32_t n_slots,
                                                 const DraftLimits& limits);

  DrafterKind kind() const override { return {DraftSource::eagle3, true}; }

 private:
  Eagle3Drafter(Eagle3Head& head, std::unique_ptr<KvCache> cache, const DraftLimits& limits,
                HugeBuffer memory);
  const float* features_of(const SequenceRows& rows) const override;
  Result<ForwardOutput> forward(const ForwardBatch& batch, const float* hidden,
                                bool chained) override;

  Eagle3Head& head_;
  std::unique_ptr<KvCache> cache_;
  std::vector<ForwardRow> rows_;  // of a batch, as the head counts positions
  std::vector<SequenceSlots> slots_;
};

}  // namespace floe

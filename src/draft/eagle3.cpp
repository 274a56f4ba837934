#include "draft/eagle3.h"

namespace floe {

Result<std::unique_ptr<Drafter>> Eagle3Drafter::create(Eagle3Head& head, uint32_t n_slots,
                                                       const DraftLimits& limits) {
  ForwardLimits forward_limits;
  forward_limits.max_rows = limits.max_step_rows;
  forward_limits.max_logit_rows = limits.max_sequences;
  forward_limits.max_context = limits.max_context;
  FLOE_TRY_VOID(head.reserve(forward_limits));
  FLOE_TRY(std::unique_ptr<KvCache> cache, head.make_cache({n_slots, limits.kv_types}));
  const RowFeatures features{head.taps_dim(), head.hidden_dim(), 1};
  FLOE_TRY(HugeBuffer memory, HugeBuffer::allocate(memory_bytes(limits, features)));
  return std::unique_ptr<Drafter>(
      new Eagle3Drafter(head, std::move(cache), limits, std::move(memory)));
}

Eagle3Drafter::Eagle3Drafter(Eagle3Head& head, std::unique_ptr<KvCache> cache,
                             const DraftLimits& limits, HugeBuffer memory)
    : LayerDrafter(limits, {head.taps_dim(), head.hidden_dim(), 1}, *cache, head.n_vocab(),
                   std::move(memory)),
      head_(head),
      cache_(std::move(cache)) {
  rows_.reserve(limits.max_step_rows);
  slots_.reserve(limits.max_sequences);
}

const float* Eagle3Drafter::features_of(const SequenceRows& rows) const {
  FLOE_CHECK(rows.taps != nullptr);  // the trunk was reserved without tap_layers
  return rows.taps;
}

Result<ForwardOutput> Eagle3Drafter::forward(const ForwardBatch& batch, const float* hidden,
                                             bool chained) {
  rows_.assign(batch.rows.begin(), batch.rows.end());
  for (ForwardRow& row : rows_) --row.position;
  slots_.assign(batch.sequences.begin(), batch.sequences.end());
  for (SequenceSlots& sequence : slots_) sequence.slots = sequence.slots.subspan(1);
  return head_.forward({rows_, slots_, batch.cache}, hidden,
                       chained ? Eagle3Head::Features::own : Eagle3Head::Features::taps);
}

}  // namespace floe

#include "draft/draft_model.h"

namespace floe {

Result<std::unique_ptr<Drafter>> ModelDrafter::create(Model& model, const Model& trunk,
                                                      uint32_t n_slots, const DraftLimits& limits) {
  if (model.info().n_vocab != trunk.info().n_vocab) {
    return model_error("{}: vocabulary: expected {} tokens as {} has, found {}", model.info().name,
                       trunk.info().n_vocab, trunk.info().name, model.info().n_vocab);
  }
  ForwardLimits forward_limits;
  forward_limits.max_rows = limits.max_step_rows;
  forward_limits.max_logit_rows = limits.max_sequences;
  forward_limits.max_context = limits.max_context;
  FLOE_TRY_VOID(model.reserve(forward_limits));
  if (model.cache_bytes(limits.kv_types).per_state != 0) {
    return model_error(
        "{}: expected a draft model without recurrent layers, which take no guess back",
        model.info().name);
  }
  FLOE_TRY(std::unique_ptr<KvCache> cache, model.make_cache({n_slots, limits.kv_types}));
  return std::unique_ptr<Drafter>(new ModelDrafter(model, std::move(cache), limits));
}

}  // namespace floe

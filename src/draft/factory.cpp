#include "draft/factory.h"

#include "draft/draft_model.h"
#include "draft/eagle3.h"
#include "draft/mtp.h"
#include "draft/prompt_lookup.h"

namespace floe {

Result<std::unique_ptr<Drafter>> make_drafter(const DrafterSetup& choice, Model& trunk,
                                              KvCache& cache, const DraftLimits& limits) {
  switch (choice.source) {
    case DraftSource::prompt_lookup:
    case DraftSource::prediction:
      return std::unique_ptr<Drafter>(std::make_unique<PromptLookup>(limits.max_context));
    case DraftSource::mtp:
      return MtpDrafter::create(trunk, cache, limits, choice.mtp_vocab);
    case DraftSource::draft_model:
      if (choice.draft_model == nullptr) return usage_error("no draft model is loaded");
      return ModelDrafter::create(*choice.draft_model, trunk, cache.n_slots(), limits);
    case DraftSource::eagle3:
      if (choice.eagle3 == nullptr) return usage_error("no EAGLE-3 head is loaded");
      return Eagle3Drafter::create(*choice.eagle3, cache.n_slots(), limits);
  }
  return usage_error("no such drafter");
}

}  // namespace floe

#include "draft/factory.h"

#include "draft/prompt_lookup.h"

namespace floe {

Result<std::unique_ptr<Drafter>> make_drafter(const DrafterChoice& choice, Model& trunk,
                                              KvCache& cache, const DraftLimits& limits) {
  static_cast<void>(trunk);
  static_cast<void>(cache);
  if (choice.source == DraftSource::prompt_lookup) {
    return std::unique_ptr<Drafter>(std::make_unique<PromptLookup>(limits.max_context));
  }
  return usage_error("no drafter '{}'", to_string(choice.source));
}

}  // namespace floe

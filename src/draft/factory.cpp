#include "draft/factory.h"

namespace floe {

Result<std::unique_ptr<Drafter>> make_drafter(const DrafterChoice& choice, Model& trunk,
                                              KvCache& cache, const DraftLimits& limits) {
  static_cast<void>(trunk);
  static_cast<void>(cache);
  static_cast<void>(limits);
  return usage_error("no drafter '{}'", to_string(choice.source));
}

}  // namespace floe

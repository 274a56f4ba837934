#include "draft/mtp.h"

#include <algorithm>
#include <utility>

namespace floe {

Result<std::unique_ptr<Drafter>> MtpDrafter::create(Model& trunk, KvCache& cache,
                                                    const DraftLimits& limits, uint32_t n_vocab) {
  const ModelInfo& info = trunk.info();
  if (!info.has_mtp) {
    return model_error("{}: expected a model with a draft head (nextn tensors), found none",
                       info.name);
  }
  n_vocab = n_vocab == 0 ? info.n_vocab : std::min(n_vocab, info.n_vocab);
  FLOE_TRY(HugeBuffer memory, HugeBuffer::allocate(memory_bytes(limits, features(trunk))));
  return std::unique_ptr<Drafter>(new MtpDrafter(trunk, cache, limits, n_vocab, std::move(memory)));
}

Result<ForwardOutput> MtpDrafter::forward(const ForwardBatch& batch, const float* hidden, bool) {
  return trunk_.forward_mtp(batch, hidden);
}

}  // namespace floe

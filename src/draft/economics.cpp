#include "draft/economics.h"

#include <algorithm>

namespace floe {

class Economics::Impl {
 public:
  explicit Impl(const SpecPolicy& policy) : policy_(policy) {}
  const SpecPolicy policy_;
};

Economics::Economics(const SpecPolicy& policy, const ModelInfo&)
    : impl_(std::make_unique<Impl>(policy)) {}
Economics::~Economics() = default;

void Economics::begin(SequenceId) {}
void Economics::end(SequenceId) {}

uint32_t Economics::tokens_to_ask(SequenceId, DraftSource, bool, uint32_t n_drafted) {
  const uint32_t n_wanted = impl_->policy_.mode == SpecMode::fixed ? impl_->policy_.n_fixed : 0;
  return n_wanted - std::min(n_drafted, n_wanted);
}

void Economics::allocate(std::span<SpecCandidate> candidates, const StepShape& shape) {
  uint32_t n_left = shape.max_draft_rows;
  for (SpecCandidate& candidate : candidates) {
    candidate.n_verify = 0;
    if (impl_->policy_.mode != SpecMode::fixed) continue;
    candidate.n_verify =
        std::min({static_cast<uint32_t>(candidate.draft.size()), impl_->policy_.n_fixed, n_left});
    n_left -= candidate.n_verify;
  }
}

void Economics::observe(std::span<const SpecOutcome>, const StepMeasure&) {}

SpecDecision Economics::decision(SequenceId) const {
  return {};
}

}  // namespace floe

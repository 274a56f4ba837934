#include "draft/batch_rows.h"

#include <algorithm>

namespace floe {

// Probability that rows of one sequence choose an expert not at all.
double BatchRows::missed_by(uint32_t n_rows) const {
  if (router_->n_experts() == 0) return 1;
  constexpr double kLeast = 1e-9;  // it is divided by
  const double share =
      router_->union_of(std::min(n_rows, RouterHistory::kMaxRows)) / router_->n_experts();
  return std::max(kLeast, 1 - share);
}

void BatchRows::reset(uint32_t n_sequences) {
  rows_.assign(n_sequences, 1);
  n_rows_ = n_sequences;
  none_ = 1;
  for (uint32_t s = 0; s < n_sequences; ++s) none_ *= missed_by(1);
}

void BatchRows::add(uint32_t index) {
  uint32_t& n = rows_[index];
  none_ *= missed_by(n + 1) / missed_by(n);
  ++n;
  ++n_rows_;
}

}  // namespace floe

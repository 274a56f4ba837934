#pragma once
// The rows that the sequences of a batch have in a forward, and how many routed experts those read.
#include <cstdint>
#include <vector>

#include "draft/reuse.h"

namespace floe {

class BatchRows {
 public:
  explicit BatchRows(const RouterHistory& router) : router_(&router) {}
  void reserve(uint32_t n_sequences) { rows_.reserve(n_sequences); }

  // One row of each sequence.
  void reset(uint32_t n_sequences);
  void add(uint32_t index);  // one row more of a sequence
  uint32_t n_sequences() const { return static_cast<uint32_t>(rows_.size()); }
  uint32_t n_rows() const { return n_rows_; }
  // Predicted, per MoE layer.
  double experts_union() const { return router_->union_of_batch(none_, rows_.size() > 1); }
  // Probability that no sequence chooses a certain expert, taken as independent.
  double none_chosen() const { return none_; }

 private:
  double missed_by(uint32_t n_rows) const;

  const RouterHistory* router_;
  std::vector<uint32_t> rows_;  // of each sequence
  uint32_t n_rows_ = 0;
  double none_ = 1;
};

}  // namespace floe

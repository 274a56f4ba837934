#pragma once
// Which guesses become rows: those that bring the most tokens per second.
//
// The time of a forward depends on how many rows it has and hardly on whose they are, so the best n
// guesses of a batch are the n most likely ones. Sorted once and tried for every n, they give
//   the n with the most (B + sum of the chances) / t(B + n)
// which is exact also where the first rows do not pay and many do: experts that all have been read
// cost nothing more.
#include <cstdint>
#include <span>
#include <vector>

#include "draft/loss_account.h"
#include "draft/reuse.h"
#include "draft/step_cost.h"

namespace floe {

struct Chance {
  double reach = 0;       // probability that this guess and all before it in its draft are right
  uint32_t sequence = 0;  // index
};

// The sequences' rows of a forward, with what they read.
class BatchRows {
 public:
  explicit BatchRows(const RouterHistory& router) : router_(&router) {}
  void reserve(uint32_t n_sequences) { rows_.reserve(n_sequences); }

  void reset(uint32_t n_sequences);
  void add(uint32_t sequence);  // one row more
  uint32_t n_sequences() const { return static_cast<uint32_t>(rows_.size()); }
  uint32_t n_rows() const { return n_rows_; }
  // Experts per MoE layer.
  double experts_union() const { return router_->union_of_batch(none_, rows_.size() > 1); }
  // Probability that no sequence chooses a certain expert, taken as independent.
  double none_chosen() const { return none_; }

 private:
  double missed_by(uint32_t n_rows) const;

  const RouterHistory* router_;
  std::vector<uint32_t> rows_;
  uint32_t n_rows_ = 0;
  double none_ = 1;
};

struct ChoiceCosts {
  double seconds_sunk = 0;       // of guessing, whatever is chosen
  double seconds_per_guess = 0;  // of guessing, for each that is chosen
  double min_gain = 1;           // over tokens per second without guesses
};

struct Choice {
  uint32_t n_chosen = 0;    // from the head of the list
  double seconds = 0;       // of the forward
  bool is_refused = false;  // more would be chosen if the account covered it
};

// chances: by falling reach. rows: reset; holds the chosen ones afterwards.
Choice choose_guesses(std::span<const Chance> chances, const StepCost& cost,
                      const StepCost::Basis& basis, const ChoiceCosts& costs,
                      const LossAccount& account, BatchRows& rows);

}  // namespace floe

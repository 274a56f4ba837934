#pragma once
// Whether a drafter with layers of its own is kept warm: its keys and values are computed for every
// token that stays, which takes time whether or not anybody asks it for guesses.
//
// The account counts tokens, as plain steps of the batch make them:
//   balance += tokens that its guesses brought - tokens that plain steps make in the time it took
// When the balance falls below zero, the drafter is dropped for the sequences that do not use it,
// and begins again with half the budget, unless it earns back what it had. Dropped with the least
// budget, it is left out of every second new sequence, then of ever more of them. The unit is
// tokens, not steps: the more sequences decode, the sooner it shows what guesses are worth.
#include <algorithm>
#include <cstdint>

namespace floe {

class KeepWarm {
 public:
  // A sequence begins. False: it does without the drafter.
  bool takes_part() {
    if (++n_without_ < interval_) return false;
    n_without_ = 0;
    return true;
  }

  // After a step. True: the drafter is dropped for the sequences that do not use it.
  bool charge(uint32_t n_brought, double n_taken) {
    balance_ += n_brought - n_taken;
    if (n_brought != 0 && balance_ >= budget_) *this = {};
    if (balance_ >= 0) return false;
    if (budget_ == kLeast) interval_ = std::min(2 * interval_, kMaxInterval);
    budget_ = std::max(budget_ / 2, kLeast);
    balance_ = budget_;
    return true;
  }

 private:
  static constexpr double kMost = 4;
  static constexpr double kLeast = 0.5;
  static constexpr uint32_t kMaxInterval = 32;

  double budget_ = kMost;
  double balance_ = kMost;
  uint32_t interval_ = 1;   // one sequence of so many begins with the drafter
  uint32_t n_without_ = 0;  // that began since the last one that did
};

}  // namespace floe

#pragma once
// Whether a drafter with layers of its own is worth keeping up with the text. Its keys and values
// take time for every token that stays, whether or not anybody asks it for guesses.
//
// The account counts tokens, as plain steps of the batch make them:
//   left += tokens that its guesses brought - tokens that plain steps make in the time it took
// When nothing is left, the drafter is given up for the sequences that do not use it, and has half
// as much the next time, unless it has earned it again. Given up with the least, it sits out every
// second sequence, then ever more of them. Tokens, and not steps: the more sequences decode, the
// sooner is seen what guesses are worth.
#include <algorithm>
#include <cstdint>

namespace floe {

class Upkeep {
 public:
  // A sequence begins. False: it does without the drafter.
  bool takes_part() {
    if (++n_without_ < interval_) return false;
    n_without_ = 0;
    return true;
  }

  // After a step. True: the drafter is given up by those that do not use it.
  bool charge(uint32_t n_brought, double n_taken) {
    left_ += n_brought - n_taken;
    if (n_brought != 0 && left_ >= budget_) *this = {};
    if (left_ >= 0) return false;
    if (budget_ == kLeast) interval_ = std::min(2 * interval_, kMaxInterval);
    budget_ = std::max(budget_ / 2, kLeast);
    left_ = budget_;
    return true;
  }

 private:
  static constexpr double kMost = 4;
  static constexpr double kLeast = 0.5;
  static constexpr uint32_t kMaxInterval = 32;

  double budget_ = kMost;
  double left_ = kMost;
  uint32_t interval_ = 1;   // one sequence of so many begins with the drafter
  uint32_t n_without_ = 0;  // that began since the last one that did
};

}  // namespace floe

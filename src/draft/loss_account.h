#pragma once
// What speculation may cost. Every step pays in what decoding without guesses would have taken for
// its tokens, with a small allowance on top, and pays out what it took. A step with guesses is let
// through only where half of the balance covers it even if every guess is wrong: one that fails
// does not take from the next ones what they could be tried with. Then after any number of
// tokens
//   time <= (1 + allowance) * time without guesses + what the account was opened with + the errors
//   of the step times predicted
// and the ceiling bounds how much of an earlier gain can be lost again.
#include <algorithm>

namespace floe {

class LossAccount {
 public:
  explicit LossAccount(double allowance) : allowance_(allowance) {}

  // Of the batch size at hand; the account opens when it is known first.
  void set_plain_seconds(double seconds) {
    if (plain_seconds_ == 0) balance_ = kOpening * seconds;
    plain_seconds_ = seconds;
    balance_ = std::min(balance_, kCeiling * seconds);
  }
  // What a step with guesses may take at most if it keeps one token of every sequence.
  double most_seconds() const { return (1 + allowance_) * plain_seconds_ + kMostAtOnce * balance_; }
  // plain_seconds: what the step's tokens would have taken without guesses.
  void book(double plain_seconds, double seconds) {
    balance_ += (1 + allowance_) * plain_seconds - seconds;
    balance_ = std::clamp(balance_, -kCeiling * plain_seconds_, kCeiling * plain_seconds_);
  }
  double balance() const { return balance_; }

 private:
  // In plain steps. Two let a first verify through. Twelve are 2.4 % of 500 tokens: with the
  // allowance no such stretch loses 5 %.
  static constexpr double kOpening = 2;
  static constexpr double kCeiling = 12;
  static constexpr double kMostAtOnce = 0.5;

  double allowance_;
  double plain_seconds_ = 0;
  double balance_ = 0;
};

}  // namespace floe

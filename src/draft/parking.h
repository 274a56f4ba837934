#pragma once
// When speculation rests. If it runs its account (loss_account.h) dry twice within kDipTokens while
// verifies have been losing, it rests for kFirst tokens, the next time twice as long, and from the
// beginning after a while without running dry. Running dry while verifies earn on the whole is bad
// luck and no reason to rest. Tokens are those of one sequence.
#include <algorithm>

namespace floe {

class Parking {
 public:
  bool is_parked() const { return n_tokens_ < until_; }

  // After every step.
  void advance(double n_tokens) { n_tokens_ += n_tokens; }
  // After a step with guesses: what its tokens would have taken without them, and what it took.
  void verified(double plain_seconds, double seconds) {
    earned_ = kDecay * earned_ + plain_seconds;
    spent_ = kDecay * spent_ + seconds;
  }
  // The account refused a step that would have paid; or it did not.
  void run_dry() {
    if (is_dry_) return;
    is_dry_ = true;
    if (n_tokens_ - std::max(last_dip_, until_) > kRemembered * length_) length_ = kFirst;
    if (n_tokens_ - last_dip_ < kDipTokens && earned_ < spent_) {
      until_ = n_tokens_ + length_;
      length_ = std::min(2 * length_, kLongest);
      earned_ = spent_ = 0;
    }
    last_dip_ = n_tokens_;
  }
  void covered() { is_dry_ = false; }

 private:
  static constexpr double kDipTokens = 256;
  static constexpr double kFirst = 64;
  static constexpr double kLongest = 4096;
  static constexpr double kRemembered = 4;  // rests
  static constexpr double kDecay = 0.98;    // per verify

  double n_tokens_ = 0;  // so far
  double earned_ = 0, spent_ = 0;
  bool is_dry_ = false;
  double last_dip_ = -2 * kDipTokens;
  double until_ = 0;
  double length_ = kFirst;  // of the next rest
};

}  // namespace floe

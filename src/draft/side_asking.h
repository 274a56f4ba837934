#pragma once
// When a drafter that costs, and does not pay, is asked on the side: for kTokens tokens in two
// steps in a row (the first finds it behind, the second shows what it takes), then not for a number
// of steps that doubles while its guesses are wrong, and is so large that asking takes kShare of
// the time at most.
#include <algorithm>
#include <cstdint>

namespace floe {

class SideAsking {
 public:
  static constexpr uint32_t kTokens = 2;

  bool is_due() const { return countdown_ == 0; }

  // After a step without asking on the side.
  void pass() {
    if (countdown_ != 0) --countdown_;
  }

  // After a step with. cost: of both steps, in plain steps; 0: not known. was_right: the first
  // guess, of any sequence.
  void asked(double cost, bool was_right) {
    is_second_ = !is_second_;
    if (is_second_) return;
    const double least = std::clamp(cost / kShare, 1.0 * kMinInterval, 1e6);
    const uint32_t more = was_right ? 0 : std::min(2 * interval_, kMaxInterval);
    interval_ = std::max(static_cast<uint32_t>(least), more);
    countdown_ = interval_ - 2;
  }

 private:
  static constexpr uint32_t kMinInterval = 8;
  static constexpr uint32_t kMaxInterval = 64;
  static constexpr double kShare = 0.005;

  uint32_t interval_ = 0;
  uint32_t countdown_ = 0;
  bool is_second_ = false;
};

}  // namespace floe

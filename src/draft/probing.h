#pragma once
// When a drafter that runs layers, and whose guesses do not pay, is asked all the same, to see
// whether they would pay now. A probe is kTokens tokens in two steps in a row: the first finds the
// drafter behind, with rows to catch up on; the second shows what its guesses cost. Then it waits
// for a number of steps that doubles while its guesses are wrong, and that is so large that probing
// takes a share of kShare of the time at most.
#include <algorithm>
#include <cstdint>

namespace floe {

class Probing {
 public:
  static constexpr uint32_t kTokens = 2;

  bool is_due() const { return countdown_ == 0; }

  // After a step without a probe.
  void pass() {
    if (countdown_ != 0) --countdown_;
  }

  // After a step with one. cost: of both steps, in plain steps; 0: not known. was_right: the first
  // guess, of any sequence.
  void probed(double cost, bool was_right) {
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

  uint32_t interval_ = 0;  // steps from one probe to the next
  uint32_t countdown_ = 0;
  bool is_second_ = false;  // the second of a probe's steps comes next
};

}  // namespace floe

#pragma once
// What is known of one drafter that runs layers: what a guess takes, whether it is worth keeping
// warm, and when to probe it.
#include <algorithm>
#include <cstdint>

#include "draft/decision.h"
#include "draft/keep_warm.h"
#include "draft/probing.h"
#include "draft/step_cost.h"

namespace floe {

class DrafterProfile {
 public:
  KeepWarm warm;
  Probing probing;
  bool is_used = false;  // it was among those that could be asked
  bool pays = false;     // its last plan gave it tokens

  // Of the step at hand.
  struct Step {
    uint32_t n_asked = 0;     // tokens, of all sequences
    bool is_planned = false;  // how many tokens pay has been worked out
    bool is_probed = false;
    SpecReason not_planned = SpecReason::none;  // why the plan has no tokens for some sequence
  };
  Step step;

  // Seconds of a token that it is asked for. plain_seconds: of a step without guesses.
  double token_seconds(double plain_seconds) const {
    return token_seconds_.is_known() ? token_seconds_.value() : kUnknownCost * plain_seconds;
  }
  double asked_seconds(double plain_seconds) const {
    return step.n_asked == 0 ? 0 : step.n_asked * token_seconds(plain_seconds);
  }
  // What it took in the step beyond what it takes in steps that ask it for nothing.
  double seconds_of_asking(double seconds) const {
    return step.n_asked == 0 ? 0 : std::max(0.0, seconds - idle_seconds_.value());
  }

  // After a step without prompts that it took `seconds` of. is_comparable: plain_seconds is known,
  // and no sequence had rows to catch up on, which tell nothing of what guesses take.
  void learn_cost(double seconds, bool is_comparable, double plain_seconds) {
    if (step.n_asked == 0) {
      idle_seconds_.add(seconds, kSamples);
    } else if (is_comparable) {
      const double sample = (seconds - idle_seconds_.value()) / step.n_asked;
      token_seconds_.add(std::max(sample, kLeastCost * plain_seconds), kSamples);
    }
  }

 private:
  // What a token is taken to cost before it was timed, and costs at least, in plain steps.
  static constexpr double kUnknownCost = 0.05;
  static constexpr double kLeastCost = 1e-3;
  static constexpr uint32_t kSamples = 16;

  TimeMean token_seconds_;
  TimeMean idle_seconds_;  // of a step that asks it for nothing
};

}  // namespace floe

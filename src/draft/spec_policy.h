#pragma once
// How the user wants to speculate: what --spec says.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace floe {

enum class SpecMode : uint8_t {
  off,       // no drafter is asked
  fixed,     // "on:K": up to K guesses of every sequence, whatever they cost
  adaptive,  // "auto": as many as pay
  report,    // decides as adaptive does and verifies none: what auto would do
};

struct SpecPolicy {
  SpecMode mode = SpecMode::adaptive;
  uint32_t n_fixed = 0;    // K of "on:K", 1 .. kMaxDraftTokens
  double max_loss = 0.02;  // of the time that decoding without speculation takes
};

// "off", "on:K" ("on" is on:3), "auto", "report". ErrorKind::usage for anything else.
Result<SpecPolicy> parse_spec_policy(std::string_view text);
std::string to_string(const SpecPolicy& policy);

}  // namespace floe

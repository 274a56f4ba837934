#pragma once
// Why a sequence speculates or does not: what answers, counters and docs/speculation.md call it.
#include <cstdint>

namespace floe {

enum class SpecReason : uint8_t {
  none,  // nothing was decided
  no_drafter,
  not_wanted,
  pays,  // the first of those that a step decides
  fixed,
  no_guess,
  no_rows,
  would_not_pay,
  no_timing,
  refresh,
  loss_account,
  parked,
};
inline constexpr uint32_t kSpecReasons = 12;
const char* to_string(SpecReason reason);  // "pays", "would not pay", ...

struct SpecDecision {
  const char* state = "off";  // "off", "plain", "draft", "parked"; "would draft" with report
  SpecReason reason = SpecReason::none;
  double predicted_seconds = 0;  // of the step; 0: no prediction yet
};

}  // namespace floe

#include "draft/spec_policy.h"

#include "base/options.h"
#include "draft/sequence_rows.h"

namespace floe {

namespace {

constexpr uint32_t kUsualGuesses = 3;

}  // namespace

Result<SpecPolicy> parse_spec_policy(std::string_view text) {
  SpecPolicy policy;
  if (text == "off") {
    policy.mode = SpecMode::off;
  } else if (text == "auto") {
    policy.mode = SpecMode::adaptive;
  } else if (text == "report") {
    policy.mode = SpecMode::report;
  } else if (text == "on") {
    policy.mode = SpecMode::fixed;
    policy.n_fixed = kUsualGuesses;
  } else if (text.starts_with("on:")) {
    policy.mode = SpecMode::fixed;
    FLOE_TRY(const int64_t n, parse_int(text.substr(3), 1, kMaxDraftTokens));
    policy.n_fixed = static_cast<uint32_t>(n);
  } else {
    return usage_error("expected off, on:K, auto or report, found '{}'", text);
  }
  return policy;
}

std::string to_string(const SpecPolicy& policy) {
  switch (policy.mode) {
    case SpecMode::off:
      return "off";
    case SpecMode::fixed:
      return fmt::format("on:{}", policy.n_fixed);
    case SpecMode::adaptive:
      return "auto";
    case SpecMode::report:
      return "report";
  }
  return "";
}

}  // namespace floe

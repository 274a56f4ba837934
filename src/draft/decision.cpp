#include "draft/decision.h"

namespace floe {

const char* to_string(SpecReason reason) {
  switch (reason) {
    case SpecReason::none:
      return "";
    case SpecReason::no_drafter:
      return "no drafter";
    case SpecReason::not_wanted:
      return "not wanted";
    case SpecReason::pays:
      return "pays";
    case SpecReason::fixed:
      return "fixed";
    case SpecReason::no_guess:
      return "no guess";
    case SpecReason::no_rows:
      return "no rows left";
    case SpecReason::would_not_pay:
      return "would not pay";
    case SpecReason::no_timing:
      return "no timing yet";
    case SpecReason::refresh:
      return "refresh";
    case SpecReason::loss_account:
      return "loss account";
    case SpecReason::parked:
      return "parked";
  }
  return "";
}

}  // namespace floe

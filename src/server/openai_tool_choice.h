#pragma once
// Whether a request's functions may, must or must not be called, and whose arguments are bound to
// their schemas. Pure functions.
#include <optional>
#include <vector>

#include "base/json_fwd.h"
#include "chat/call_grammar.h"
#include "server/api_error.h"

namespace floe {

enum class ToolChoice : uint8_t {
  automatic,
  none,
  required,  // at least one call
  named,     // one call of the function that is named
};

// Calls that a grammar makes or holds to their form.
struct CallAsk {
  std::vector<CallableFunction> functions;
  bool is_forced = false;  // the answer is calls; else calls are held to their form when one begins
  bool several = true;
};

// body.tool_choice, as OpenAI has it or as an object of that type.
std::optional<ApiError> read_tool_choice(const Json& body, ToolChoice& choice);

// body.tools, which read_tools() has checked, under the choice. Nothing in `out`: no call is bound.
std::optional<ApiError> read_call_ask(const Json& body, std::optional<CallAsk>& out);

}  // namespace floe

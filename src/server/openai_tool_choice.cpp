#include "server/openai_tool_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/json.h"
#include "server/openai_json.h"

namespace floe {

namespace {

// The name in {"type": "function", "function": {"name": ...}}.
const Json* named_function(const Json& choice) {
  const Json* function = find_member(choice, "function");
  if (function == nullptr || !function->is_object()) return nullptr;
  const Json* name = find_member(*function, "name");
  return name != nullptr && name->is_string() ? name : nullptr;
}

}  // namespace

std::optional<ApiError> read_tool_choice(const Json& body, ToolChoice& choice) {
  choice = ToolChoice::automatic;
  const Json* value = find_member(body, "tool_choice");
  if (value == nullptr) return std::nullopt;
  const Json* type = value->is_object() ? find_member(*value, "type") : value;
  const bool has_tools = [&] {
    const Json* tools = find_member(body, "tools");
    return tools != nullptr && tools->is_array() && !tools->empty();
  }();
  if (type != nullptr && *type == "auto") return std::nullopt;
  if (type != nullptr && *type == "none") {
    choice = ToolChoice::none;
    return std::nullopt;
  }
  if (type != nullptr && (*type == "required" || *type == "any")) {
    choice = ToolChoice::required;
  } else if (type != nullptr && *type == "function" && value->is_object() &&
             named_function(*value) != nullptr) {
    choice = ToolChoice::named;
  } else {
    return ApiError::invalid("tool_choice",
                             "tool_choice must be auto, none, required, or an object of type "
                             "function with the function's name");
  }
  if (has_tools) return std::nullopt;
  return ApiError::invalid("tool_choice", "tool_choice asks for a call, and there are no tools");
}

std::optional<ApiError> read_call_ask(const Json& body, std::optional<CallAsk>& out) {
  ToolChoice choice = ToolChoice::automatic;
  if (auto fault = read_tool_choice(body, choice)) return fault;
  const Json* tools = find_member(body, "tools");
  if (choice == ToolChoice::none || tools == nullptr) return std::nullopt;
  CallAsk ask;
  ask.is_forced = choice != ToolChoice::automatic;
  bool has_strict = false;
  for (size_t i = 0; i < tools->size(); ++i) {
    const Json& function = *find_member((*tools)[i], "function");
    CallableFunction callable;
    callable.name = find_member(function, "name")->get<std::string>();
    if (choice == ToolChoice::named &&
        *named_function(*find_member(body, "tool_choice")) != callable.name) {
      continue;
    }
    if (const Json* parameters = find_member(function, "parameters")) {
      callable.parameters = dump_json(*parameters);
    }
    if (const Json* strict = find_member(function, "strict")) {
      const std::string path = fmt::format("tools[{}].function.strict", i);
      if (!strict->is_boolean()) return ApiError::invalid(path, path + " must be true or false");
      callable.is_strict = strict->get<bool>();
    }
    has_strict = has_strict || callable.is_strict;
    ask.functions.push_back(std::move(callable));
  }
  if (!ask.is_forced && !has_strict) return std::nullopt;
  if (ask.functions.empty()) {
    return ApiError::invalid("tool_choice", "tool_choice names a function that is not in tools");
  }
  const Json* parallel = find_member(body, "parallel_tool_calls");
  ask.several = choice != ToolChoice::named && (parallel == nullptr || *parallel != false);
  out = std::move(ask);
  return std::nullopt;
}

}  // namespace floe

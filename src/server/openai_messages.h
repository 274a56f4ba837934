#pragma once
// Messages and tools of an OpenAI request body. Pure functions.
//
// What a client sends back as history is what some model wrote: arguments that are not JSON, names
// that no declared function has, answers that were cut. All of that is accepted as it stands, since
// a conversation that holds it could never go on otherwise. Refused is only what has no place in a
// prompt; the error's param is the field's path, such as messages[3].content.
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "server/api_error.h"
#include "text/chat_format.h"

namespace floe {

inline constexpr size_t kMaxMessages = 4096;
inline constexpr size_t kMaxTools = 128;

// body.messages to `out`, in order.
std::optional<ApiError> read_messages(const Json& body, std::vector<ChatMessage>& out);

// body.tools, under body.tool_choice, to `out`: one JSON object each.
std::optional<ApiError> read_tools(const Json& body, std::vector<std::string>& out);

}  // namespace floe

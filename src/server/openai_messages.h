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
#include "chat/chat_message.h"
#include "server/api_error.h"

namespace floe {

inline constexpr size_t kMaxMessages = 4096;
inline constexpr size_t kMaxTools = 128;

// body.messages to `out`, in order.
std::optional<ApiError> read_messages(const Json& body, std::vector<ChatMessage>& out);

// body.tools, under body.tool_choice, to `out`; null where there are none or none may be called.
std::optional<ApiError> read_tools(const Json& body, ChatTools& out);

// How the prompt ends: add_generation_prompt and continue_final_message. Where the latter says
// nothing, a final message of the assistant without tool calls goes on.
std::optional<ApiError> read_prompt_end(const Json& body, const std::vector<ChatMessage>& messages,
                                        ChatOptions& out);

}  // namespace floe

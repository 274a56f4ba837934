#pragma once
// Bodies of Anthropic's Messages API as bodies of chat completions, so that both are read, checked
// and refused by the same code. Pure functions.
#include "base/json_fwd.h"
#include "server/api_error.h"

namespace floe {

// The body of /v1/messages, or of /v1/messages/count_tokens where `counts`. Fields that this API
// does not have are kept: they mean what they mean in a chat. An error's param is the path of what
// is at fault.
//
// - Blocks of text and what a tool gave become messages of their own in the order in which they
//   stand; messages of one role that follow each other become one, as Anthropic does it.
// - thinking blocks are the message's reasoning; redacted_thinking, which only its author can read,
//   is left out.
// - A tool's result with is_error begins with "Error: ".
ApiResult<Json> chat_body_of_messages(Json body, bool counts);

}  // namespace floe

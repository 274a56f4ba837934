#pragma once
// Conversations as the variables of chat templates: the names and shapes that templates were
// written against, and where templates differ, the shape that this one takes.
#include <span>

#include "base/json.h"
#include "chat/chat_message.h"
#include "chat/template_traits.h"

namespace floe {

// messages, tools, add_generation_prompt, enable_thinking and the rest, for a conversation whose
// roles are known ones.
Json template_variables(std::span<const ChatMessage> messages, const ChatOptions& options,
                        const TemplateShapes& shapes);

}  // namespace floe

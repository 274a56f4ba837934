// ChatML as Qwen3 uses it.
#include "chat/chat_prompt.h"

namespace floe {
namespace {

constexpr std::string_view kToolsHead =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr std::string_view kToolsTail =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call>";

// What follows the last question is one task, whose reasoning stays.
size_t last_query_index(std::span<const ChatMessage> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role == "user") return i;
  }
  return messages.empty() ? 0 : messages.size() - 1;
}

void write_assistant(const Conversation& conversation, size_t i, bool recent, bool has_thinking,
                     PromptBuilder& out) {
  const ChatMessage& message = conversation.messages[i];
  const std::string_view reasoning = reasoning_of(message);
  const bool goes_on = conversation.is_continued(i);
  out.marker("<|im_start|>assistant\n");
  std::string_view content = message.content;
  if (has_thinking) {
    const bool last = i + 1 == conversation.messages.size();
    const bool keeps = recent && (last || !reasoning.empty());
    if (keeps || goes_on || conversation.options.preserve_reasoning) {
      out.marker("<think>\n");
      if (goes_on && continues_reasoning(message)) {
        out.text(strip_left(reasoning, "\n"));
        out.inside_reasoning = true;
        return;
      }
      out.text(strip(reasoning, "\n"));
      out.marker("\n</think>\n\n");
      if (!goes_on) content = strip_left(content, "\n");
    }
  }
  out.text(content);
  if (goes_on) return;
  for (size_t j = 0; j < message.tool_calls.size(); ++j) {
    if (j > 0 || !content.empty()) out.marker("\n");
    out.marker("<tool_call>\n");
    write_json_call(out, message.tool_calls[j]);
    out.marker("\n</tool_call>");
  }
  out.marker("<|im_end|>\n");
}

}  // namespace

void write_chatml(const Conversation& conversation, bool has_thinking, bool opens_thinking,
                  PromptBuilder& out) {
  const auto& messages = conversation.messages;
  size_t first = 0;
  if (conversation.has_tools()) {
    out.marker("<|im_start|>system\n");
    if (const ChatMessage* system = conversation.first_system()) {
      out.text(system->content);
      out.marker("\n\n");
      first = 1;
    }
    out.marker(kToolsHead);
    for (const ChatTool& tool : *conversation.options.tools) {
      out.marker("\n");
      out.text(tool.definition);
    }
    out.marker(kToolsTail);
    out.marker("<|im_end|>\n");
  }
  const size_t last_query = last_query_index(messages);
  for (size_t i = first; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "assistant") {
      write_assistant(conversation, i, i > last_query, has_thinking, out);
    } else if (message.role == "tool") {
      if (conversation.tool_run_begins(i)) out.marker("<|im_start|>user");
      out.marker("\n<tool_response>\n");
      out.text(message.content);
      out.marker("\n</tool_response>");
      if (conversation.tool_run_ends(i)) out.marker("<|im_end|>\n");
    } else {
      out.marker(is_system(message) ? "<|im_start|>system\n" : "<|im_start|>user\n");
      out.text(message.content);
      out.marker("<|im_end|>\n");
    }
  }
  if (!conversation.opens_answer) return;
  out.marker("<|im_start|>assistant\n");
  if (!has_thinking) return;
  if (!conversation.thinking) {
    out.marker("<think>\n\n</think>\n\n");
  } else if (opens_thinking) {
    out.marker("<think>\n");
    out.inside_reasoning = true;
  }
}

}  // namespace floe

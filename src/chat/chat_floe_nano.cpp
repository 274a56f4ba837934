// The format of the bundled model: no line breaks between parts. Reasoning that the client sends
// back is kept, so that a conversation's prompt always extends the one before.
#include "chat/chat_prompt.h"

namespace floe {
namespace {

void write_assistant(const Conversation& conversation, size_t i, PromptBuilder& out) {
  const ChatMessage& message = conversation.messages[i];
  const bool goes_on = conversation.is_continued(i);
  out.marker("<|assistant|><think>");
  out.text(reasoning_of(message));
  if (goes_on && continues_reasoning(message)) {
    out.inside_reasoning = true;
    return;
  }
  out.marker("</think>");
  out.text(message.content);
  if (goes_on) return;
  for (const ChatToolCall& call : message.tool_calls) {
    out.marker("<tool_call>");
    write_json_call(out, call);
    out.marker("</tool_call>");
  }
  out.marker("<|end|>");
}

}  // namespace

void write_floe_nano(const Conversation& conversation, PromptBuilder& out) {
  const auto& messages = conversation.messages;
  const ChatMessage* system = conversation.first_system();
  if (system != nullptr || conversation.has_tools()) {
    out.marker("<|system|>");
    if (system != nullptr) out.text(system->content);
    if (conversation.has_tools()) {
      if (system != nullptr && !system->content.empty()) out.text("\n\n");
      out.text("You have these tools:");
      for (const ChatTool& tool : *conversation.options.tools) {
        out.text("\n");
        out.text(tool.short_form);
      }
    }
    out.marker("<|end|>");
  }
  for (size_t i = system != nullptr ? 1 : 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "assistant") {
      write_assistant(conversation, i, out);
    } else if (message.role == "tool") {
      if (conversation.tool_run_begins(i)) out.marker("<|user|>");
      out.marker("<tool_response>");
      out.text(message.content);
      out.marker("</tool_response>");
      if (conversation.tool_run_ends(i)) out.marker("<|end|>");
    } else {
      out.marker(is_system(message) ? "<|system|>" : "<|user|>");
      out.text(message.content);
      out.marker("<|end|>");
    }
  }
  if (!conversation.opens_answer) return;
  out.marker(conversation.thinking ? "<|assistant|><think>" : "<|assistant|><think></think>");
  out.inside_reasoning = conversation.thinking;
}

}  // namespace floe

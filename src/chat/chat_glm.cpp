// GLM-4.5 and later. The newer templates, from GLM-4.7 on, put no line breaks behind roles.
#include "base/json.h"
#include "chat/chat_prompt.h"

namespace floe {
namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";
constexpr std::string_view kNoThink = "/nothink";

class GlmWriter {
 public:
  GlmWriter(const Conversation& conversation, bool compact, PromptBuilder& out)
      : conversation_(conversation), compact_(compact), out_(out) {}

  void write() {
    const auto& messages = conversation_.messages;
    out_.marker("[gMASK]<sop>");
    if (conversation_.has_tools()) write_tools();
    size_t after_last_user = 0;
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].role == "user") after_last_user = i + 1;
    }
    for (size_t i = 0; i < messages.size(); ++i) {
      const ChatMessage& message = messages[i];
      if (message.role == "user") {
        write_user(message);
      } else if (message.role == "tool") {
        if (conversation_.tool_run_begins(i)) out_.marker("<|observation|>");
        break_line();
        out_.marker("<tool_response>");
        break_line();
        out_.text(message.content);
        break_line();
        out_.marker("</tool_response>");
      } else if (is_system(message)) {
        out_.marker("<|system|>");
        break_line();
        out_.text(message.content);
      } else {
        write_assistant(i, i >= after_last_user);
      }
    }
    if (!conversation_.opens_answer) return;
    out_.marker("<|assistant|>");
    if (compact_) {
      out_.marker(conversation_.thinking ? kThink : kEndThink);
      out_.inside_reasoning = conversation_.thinking;
    } else if (!conversation_.thinking) {
      out_.marker("\n<think></think>");
    }
  }

 private:
  void break_line() {
    if (!compact_) out_.marker("\n");
  }

  void write_tools() {
    out_.marker(
        "<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user "
        "query.\n\nYou are provided with function signatures within <tools></tools> XML "
        "tags:\n<tools>\n");
    for (const ChatTool& tool : *conversation_.options.tools) {
      out_.text(tool.definition);
      out_.marker("\n");
    }
    out_.marker(
        "</tools>\n\nFor each function call, output the function name and arguments within the "
        "following XML format:\n<tool_call>{function-name}");
    for (const std::string_view n : {"1", "2"}) {
      break_line();
      out_.marker("<arg_key>{arg-key-");
      out_.marker(n);
      out_.marker("}</arg_key>");
      break_line();
      out_.marker("<arg_value>{arg-value-");
      out_.marker(n);
      out_.marker("}</arg_value>");
    }
    break_line();
    out_.marker("...");
    break_line();
    out_.marker("</tool_call>");
  }

  // Without thinking, each question ends in /nothink. Where the user wrote it, the word is there
  // already, but it counts for the model only as the format's own token.
  void write_user(const ChatMessage& message) {
    out_.marker("<|user|>");
    break_line();
    std::string_view content = message.content;
    const bool marks = !compact_ && !conversation_.thinking;
    if (marks && content.ends_with(kNoThink)) content.remove_suffix(kNoThink.size());
    out_.text(content);
    if (marks) out_.marker(kNoThink);
  }

  void write_assistant(size_t i, bool recent) {
    const ChatMessage& message = conversation_.messages[i];
    const std::string_view reasoning = reasoning_of(message);
    const bool goes_on = conversation_.is_continued(i);
    out_.marker("<|assistant|>");
    break_line();
    if (goes_on && continues_reasoning(message)) {
      out_.marker(kThink);
      out_.text(strip_left(reasoning, kBlank));
      out_.inside_reasoning = true;
      return;
    }
    if ((recent || conversation_.options.preserve_reasoning) && !reasoning.empty()) {
      out_.marker(kThink);
      out_.text(strip(reasoning, kBlank));
    } else if (!compact_) {
      out_.marker(kThink);
    }
    out_.marker(kEndThink);
    const std::string_view content =
        goes_on ? std::string_view(message.content) : strip(message.content, kBlank);
    if (!content.empty()) {
      break_line();
      out_.text(content);
    }
    if (goes_on) return;
    for (const ChatToolCall& call : message.tool_calls) write_call(call);
  }

  void write_call(const ChatToolCall& call) {
    break_line();
    out_.marker("<tool_call>");
    out_.text(call.name);
    break_line();
    const Result<Json> arguments = parse_json(call.arguments_json);
    if (!arguments.ok() || !arguments->is_object()) {
      // What some model wrote and is no object has no other form than its own.
      out_.text(strip(call.arguments_json, kBlank));
      out_.marker("</tool_call>");
      return;
    }
    for (const auto& [key, value] : arguments->items()) {
      out_.marker("<arg_key>");
      out_.text(key);
      out_.marker("</arg_key>");
      break_line();
      out_.marker("<arg_value>");
      out_.text(value.is_string() ? value.get<std::string>() : python_json(value));
      out_.marker("</arg_value>");
      break_line();
    }
    out_.marker("</tool_call>");
  }

  const Conversation& conversation_;
  const bool compact_;
  PromptBuilder& out_;
};

}  // namespace

void write_glm(const Conversation& conversation, bool compact, PromptBuilder& out) {
  GlmWriter(conversation, compact, out).write();
}

}  // namespace floe

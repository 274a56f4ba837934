#include "text/chat_format.h"

#include <utility>

#include "base/json.h"

namespace floe {
namespace {

// A prompt as stretches of text; only the format's own words are trusted to become special tokens.
class PromptBuilder {
 public:
  void marker(std::string_view text) { append(text, true); }
  void text(std::string_view text) { append(text, false); }

  std::string rendered() const {
    std::string all;
    for (const Stretch& stretch : stretches_) all += stretch.text;
    return all;
  }

  Encoded encode(const Tokenizer& tokenizer, const EncodeLimits& limits) const {
    std::vector<TextPart> parts;
    parts.reserve(stretches_.size());
    for (const Stretch& stretch : stretches_) parts.push_back({stretch.text, stretch.trusted});
    return tokenizer.encode_parts_within(parts, limits);
  }

  bool inside_reasoning = false;

 private:
  struct Stretch {
    std::string text;
    bool trusted;
  };
  void append(std::string_view text, bool trusted) {
    if (text.empty()) return;
    if (stretches_.empty() || stretches_.back().trusted != trusted) {
      stretches_.push_back({std::string(), trusted});
    }
    stretches_.back().text += text;
  }
  std::vector<Stretch> stretches_;
};

std::string_view strip_left(std::string_view text, std::string_view characters) {
  const size_t begin = text.find_first_not_of(characters);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}
std::string_view strip_right(std::string_view text, std::string_view characters) {
  const size_t last = text.find_last_not_of(characters);
  return last == std::string_view::npos ? std::string_view() : text.substr(0, last + 1);
}
std::string_view strip(std::string_view text, std::string_view characters) {
  return strip_left(strip_right(text, characters), characters);
}
constexpr std::string_view kBlank = " \t\r\n\v\f";

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";

// What an assistant message thought and said. Reasoning that a client left inside the content is
// taken out of it.
struct AssistantParts {
  std::string_view reasoning;
  std::string_view content;
};

AssistantParts split_assistant(const ChatMessage& message) {
  std::string_view content = message.content;
  if (message.reasoning_content) return {*message.reasoning_content, content};
  const size_t end = content.find(kEndThink);
  if (end == std::string_view::npos) return {{}, content};
  std::string_view reasoning = strip_right(content.substr(0, end), "\n");
  const size_t begin = reasoning.rfind(kThink);
  if (begin != std::string_view::npos) reasoning.remove_prefix(begin + kThink.size());
  content.remove_prefix(content.rfind(kEndThink) + kEndThink.size());
  return {strip_left(reasoning, "\n"), strip_left(content, "\n")};
}

bool is_system(const ChatMessage& message) {
  return message.role == "system" || message.role == "developer";
}

struct Conversation {
  std::span<const ChatMessage> messages;
  const ChatOptions& options;
  std::vector<std::string> tools;                 // as python_json
  std::vector<std::vector<Json>> call_arguments;  // [message][call]: an object, or null
  bool thinking = false;

  bool tool_run_begins(size_t i) const {
    return messages[i].role == "tool" && (i == 0 || messages[i - 1].role != "tool");
  }
  bool tool_run_ends(size_t i) const {
    return messages[i].role == "tool" &&
           (i + 1 == messages.size() || messages[i + 1].role != "tool");
  }
};

Result<Conversation> check_conversation(std::span<const ChatMessage> messages,
                                        const ChatOptions& options) {
  if (messages.empty()) return usage_error("messages: expected at least one message, found none");
  Conversation conversation{messages, options, {}, {}, false};
  for (size_t i = 0; i < options.tools.size(); ++i) {
    Result<std::string> tool = python_json(options.tools[i]);
    if (!tool.ok()) return usage_error("tools[{}]: {}", i, tool.error().message);
    conversation.tools.push_back(std::move(tool).value());
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (!is_system(message) && message.role != "user" && message.role != "assistant" &&
        message.role != "tool") {
      return usage_error(
          "messages[{}].role: expected system, developer, user, assistant or tool, found another "
          "value",
          i);
    }
    std::vector<Json> calls;
    for (size_t j = 0; j < message.tool_calls.size(); ++j) {
      const std::string& raw = message.tool_calls[j].arguments_json;
      Result<Json> arguments =
          strip(raw, kBlank).empty() ? Result<Json>(Json::object()) : parse_json(raw);
      if (!arguments.ok() || !arguments->is_object()) arguments = Json();
      calls.push_back(std::move(arguments).value());
    }
    conversation.call_arguments.push_back(std::move(calls));
  }
  return conversation;
}

std::string spaced(const Json& value) {
  // dump_json puts no blanks outside strings, so those behind , and : are all that is missing.
  const std::string compact = dump_json(value);
  std::string out;
  out.reserve(compact.size() + compact.size() / 8);
  bool in_string = false;
  for (size_t i = 0; i < compact.size(); ++i) {
    const char c = compact[i];
    out.push_back(c);
    if (in_string && c == '\\') {
      out.push_back(compact[++i]);
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == ',' || c == ':')) {
      out.push_back(' ');
    }
  }
  return out;
}

// {"name": ..., "arguments": ...} as the model would have written it.
void write_json_call(PromptBuilder& out, const ChatToolCall& call) {
  std::string text = "{\"name\": \"";
  append_json_escaped(call.name, text);
  text += "\", \"arguments\": ";
  const std::string_view arguments = strip(call.arguments_json, kBlank);
  text += arguments.empty() ? std::string_view("{}") : arguments;
  text += "}";
  out.text(text);
}

// ---- floe-nano: no line breaks between parts; reasoning that the client sends back is kept, so
// that a conversation's prompt always extends the one before.

// {"name": ..., "parameters": {name: type}}, the short form this model learnt.
std::string short_tool(const Json& tool) {
  const Json& function = tool.contains("function") ? tool["function"] : tool;
  Json out = Json::object();
  out["name"] = function.contains("name") ? function["name"] : Json("");
  Json parameters = Json::object();
  if (function.contains("parameters") && function["parameters"].is_object() &&
      function["parameters"].contains("properties") &&
      function["parameters"]["properties"].is_object()) {
    for (const auto& [name, schema] : function["parameters"]["properties"].items()) {
      const bool typed =
          schema.is_object() && schema.contains("type") && schema["type"].is_string();
      parameters[name] = typed ? schema["type"] : Json("string");
    }
  }
  out["parameters"] = std::move(parameters);
  return spaced(out);
}

Result<void> write_floe_nano(const Conversation& conversation, PromptBuilder& out) {
  const auto& messages = conversation.messages;
  size_t first = 0;
  if (is_system(messages[0]) || !conversation.tools.empty()) {
    out.marker("<|system|>");
    if (is_system(messages[0])) {
      out.text(messages[0].content);
      first = 1;
    }
    if (!conversation.tools.empty()) {
      if (first == 1 && !messages[0].content.empty()) out.text("\n\n");
      out.text("You have these tools:");
      for (const std::string& tool : conversation.tools) {
        FLOE_TRY(const Json parsed, parse_json(tool));
        out.text("\n");
        out.text(short_tool(parsed));
      }
    }
    out.marker("<|end|>");
  }
  for (size_t i = first; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (is_system(message)) {
      out.marker("<|system|>");
      out.text(message.content);
      out.marker("<|end|>");
    } else if (message.role == "user") {
      out.marker("<|user|>");
      out.text(message.content);
      out.marker("<|end|>");
    } else if (message.role == "tool") {
      if (conversation.tool_run_begins(i)) out.marker("<|user|>");
      out.marker("<tool_response>");
      out.text(message.content);
      out.marker("</tool_response>");
      if (conversation.tool_run_ends(i)) out.marker("<|end|>");
    } else {
      const AssistantParts parts = split_assistant(message);
      out.marker("<|assistant|><think>");
      out.text(parts.reasoning);
      out.marker("</think>");
      out.text(parts.content);
      for (const ChatToolCall& call : message.tool_calls) {
        out.marker("<tool_call>");
        write_json_call(out, call);
        out.marker("</tool_call>");
      }
      out.marker("<|end|>");
    }
  }
  if (conversation.options.add_generation_prompt) {
    out.marker(conversation.thinking ? "<|assistant|><think>" : "<|assistant|><think></think>");
    out.inside_reasoning = conversation.thinking;
  }
  return {};
}

// ---- ChatML as Qwen3 uses it.

constexpr std::string_view kChatmlToolsHead =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
    "provided "
    "with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr std::string_view kChatmlToolsTail =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "
    "<args-json-object>}\n</tool_call>";

// The last user message that is a question and not a tool's answer; what follows it is one task,
// whose reasoning stays.
size_t last_query_index(std::span<const ChatMessage> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role != "user") continue;
    const std::string_view content = messages[i].content;
    const bool wrapped = content.substr(0, 15) == "<tool_response>" && content.size() >= 16 &&
                         content.substr(content.size() - 16) == "</tool_response>";
    if (!wrapped) return i;
  }
  return messages.size() - 1;
}

void write_chatml(const Conversation& conversation, bool has_thinking, bool opens_thinking,
                  PromptBuilder& out) {
  const auto& messages = conversation.messages;
  size_t first = 0;
  if (!conversation.tools.empty()) {
    out.marker("<|im_start|>system\n");
    if (is_system(messages[0])) {
      out.text(messages[0].content);
      out.marker("\n\n");
      first = 1;
    }
    out.marker(kChatmlToolsHead);
    for (const std::string& tool : conversation.tools) {
      out.marker("\n");
      out.text(tool);
    }
    out.marker(kChatmlToolsTail);
    out.marker("<|im_end|>\n");
  }
  const size_t last_query = last_query_index(messages);
  for (size_t i = first; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "tool") {
      if (conversation.tool_run_begins(i)) out.marker("<|im_start|>user");
      out.marker("\n<tool_response>\n");
      out.text(message.content);
      out.marker("\n</tool_response>");
      if (conversation.tool_run_ends(i)) out.marker("<|im_end|>\n");
      continue;
    }
    if (message.role != "assistant") {
      out.marker(is_system(message) ? "<|im_start|>system\n" : "<|im_start|>user\n");
      out.text(message.content);
      out.marker("<|im_end|>\n");
      continue;
    }
    out.marker("<|im_start|>assistant\n");
    std::string_view content = message.content;
    if (has_thinking) {
      const AssistantParts parts = split_assistant(message);
      content = parts.content;
      const bool recent = i > last_query && (i + 1 == messages.size() || !parts.reasoning.empty());
      if (recent || conversation.options.preserve_reasoning) {
        out.marker("<think>\n");
        out.text(strip(parts.reasoning, "\n"));
        out.marker("\n</think>\n\n");
        content = strip_left(content, "\n");
      }
    }
    out.text(content);
    for (size_t j = 0; j < message.tool_calls.size(); ++j) {
      if (j > 0 || !content.empty()) out.marker("\n");
      out.marker("<tool_call>\n");
      write_json_call(out, message.tool_calls[j]);
      out.marker("\n</tool_call>");
    }
    out.marker("<|im_end|>\n");
  }
  if (!conversation.options.add_generation_prompt) return;
  out.marker("<|im_start|>assistant\n");
  if (!has_thinking) return;
  if (!conversation.thinking) {
    out.marker("<think>\n\n</think>\n\n");
  } else if (opens_thinking) {
    out.marker("<think>\n");
    out.inside_reasoning = true;
  }
}

// ---- GLM-4.5 and later.

constexpr std::string_view kGlmToolsHead =
    "<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user "
    "query.\n\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\n<tools>\n";

void write_glm(const Conversation& conversation, bool compact, PromptBuilder& out) {
  const auto& messages = conversation.messages;
  const std::string_view line = compact ? std::string_view() : std::string_view("\n");
  const auto break_line = [&] { out.marker(line); };

  out.marker("[gMASK]<sop>");
  if (!conversation.tools.empty()) {
    out.marker(kGlmToolsHead);
    for (const std::string& tool : conversation.tools) {
      out.text(tool);
      out.marker("\n");
    }
    out.marker(
        "</tools>\n\nFor each function call, output the function name and arguments within the "
        "following "
        "XML format:\n<tool_call>{function-name}");
    for (const std::string_view n : {"1", "2"}) {
      break_line();
      out.marker("<arg_key>{arg-key-");
      out.marker(n);
      out.marker("}</arg_key>");
      break_line();
      out.marker("<arg_value>{arg-value-");
      out.marker(n);
      out.marker("}</arg_value>");
    }
    break_line();
    out.marker("...");
    break_line();
    out.marker("</tool_call>");
  }

  size_t after_last_user = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == "user") after_last_user = i + 1;
  }
  const std::string_view no_think = "/nothink";
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "user") {
      out.marker("<|user|>");
      break_line();
      out.text(message.content);
      const std::string_view content = message.content;
      const bool said = content.size() >= no_think.size() &&
                        content.substr(content.size() - no_think.size()) == no_think;
      if (!compact && !conversation.thinking && !said) out.marker(no_think);
    } else if (is_system(message)) {
      out.marker("<|system|>");
      break_line();
      out.text(message.content);
    } else if (message.role == "tool") {
      if (conversation.tool_run_begins(i)) out.marker("<|observation|>");
      break_line();
      out.marker("<tool_response>");
      break_line();
      out.text(message.content);
      break_line();
      out.marker("</tool_response>");
    } else {
      const AssistantParts parts = split_assistant(message);
      out.marker("<|assistant|>");
      break_line();
      const bool keeps = i >= after_last_user || conversation.options.preserve_reasoning;
      if (keeps && !parts.reasoning.empty()) {
        out.marker(kThink);
        out.text(strip(parts.reasoning, kBlank));
      } else if (!compact) {
        out.marker(kThink);
      }
      out.marker(kEndThink);
      const std::string_view content = strip(parts.content, kBlank);
      if (!content.empty()) {
        break_line();
        out.text(content);
      }
      for (size_t j = 0; j < message.tool_calls.size(); ++j) {
        break_line();
        out.marker("<tool_call>");
        out.text(message.tool_calls[j].name);
        break_line();
        const Json& arguments = conversation.call_arguments[i][j];
        // What some model wrote and is no object has no other form than its own.
        if (arguments.is_null()) out.text(message.tool_calls[j].arguments_json);
        for (const auto& [key, value] : arguments.items()) {
          out.marker("<arg_key>");
          out.text(key);
          out.marker("</arg_key>");
          break_line();
          out.marker("<arg_value>");
          out.text(value.is_string() ? value.get<std::string>() : spaced(value));
          out.marker("</arg_value>");
          break_line();
        }
        out.marker("</tool_call>");
      }
    }
  }
  if (!conversation.options.add_generation_prompt) return;
  out.marker("<|assistant|>");
  if (compact) {
    out.marker(conversation.thinking ? kThink : kEndThink);
    out.inside_reasoning = conversation.thinking;
  } else if (!conversation.thinking) {
    out.marker("\n<think></think>");
  }
}

struct FormatName {
  ChatFormatKind kind;
  std::string_view name;
  std::vector<std::string_view> markers;  // special tokens it cannot do without
};

const std::vector<FormatName>& formats() {
  // The order is the order of detection: the more telling sets of tokens come first.
  static const std::vector<FormatName> table = {
      {ChatFormatKind::chatml, "chatml", {"<|im_start|>", "<|im_end|>"}},
      {ChatFormatKind::glm, "glm", {"[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"}},
      {ChatFormatKind::floe_nano,
       "floe-nano",
       {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<think>", "</think>"}},
      {ChatFormatKind::glm_compact,
       "glm-compact",
       {"[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>"}},
  };
  return table;
}

const FormatName& format_of(ChatFormatKind kind) {
  for (const FormatName& format : formats()) {
    if (format.kind == kind) return format;
  }
  return formats().front();
}

std::string missing_markers(const Tokenizer& tokenizer, const FormatName& format) {
  std::string missing;
  for (const std::string_view marker : format.markers) {
    if (tokenizer.find_special(marker)) continue;
    if (!missing.empty()) missing += ", ";
    missing += marker;
  }
  return missing;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Whether a ChatML template opens <think> for the model: what follows its last mention of the
// generation prompt writes "<think>\n" by itself, not only the empty "<think>\n\n</think>".
bool template_opens_thinking(std::string_view chat_template) {
  const size_t at = chat_template.rfind("add_generation_prompt");
  if (at == std::string_view::npos) return false;
  const std::string_view tail = chat_template.substr(at);
  return contains(tail, "<think>\\n'") || contains(tail, "<think>\\n\"");
}

}  // namespace

Result<std::string> python_json(std::string_view json) {
  FLOE_TRY(const Json parsed, parse_json(json));
  return spaced(parsed);
}

Result<ChatFormat> ChatFormat::by_name(const Tokenizer& tokenizer, std::string_view name) {
  for (const FormatName& format : formats()) {
    if (format.name != name) continue;
    const std::string missing = missing_markers(tokenizer, format);
    if (!missing.empty()) {
      return model_error(
          "{}: chat format {}: expected the special tokens {}, found none of that name",
          tokenizer.source(), name, missing);
    }
    ChatFormat chosen(format.kind);
    if (format.kind == ChatFormatKind::chatml) {
      chosen.has_thinking_ = tokenizer.find_special(kThink) && tokenizer.find_special(kEndThink);
      chosen.opens_thinking_ =
          chosen.has_thinking_ && template_opens_thinking(tokenizer.chat_template());
    }
    return chosen;
  }
  return usage_error(
      "chat format: expected floe-nano, chatml, glm or glm-compact, found another name");
}

Result<ChatFormat> ChatFormat::detect(const Tokenizer& tokenizer) {
  for (const FormatName& format : formats()) {
    if (!missing_markers(tokenizer, format).empty()) continue;
    // Both GLM formats have the same tokens; the newer template puts messages right behind the
    // role.
    if (format.kind == ChatFormatKind::glm && contains(tokenizer.chat_template(), "<|user|>{{")) {
      return by_name(tokenizer, "glm-compact");
    }
    return by_name(tokenizer, format.name);
  }
  std::string sought;
  for (const FormatName& format : formats()) {
    if (format.kind == ChatFormatKind::glm_compact) continue;
    if (!sought.empty()) sought += "; ";
    sought += format.name;
    sought += ':';
    for (const std::string_view marker : format.markers) {
      sought += ' ';
      sought += marker;
    }
  }
  return model_error(
      "{}: chat format: expected the special tokens of a known format ({}), found none of these "
      "sets",
      tokenizer.source(), sought);
}

std::string_view ChatFormat::name() const {
  return format_of(kind_).name;
}

bool ChatFormat::thinks_by_default() const {
  return kind_ != ChatFormatKind::floe_nano && has_thinking_;
}

ToolCallSyntax ChatFormat::tool_call_syntax() const {
  const bool glm = kind_ == ChatFormatKind::glm || kind_ == ChatFormatKind::glm_compact;
  return glm ? ToolCallSyntax::glm_arguments : ToolCallSyntax::json;
}

namespace {

Result<PromptBuilder> build_prompt(ChatFormatKind kind, bool thinks_by_default, bool has_thinking,
                                   bool opens_thinking, std::span<const ChatMessage> messages,
                                   const ChatOptions& options) {
  FLOE_TRY(Conversation conversation, check_conversation(messages, options));
  conversation.thinking = options.enable_thinking.value_or(thinks_by_default);
  PromptBuilder out;
  switch (kind) {
    case ChatFormatKind::floe_nano:
      FLOE_TRY_VOID(write_floe_nano(conversation, out));
      break;
    case ChatFormatKind::chatml:
      write_chatml(conversation, has_thinking, opens_thinking, out);
      break;
    case ChatFormatKind::glm:
      write_glm(conversation, false, out);
      break;
    case ChatFormatKind::glm_compact:
      write_glm(conversation, true, out);
      break;
  }
  return out;
}

}  // namespace

Result<ChatPrompt> ChatFormat::format(const Tokenizer& tokenizer,
                                      std::span<const ChatMessage> messages,
                                      const ChatOptions& options,
                                      const EncodeLimits& limits) const {
  FLOE_TRY(const PromptBuilder built, build_prompt(kind_, thinks_by_default(), has_thinking_,
                                                   opens_thinking_, messages, options));
  ChatPrompt prompt;
  Encoded encoded = built.encode(tokenizer, limits);
  prompt.ids = std::move(encoded.ids);
  prompt.end = encoded.end;
  prompt.n_tokens_at_least = encoded.n_tokens_at_least;
  if (tokenizer.adds_bos()) prompt.ids.insert(prompt.ids.begin(), tokenizer.bos_id());
  prompt.inside_reasoning = built.inside_reasoning;
  return prompt;
}

Result<std::string> ChatFormat::render(std::span<const ChatMessage> messages,
                                       const ChatOptions& options) const {
  FLOE_TRY(const PromptBuilder built, build_prompt(kind_, thinks_by_default(), has_thinking_,
                                                   opens_thinking_, messages, options));
  return built.rendered();
}

}  // namespace floe

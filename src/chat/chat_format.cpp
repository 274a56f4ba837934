#include "chat/chat_format.h"

#include <utility>

#include "chat/chat_prompt.h"

namespace floe {
namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";

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

namespace {

Result<Conversation> check_conversation(std::span<const ChatMessage> messages,
                                        const ChatOptions& options, bool thinks_by_default) {
  if (messages.empty()) return usage_error("messages: expected at least one message, found none");
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (is_system(message) || message.role == "user" || message.role == "assistant" ||
        message.role == "tool") {
      continue;
    }
    return usage_error(
        "messages[{}].role: expected system, developer, user, assistant or tool, found another "
        "value",
        i);
  }
  Conversation conversation{.messages = messages, .options = options};
  conversation.thinking = options.enable_thinking.value_or(thinks_by_default);
  conversation.opens_answer = options.add_generation_prompt;
  if (!options.continue_final_message) return conversation;
  const size_t last = messages.size() - 1;
  const ChatMessage& message = messages[last];
  if (message.role != "assistant" || !message.tool_calls.empty()) {
    return usage_error(
        "messages[{}]: expected a message of the assistant without tool calls, since the final "
        "message is to go on; found another one",
        last);
  }
  // A message in which nothing was said yet begins as any other.
  conversation.continues = !message.content.empty() || !reasoning_of(message).empty();
  conversation.opens_answer = !conversation.continues;
  if (!conversation.continues) conversation.messages = messages.first(last);
  return conversation;
}

}  // namespace

Result<PromptBuilder> ChatFormat::build(std::span<const ChatMessage> messages,
                                        const ChatOptions& options) const {
  FLOE_TRY(const Conversation conversation,
           check_conversation(messages, options, thinks_by_default()));
  PromptBuilder out;
  out.continues = conversation.continues;
  switch (kind_) {
    case ChatFormatKind::floe_nano:
      write_floe_nano(conversation, out);
      break;
    case ChatFormatKind::chatml:
      write_chatml(conversation, has_thinking_, opens_thinking_, out);
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

Result<ChatPrompt> ChatFormat::format(const Tokenizer& tokenizer,
                                      std::span<const ChatMessage> messages,
                                      const ChatOptions& options,
                                      const EncodeLimits& limits) const {
  FLOE_TRY(const PromptBuilder built, build(messages, options));
  ChatPrompt prompt;
  Encoded encoded = built.encode(tokenizer, limits);
  prompt.ids = std::move(encoded.ids);
  prompt.end = encoded.end;
  prompt.n_tokens_at_least = encoded.n_tokens_at_least;
  if (tokenizer.adds_bos()) prompt.ids.insert(prompt.ids.begin(), tokenizer.bos_id());
  prompt.inside_reasoning = built.inside_reasoning;
  prompt.continues = built.continues;
  return prompt;
}

Result<std::string> ChatFormat::render(std::span<const ChatMessage> messages,
                                       const ChatOptions& options) const {
  FLOE_TRY(const PromptBuilder built, build(messages, options));
  return built.rendered();
}

}  // namespace floe

#include "chat/chat_prompt.h"

#include "base/json.h"

namespace floe {

std::string PromptBuilder::rendered() const {
  std::string all;
  for (const Stretch& stretch : stretches_) all += stretch.text;
  return all;
}

Encoded PromptBuilder::encode(const Tokenizer& tokenizer, const EncodeLimits& limits) const {
  std::vector<TextPart> parts;
  parts.reserve(stretches_.size());
  for (const Stretch& stretch : stretches_) parts.push_back({stretch.text, stretch.trusted});
  return tokenizer.encode_parts_within(parts, limits);
}

void PromptBuilder::append(std::string_view text, bool trusted) {
  if (text.empty()) return;
  if (stretches_.empty() || stretches_.back().trusted != trusted) {
    stretches_.push_back({std::string(), trusted});
  }
  stretches_.back().text += text;
}

const ChatMessage* Conversation::first_system() const {
  return !messages.empty() && is_system(messages[0]) ? &messages[0] : nullptr;
}

bool is_system(const ChatMessage& message) {
  return message.role == "system" || message.role == "developer";
}

std::string_view reasoning_of(const ChatMessage& message) {
  return message.reasoning_content ? std::string_view(*message.reasoning_content)
                                   : std::string_view();
}

bool continues_reasoning(const ChatMessage& message) {
  return message.content.empty() && !reasoning_of(message).empty();
}

void write_json_call(PromptBuilder& out, const ChatToolCall& call) {
  std::string text = "{\"name\": \"";
  append_json_escaped(call.name, text);
  text += "\", \"arguments\": ";
  const std::string_view arguments = strip(call.arguments_json, kBlank);
  text += arguments.empty() ? std::string_view("{}") : arguments;
  text += "}";
  out.text(text);
}

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

}  // namespace floe

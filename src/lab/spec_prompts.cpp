#include "lab/spec_prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "base/rng.h"
#include "base/terminal_text.h"

namespace floe {

namespace {

constexpr int64_t kMaxTokens = 1 << 20;
constexpr size_t kMaxLines = 10000;

// One line, with the place that errors name.
class Line {
 public:
  Line(const Json& json, std::string place) : json_(json), place_(std::move(place)) {}

  Error wrong(const std::string& key, const char* expected) const {
    return usage_error("{}: {}: expected {}", place_, key, expected);
  }
  bool has(const char* key) const { return json_.contains(key); }
  // Fails where the object has another key: a misspelt one would be a silent default.
  Result<void> only(const Json& object, std::initializer_list<std::string_view> keys) const {
    for (const auto& [key, value] : object.items()) {
      if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
      return usage_error("{}: {}: expected only {}", place_, escape_for_terminal(key, 128),
                         fmt::join(keys, ", "));
    }
    return {};
  }
  Result<void> only(std::initializer_list<std::string_view> keys) const {
    return only(json_, keys);
  }

  Result<int64_t> integer(const char* key, int64_t fallback, int64_t min, int64_t max) const {
    if (!has(key)) return fallback;
    const Json& value = json_[key];
    // Larger than any i64 is out of range and not a negative number.
    const bool fits = value.is_number_integer() &&
                      !(value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX);
    if (!fits || value.get<int64_t>() < min || value.get<int64_t>() > max) {
      return usage_error("{}: {}: expected a whole number of {} to {}", place_, key, min, max);
    }
    return value.get<int64_t>();
  }
  Result<double> number(const char* key, double fallback, double min, double max) const {
    if (!has(key)) return fallback;
    const Json& value = json_[key];
    if (!value.is_number() || !(value.get<double>() >= min && value.get<double>() <= max)) {
      return usage_error("{}: {}: expected a number of {} to {}", place_, key, min, max);
    }
    return value.get<double>();
  }

  Result<std::vector<int32_t>> random_tokens(uint64_t seed, int32_t n_vocab) const {
    FLOE_TRY(const int64_t n, integer("random", 0, 1, kMaxTokens));
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t drawn = mix64(mix64(seed) + static_cast<uint64_t>(i));
      tokens.push_back(static_cast<int32_t>(drawn % static_cast<uint64_t>(n_vocab)));
    }
    return tokens;
  }
  Result<std::vector<int32_t>> text_tokens(const Tokenizer& tokenizer) const {
    if (!json_["text"].is_string()) return wrong("text", "a string");
    return tokenizer.encode(json_["text"].get<std::string>(), true, false);
  }
  Result<std::vector<int32_t>> chat_tokens(const Result<ChatTemplate>& chat) const;

 private:
  Result<ChatMessage> message(const Json& json) const;

  const Json& json_;
  const std::string place_;
};

Result<ChatMessage> Line::message(const Json& json) const {
  ChatMessage message;
  for (const char* key : {"role", "content"}) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_string()) {
      return wrong("messages", "objects with the strings role and content");
    }
  }
  FLOE_TRY_VOID(only(json, {"role", "content", "tool_calls"}));
  message.role = json["role"].get<std::string>();
  message.content = json["content"].get<std::string>();
  if (!json.contains("tool_calls")) return message;
  const Json& calls = json["tool_calls"];
  if (!calls.is_array()) return wrong("tool_calls", "an array");
  for (const Json& call : calls) {
    if (!call.is_object() || !call.contains("name") || !call["name"].is_string() ||
        !call.contains("arguments") || !call["arguments"].is_object()) {
      return wrong("tool_calls", "objects with the string name and the object arguments");
    }
    FLOE_TRY_VOID(only(call, {"name", "arguments"}));
    message.tool_calls.push_back(
        {{}, call["name"].get<std::string>(), dump_json(call["arguments"])});
  }
  return message;
}

Result<std::vector<int32_t>> Line::chat_tokens(const Result<ChatTemplate>& chat) const {
  if (!json_["messages"].is_array()) return wrong("messages", "an array");
  std::vector<ChatMessage> messages;
  for (const Json& json : json_["messages"]) {
    FLOE_TRY(ChatMessage read, message(json));
    messages.push_back(std::move(read));
  }
  ChatOptions options;
  options.enable_thinking = false;
  if (has("think")) {
    if (!json_["think"].is_boolean()) return wrong("think", "true or false");
    options.enable_thinking = json_["think"].get<bool>();
  }
  if (has("tools")) {
    if (!json_["tools"].is_array()) return wrong("tools", "an array");
    auto tools = make_chat_tools(json_["tools"]);
    if (!tools.ok()) return usage_error("{}: {}", place_, tools.error().message);
    options.tools = std::move(tools).value();
  }
  if (!chat.ok()) return chat.error();
  auto prompt = chat->prompt(messages, options);
  if (!prompt.ok()) return usage_error("{}: {}", place_, prompt.error().message);
  return std::move(prompt->ids);
}

Result<SpecPrompt> parse_line(const Line& line, const Tokenizer& tokenizer,
                              const Result<ChatTemplate>& chat) {
  SpecPrompt prompt;
  FLOE_TRY(const int64_t n, line.integer("n", prompt.max_tokens, 2, kMaxTokens));
  FLOE_TRY(const double temperature, line.number("temperature", 0, 0, 100));
  FLOE_TRY(const int64_t seed, line.integer("seed", 0, 0, INT64_MAX));
  prompt.max_tokens = static_cast<uint32_t>(n);
  prompt.temperature = static_cast<float>(temperature);
  prompt.seed = static_cast<uint64_t>(seed);
  const int n_kinds = line.has("messages") + line.has("text") + line.has("random");
  if (n_kinds != 1) return line.wrong("a prompt", "exactly one of messages, text and random");
  if (line.has("messages")) {
    FLOE_TRY_VOID(line.only({"messages", "tools", "think", "n", "temperature", "seed"}));
    FLOE_TRY(prompt.tokens, line.chat_tokens(chat));
  } else if (line.has("text")) {
    FLOE_TRY_VOID(line.only({"text", "n", "temperature", "seed"}));
    FLOE_TRY(prompt.tokens, line.text_tokens(tokenizer));
  } else {
    FLOE_TRY_VOID(line.only({"random", "n", "temperature", "seed"}));
    FLOE_TRY(prompt.tokens, line.random_tokens(prompt.seed, tokenizer.n_vocab()));
  }
  if (prompt.tokens.empty()) return line.wrong("a prompt", "at least one token");
  return prompt;
}

}  // namespace

Result<SpecClass> parse_spec_prompts(const std::string& text, const std::string& class_name,
                                     const std::string& source, const Tokenizer& tokenizer,
                                     const Result<ChatTemplate>& chat) {
  SpecClass result;
  result.name = class_name;
  size_t n_lines = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    at = end + 1;
    const std::string place = fmt::format("{}: line {}", source, ++n_lines);
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    if (result.prompts.size() == kMaxLines) {
      return usage_error("{}: expected at most {} prompts", source, kMaxLines);
    }
    const auto json = parse_json(line);
    if (!json.ok()) return usage_error("{}: {}", place, json.error().message);
    if (!json->is_object()) return usage_error("{}: expected a JSON object", place);
    FLOE_TRY(SpecPrompt prompt, parse_line(Line(*json, place), tokenizer, chat));
    prompt.name = fmt::format("{} {}", class_name, n_lines);
    result.prompts.push_back(std::move(prompt));
  }
  if (result.prompts.empty())
    return usage_error("{}: expected one prompt a line, found none", source);
  return result;
}

}  // namespace floe

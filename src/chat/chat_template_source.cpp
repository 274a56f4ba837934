// Where the chat template comes from.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json.h"
#include "chat/chat_template.h"
#include "store/gguf_metadata.h"

namespace floe {
namespace {

constexpr size_t kMaxTemplateBytes = size_t{4} << 20;

struct TemplateFile {
  std::string_view name;
  std::string_view text;
};
// From src/chat/templates.
constexpr TemplateFile kFiles[] = {
#include "chat/builtin_templates.inc"
};

struct Builtin {
  std::string_view name;
  std::string_view file;
  std::string_view before;                // in front of the file's text
  std::vector<std::string_view> markers;  // special tokens it cannot do without
};

const std::vector<Builtin>& builtins() {
  // The order is the order of detection: the more telling sets of tokens come first.
  static const std::vector<Builtin> table = {
      {"qwen3",
       "chatml",
       "{%- set has_thinking = true -%}\n",
       {"<|im_start|>", "<|im_end|>", "<think>", "</think>"}},
      {"chatml", "chatml", "", {"<|im_start|>", "<|im_end|>"}},
      {"glm", "glm", "", {"[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"}},
      {"floe-nano",
       "floe-nano",
       "",
       {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<think>", "</think>"}},
      {"glm-compact",
       "glm",
       "{%- set compact = true -%}\n",
       {"[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>"}},
  };
  return table;
}

ChatTemplateSource source_of(const Builtin& builtin) {
  ChatTemplateSource source;
  source.name = builtin.name;
  for (const TemplateFile& file : kFiles) {
    if (file.name == builtin.file) source.text = fmt::format("{}{}", builtin.before, file.text);
  }
  return source;
}

std::string missing_markers(const Builtin& builtin, const Tokenizer& tokenizer) {
  std::string missing;
  for (const std::string_view marker : builtin.markers) {
    if (tokenizer.find_special(marker)) continue;
    missing += fmt::format("{}{}", missing.empty() ? "" : ", ", marker);
  }
  return missing;
}

// label: put before messages.
Result<ChatTemplateSource> from_file(const std::string& path, std::string_view label) {
  std::ifstream file(path, std::ios::binary);
  ChatTemplateSource source;
  source.name = path;
  if (!file) return usage_error("{}{}: expected a file that can be read", label, path);
  for (char c = 0; file.get(c);) {
    if (source.text.size() == kMaxTemplateBytes) {
      return usage_error("{}{}: expected at most {} bytes", label, path, kMaxTemplateBytes);
    }
    source.text.push_back(c);
  }
  if (source.text.empty()) return usage_error("{}{}: expected text", label, path);
  return source;
}

}  // namespace

std::string builtin_chat_template_names() {
  std::string names;
  for (const Builtin& builtin : builtins()) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", builtin.name);
  }
  return names;
}

std::optional<ChatTemplateSource> builtin_chat_template(std::string_view name) {
  for (const Builtin& builtin : builtins()) {
    if (builtin.name == name) return source_of(builtin);
  }
  return std::nullopt;
}

Result<void> check_template_kwargs(const Json& kwargs) {
  if (!kwargs.is_object()) return usage_error("expected a JSON object");
  for (const char* name : {"messages", "tools", "add_generation_prompt", "continue_final_message",
                           "bos_token", "eos_token", "pad_token", "unk_token"}) {
    if (kwargs.contains(name)) return usage_error("{}: is not for templates' variables", name);
  }
  for (const char* name : {"enable_thinking", "thinking", "preserve_thinking", "clear_thinking"}) {
    const auto found = kwargs.find(name);
    if (found == kwargs.end() || found->is_boolean()) continue;
    return usage_error("{}: expected true or false", name);
  }
  const auto effort = kwargs.find("reasoning_effort");
  if (effort != kwargs.end() && !effort->is_string()) {
    return usage_error("reasoning_effort: expected a string");
  }
  return {};
}

namespace {

Result<ChatTemplateSource> find_text(const ChatTemplateChoice& choice, const Tokenizer& tokenizer,
                                     const GgufMetadata* metadata) {
  if (!choice.file.empty() && !choice.name_or_text.empty()) {
    return usage_error("--chat-template-file: expected this or --chat-template, found both");
  }
  if (!choice.file.empty()) return from_file(choice.file, "--chat-template-file: ");
  if (choice.is_made()) {
    for (const Builtin& builtin : builtins()) {
      if (builtin.name != choice.name_or_text) continue;
      const std::string missing = missing_markers(builtin, tokenizer);
      if (missing.empty()) return source_of(builtin);
      return usage_error(
          "--chat-template {}: {}: expected the special tokens {}, found none of that name",
          builtin.name, tokenizer.source(), missing);
    }
    if (choice.name_or_text.find('{') == std::string::npos) {
      return usage_error(
          "--chat-template: expected {} or the text of a Jinja template, found neither",
          builtin_chat_template_names());
    }
    return ChatTemplateSource{"--chat-template", choice.name_or_text, {}, nullptr};
  }
  ChatTemplateSource source;
  source.name = "tokenizer.chat_template";
  source.text = tokenizer.chat_template();
  if (metadata != nullptr) {
    FLOE_TRY(const auto tool_use, metadata->optional_string("tokenizer.chat_template.tool_use"));
    source.tool_use = tool_use.value_or("");
    if (source.text.empty()) {
      FLOE_TRY(const auto named, metadata->optional_string("tokenizer.chat_template.default"));
      source.text = named.value_or("");
    }
  }
  if (source.text.empty()) source.text = source.tool_use;
  if (!source.text.empty()) return source;
  if (!choice.folder.empty()) {
    const std::filesystem::path beside =
        std::filesystem::path(choice.folder) / "chat_template.jinja";
    std::error_code ignored;
    if (std::filesystem::is_regular_file(beside, ignored)) return from_file(beside.string(), "");
  }
  std::string sought;
  for (const Builtin& builtin : builtins()) {
    if (missing_markers(builtin, tokenizer).empty()) return source_of(builtin);
    sought += fmt::format("{}{}: {}", sought.empty() ? "" : "; ", builtin.name,
                          fmt::join(builtin.markers, " "));
  }
  return model_error(
      "{}: tokenizer.chat_template: expected a template, or the special tokens of a built-in one "
      "({}), found neither",
      tokenizer.source(), sought);
}

}  // namespace

Result<ChatTemplateSource> find_chat_template(const ChatTemplateChoice& choice,
                                              const Tokenizer& tokenizer,
                                              const GgufMetadata* metadata) {
  FLOE_TRY(ChatTemplateSource source, find_text(choice, tokenizer, metadata));
  if (choice.kwargs.empty()) return source;
  auto kwargs = parse_json(choice.kwargs);
  if (!kwargs.ok()) return usage_error("--chat-template-kwargs: {}", kwargs.error().message);
  if (auto checked = check_template_kwargs(*kwargs); !checked.ok()) {
    return usage_error("--chat-template-kwargs: {}", checked.error().message);
  }
  source.kwargs = std::make_shared<const Json>(std::move(*kwargs));
  return source;
}

}  // namespace floe

#include "chat/template_rendering.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

namespace floe {
namespace {

const std::vector<std::string> kRoles = {"system",    "developer", "user",
                                         "assistant", "tool",      "function"};

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? "" : std::string(tokenizer.token_bytes(id));
}

int32_t local_utc_offset(int64_t unix_seconds) {
  const auto time = static_cast<time_t>(unix_seconds);
  tm local = {};
  return localtime_r(&time, &local) == nullptr ? 0 : static_cast<int32_t>(local.tm_gmtoff);
}

bool is_cancelled(void* context) {
  const auto& rendering = *static_cast<const TemplateRendering*>(context);
  return rendering.cancelled();
}

// The text of a message's field: itself, or the last text of its parts. nullptr: there is none.
std::string* text_of(Json& field) {
  if (field.is_string()) return field.get_ptr<std::string*>();
  if (!field.is_array()) return nullptr;
  for (size_t i = field.size(); i-- > 0;) {
    Json& part = field[i];
    if (part.is_object() && part.contains("text") && part["text"].is_string()) {
      return part["text"].get_ptr<std::string*>();
    }
  }
  return nullptr;
}

}  // namespace

Json template_constants(const Tokenizer& tokenizer) {
  return {{"bos_token", token_text(tokenizer, tokenizer.bos_id())},
          {"eos_token", token_text(tokenizer, tokenizer.eos_id())},
          {"pad_token", token_text(tokenizer, tokenizer.pad_id())},
          {"unk_token", token_text(tokenizer, tokenizer.unknown_id())}};
}

Result<jinja::MarkedText> render_template(const jinja::Template& program, const Json& variables,
                                          const TemplateRendering& rendering) {
  jinja::TemplateInput input;
  input.variables = &variables;
  input.constants = rendering.constants;
  input.roles = kRoles;
  input.now_unix_seconds = rendering.now_unix_seconds;
  input.utc_offset_seconds = local_utc_offset(rendering.now_unix_seconds);
  if (rendering.cancelled) {
    input.is_cancelled = is_cancelled;
    input.cancel_context = const_cast<TemplateRendering*>(&rendering);
  }
  return program.render(input, rendering.limits);
}

Result<std::optional<jinja::MarkedText>> render_open(const jinja::Template& program, Json variables,
                                                     const std::string& field,
                                                     const TemplateRendering& rendering) {
  variables["add_generation_prompt"] = false;
  Json& messages = variables["messages"];
  if (!messages.is_array() || messages.empty() || !messages.back().is_object()) {
    return usage_error("messages: expected objects");
  }
  const auto member = messages.back().find(field);
  std::string* const place = member == messages.back().end() ? nullptr : text_of(*member);
  if (place == nullptr) return std::optional<jinja::MarkedText>();
  const std::string text = std::move(*place);
  // Another word where the conversation happens to hold this one.
  constexpr int kWords = 8;
  for (int i = 0; i < kWords; ++i) {
    const std::string word = fmt::format("the_open_message_ends_here_{}", i);
    *place = word;
    FLOE_TRY(const jinja::MarkedText rendered, render_template(program, variables, rendering));
    const size_t at = rendered.bytes().find(word);
    if (at == std::string_view::npos) return std::optional<jinja::MarkedText>();
    if (rendered.bytes().find(word, at + 1) != std::string_view::npos) continue;
    jinja::MarkedText open = rendered.part(0, at);
    open.append(text, jinja::Origin::data);
    return std::optional<jinja::MarkedText>(std::move(open));
  }
  return usage_error(
      "messages: expected a final message that can go on, found one whose text the chat template "
      "writes more than once");
}

std::vector<TextPart> parts_of(const jinja::MarkedText& text) {
  std::vector<TextPart> parts;
  parts.reserve(text.runs().size());
  size_t begin = 0;
  for (const jinja::MarkedText::Run& run : text.runs()) {
    parts.push_back(
        {text.bytes().substr(begin, run.end - begin), run.origin == jinja::Origin::author});
    begin = run.end;
  }
  return parts;
}

bool ends_with_marker(const jinja::MarkedText& text, std::string_view marker) {
  const std::string_view bytes = text.bytes();
  const size_t last = bytes.find_last_not_of(" \t\r\n");
  while (!marker.empty() && (marker.back() == ' ' || marker.back() == '\n'))
    marker.remove_suffix(1);
  if (last == std::string_view::npos || marker.empty() ||
      !bytes.substr(0, last + 1).ends_with(marker))
    return false;
  for (size_t i = last + 1 - marker.size(); i <= last; ++i) {
    if (text.origin_at(i) != jinja::Origin::author) return false;
  }
  return true;
}

int64_t unix_seconds_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

}  // namespace floe

#include "chat/template_variables.h"

#include <fmt/format.h>

#include <map>

namespace floe {
namespace {

std::string_view strip(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
}

Json arguments_of(const std::string& text, const TemplateShapes& shapes) {
  const std::string_view stripped = strip(text);
  if (!shapes.arguments_as_objects) return stripped.empty() ? "{}" : std::string(stripped);
  if (stripped.empty()) return Json::object();
  auto parsed = parse_json(stripped);
  if (parsed.ok() && parsed->is_object()) return std::move(*parsed);
  if (shapes.stands_arguments_as_text) return std::string(stripped);
  return {{"arguments", std::string(stripped)}};
}

// Knows of each call its id and name, for the results that follow.
class MessageWriter {
 public:
  explicit MessageWriter(const TemplateShapes& shapes) : shapes_(shapes) {}

  Json write(const ChatMessage& message) {
    // The JSON library makes an object of a null by halves where memory runs out: begin with one.
    Json out = Json::object();
    const bool is_developer = message.role == "developer" && !shapes_.has_developer;
    out["role"] = is_developer ? "system" : message.role;
    std::string content = message.content;
    std::optional<std::string> reasoning = message.reasoning_content;
    if (shapes_.one_text_with_calls && !message.tool_calls.empty() && reasoning &&
        !reasoning->empty() && !content.empty()) {
      *reasoning += "\n\n" + std::exchange(content, {});
    }
    if (shapes_.null_content && content.empty() && !message.tool_calls.empty()) {
      out["content"] = nullptr;
    } else if (shapes_.content_as_parts) {
      out["content"] = Json::array({{{"type", "text"}, {"text", std::move(content)}}});
    } else {
      out["content"] = std::move(content);
    }
    if (reasoning) out[shapes_.reasoning_field] = std::move(*reasoning);
    if (!message.tool_calls.empty()) write_calls(message, out);
    if (message.role == "tool") {
      write_result(message, out);
    } else if (!message.name.empty()) {
      out["name"] = message.name;
    }
    return out;
  }

 private:
  struct Open {
    std::string id;
    std::string name;
  };

  void write_calls(const ChatMessage& message, Json& out) {
    open_.clear();
    n_results_ = 0;
    Json& calls = out["tool_calls"] = Json::array();
    for (const ChatToolCall& call : message.tool_calls) {
      const std::string id = shapes_.ids_of_nine ? fmt::format("{:09}", ++n_calls_) : call.id;
      Json written = Json::object();
      if (!id.empty()) written["id"] = id;
      written["type"] = "function";
      written["function"] = {{"name", call.name},
                             {"arguments", arguments_of(call.arguments_json, shapes_)}};
      calls.push_back(std::move(written));
      open_.push_back({id, call.name});
      if (!call.id.empty()) calls_[call.id] = open_.back();
    }
  }

  // Which call it answers: the one of its id, else the next one of those before.
  void write_result(const ChatMessage& message, Json& out) {
    Open call;
    const size_t place = n_results_++;
    if (const auto found = calls_.find(message.tool_call_id); found != calls_.end()) {
      call = found->second;
    } else if (place < open_.size()) {
      call = open_[place];
    } else if (shapes_.ids_of_nine) {
      call.id = fmt::format("{:09}", ++n_calls_);
    }
    const std::string id =
        shapes_.ids_of_nine || message.tool_call_id.empty() ? call.id : message.tool_call_id;
    const std::string name = message.name.empty() ? call.name : message.name;
    if (!id.empty()) out["tool_call_id"] = id;
    if (!name.empty()) out["name"] = name;
  }

  const TemplateShapes& shapes_;
  std::map<std::string, Open> calls_;  // by the client's ids
  std::vector<Open> open_;             // of the last message that called
  size_t n_results_ = 0;               // since then
  uint64_t n_calls_ = 0;
};

}  // namespace

Json template_variables(std::span<const ChatMessage> messages, const ChatOptions& options,
                        const TemplateShapes& shapes) {
  Json variables = Json::object();
  if (options.template_kwargs != nullptr) variables = *options.template_kwargs;
  // As in the transformers library, which most templates were tried with, these exist always.
  variables["tools"] = nullptr;
  if (!variables.contains("documents")) variables["documents"] = nullptr;
  MessageWriter writer(shapes);
  Json written = Json::array();
  for (const ChatMessage& message : messages) written.push_back(writer.write(message));
  variables["messages"] = std::move(written);
  if (options.tools != nullptr && !options.tools->empty()) {
    Json tools = Json::array();
    for (const ChatTool& tool : *options.tools) tools.push_back(*tool.definition);
    variables["tools"] = std::move(tools);
  }
  variables["add_generation_prompt"] = options.add_generation_prompt;
  if (options.enable_thinking) {
    // Two names are in use.
    for (const char* name : {"enable_thinking", "thinking"}) {
      variables[name] = *options.enable_thinking;
    }
  }
  if (!options.reasoning_effort.empty() && !variables.contains("reasoning_effort")) {
    variables["reasoning_effort"] = options.reasoning_effort;
  }
  return variables;
}

}  // namespace floe

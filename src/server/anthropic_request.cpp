#include "server/anthropic_request.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/json.h"
#include "server/openai_json.h"

namespace floe {
namespace {

using Fault = std::optional<ApiError>;

ApiError fault_at(std::string path, std::string_view expected) {
  std::string message = fmt::format("{} must be {}", path, expected);
  return ApiError::invalid(std::move(path), std::move(message));
}

// A member that is moved away; null where it is absent.
Json take_member(Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return nullptr;
  Json value = std::move(*found);
  object.erase(found);
  return value;
}

bool is_text(const Json& value) {
  return value.is_string();
}

// The type of a block; empty where there is none.
std::string type_of(const Json& block) {
  const Json* type = block.is_object() ? find_member(block, "type") : nullptr;
  return type != nullptr && type->is_string() ? type->get<std::string>() : std::string();
}

Fault take_text(Json& block, const std::string& path, const char* name, std::string& out) {
  Json text = take_member(block, name);
  if (!is_text(text)) return fault_at(fmt::format("{}.{}", path, name), "a string");
  out = std::move(text.get_ref<std::string&>());
  return std::nullopt;
}

Json text_part(std::string text) {
  return Json{{"type", "text"}, {"text", std::move(text)}};
}

// A string or an array of text blocks, as the content of a message.
Fault take_content(Json content, const std::string& path, std::string_view where, Json& out) {
  if (is_text(content)) {
    out = std::move(content);
    return std::nullopt;
  }
  if (!content.is_array()) return fault_at(path, "a string or an array of blocks");
  out = Json::array();
  for (Json& block : content) {
    const std::string place = fmt::format("{}[{}]", path, out.size());
    if (type_of(block) != "text") {
      return ApiError::invalid(
          place + ".type", fmt::format("{}.type: only text blocks are supported {}", place, where));
    }
    std::string text;
    if (Fault fault = take_text(block, place, "text", text)) return fault;
    out.push_back(text_part(std::move(text)));
  }
  return std::nullopt;
}

// What stands in the messages of a chat so far.
class Conversation {
 public:
  // A piece of what a user or the assistant said; joins the message before it where that is of the
  // same role.
  void add_text(const std::string& role, std::string text) {
    Json& message = open(role);
    message["content"].push_back(text_part(std::move(text)));
  }
  void add_tool_call(std::string id, std::string name, Json input) {
    Json& message = open("assistant");
    array_member(message, "tool_calls")
        .push_back(
            Json{{"id", std::move(id)},
                 {"type", "function"},
                 {"function", Json{{"name", std::move(name)}, {"arguments", std::move(input)}}}});
  }
  void add_reasoning(std::string text) {
    Json& message = open("assistant");
    Json& reasoning = message["reasoning_content"];
    reasoning =
        reasoning.is_string() ? reasoning.get<std::string>() + "\n" + text : std::move(text);
  }
  void add(Json message) { messages_.push_back(std::move(message)); }
  // An empty message stays one.
  Json& open(const std::string& role) {
    if (messages_.empty() || messages_.back()["role"] != role) {
      messages_.push_back(Json{{"role", role}, {"content", Json::array()}});
    }
    return messages_.back();
  }
  Json take() { return std::move(messages_); }

 private:
  Json messages_ = Json::array();
};

Fault add_tool_result(Json& block, const std::string& path, Conversation& out) {
  std::string id;
  if (Fault fault = take_text(block, path, "tool_use_id", id)) return fault;
  Json content = take_member(block, "content");
  Json text = "";
  if (!content.is_null()) {
    if (Fault fault =
            take_content(std::move(content), path + ".content", "in a tool's result", text)) {
      return fault;
    }
  }
  const Json* is_error = find_member(block, "is_error");
  if (is_error != nullptr && !is_error->is_boolean()) {
    return fault_at(path + ".is_error", "true or false");
  }
  if (is_error != nullptr && is_error->get<bool>()) {
    if (text.is_string()) text = Json::array({text_part(text.get<std::string>())});
    if (text.empty()) text.push_back(text_part(""));
    text[0]["text"] = "Error: " + text[0]["text"].get<std::string>();
  }
  out.add(Json{{"role", "tool"}, {"tool_call_id", std::move(id)}, {"content", std::move(text)}});
  return std::nullopt;
}

Fault add_user_block(Json& block, const std::string& path, Conversation& out) {
  const std::string type = type_of(block);
  if (type == "tool_result") return add_tool_result(block, path, out);
  if (type != "text") {
    return ApiError::invalid(path + ".type",
                             path + ".type: only text and tool_result blocks are supported here");
  }
  std::string text;
  if (Fault fault = take_text(block, path, "text", text)) return fault;
  out.add_text("user", std::move(text));
  return std::nullopt;
}

Fault add_assistant_block(Json& block, const std::string& path, Conversation& out) {
  const std::string type = type_of(block);
  std::string text;
  if (type == "text") {
    if (Fault fault = take_text(block, path, "text", text)) return fault;
    out.add_text("assistant", std::move(text));
    return std::nullopt;
  }
  if (type == "thinking") {
    if (Fault fault = take_text(block, path, "thinking", text)) return fault;
    out.add_reasoning(std::move(text));
    return std::nullopt;
  }
  if (type == "redacted_thinking") return std::nullopt;
  if (type != "tool_use") {
    return ApiError::invalid(
        path + ".type", path + ".type: only text, thinking and tool_use blocks are supported here");
  }
  std::string id;
  if (Fault fault = take_text(block, path, "id", id)) return fault;
  if (Fault fault = take_text(block, path, "name", text)) return fault;
  Json input = take_member(block, "input");
  if (!input.is_object()) return fault_at(path + ".input", "an object");
  out.add_tool_call(std::move(id), std::move(text), std::move(input));
  return std::nullopt;
}

Fault add_message(Json& message, const std::string& path, Conversation& out) {
  const Json* role = message.is_object() ? find_member(message, "role") : nullptr;
  if (role == nullptr || (*role != "user" && *role != "assistant")) {
    return fault_at(path + ".role", "user or assistant");
  }
  const bool is_user = *role == "user";
  Json content = take_member(message, "content");
  if (is_text(content)) {
    out.add_text(is_user ? "user" : "assistant", std::move(content.get_ref<std::string&>()));
    return std::nullopt;
  }
  if (!content.is_array()) return fault_at(path + ".content", "a string or an array of blocks");
  if (content.empty()) out.open(is_user ? "user" : "assistant");
  size_t index = 0;
  for (Json& block : content) {
    const std::string place = fmt::format("{}.content[{}]", path, index++);
    if (Fault fault =
            is_user ? add_user_block(block, place, out) : add_assistant_block(block, place, out)) {
      return fault;
    }
  }
  return std::nullopt;
}

Fault add_messages(Json& body, Json& chat) {
  Conversation out;
  if (Json system = take_member(body, "system"); !system.is_null()) {
    Json content;
    if (Fault fault = take_content(std::move(system), "system", "here", content)) return fault;
    if (!content.empty()) out.add(Json{{"role", "system"}, {"content", std::move(content)}});
  }
  Json messages = take_member(body, "messages");
  if (!messages.is_array() || messages.empty()) {
    return fault_at("messages", "an array of at least one message");
  }
  size_t index = 0;
  for (Json& message : messages) {
    if (Fault fault = add_message(message, fmt::format("messages[{}]", index++), out)) return fault;
  }
  chat["messages"] = out.take();
  return std::nullopt;
}

Fault add_tools(Json& body, Json& chat) {
  Json tools = take_member(body, "tools");
  if (!tools.is_null()) {
    if (!tools.is_array()) return fault_at("tools", "an array");
    Json& functions = chat["tools"] = Json::array();
    for (Json& tool : tools) {
      const std::string path = fmt::format("tools[{}]", functions.size());
      if (!tool.is_object()) return fault_at(path, "an object");
      const Json* type = find_member(tool, "type");
      if (type != nullptr && *type != "custom") {
        return ApiError::invalid(path + ".type",
                                 path + ".type: only tools that the client runs are supported");
      }
      std::string name;
      if (Fault fault = take_text(tool, path, "name", name)) return fault;
      Json function{{"name", std::move(name)}};
      for (const auto& [from, to] :
           {std::pair("description", "description"), std::pair("input_schema", "parameters"),
            std::pair("strict", "strict")}) {
        if (Json value = take_member(tool, from); !value.is_null()) function[to] = std::move(value);
      }
      functions.push_back(Json{{"type", "function"}, {"function", std::move(function)}});
    }
  }
  Json choice = take_member(body, "tool_choice");
  if (choice.is_null()) return std::nullopt;
  const std::string type = type_of(choice);
  if (type == "auto" || type == "none") {
    chat["tool_choice"] = type;
  } else if (type == "any") {
    chat["tool_choice"] = "required";
  } else if (type == "tool") {
    std::string name;
    if (Fault fault = take_text(choice, "tool_choice", "name", name)) return fault;
    chat["tool_choice"] = Json{{"type", "function"}, {"function", Json{{"name", std::move(name)}}}};
  } else {
    return fault_at("tool_choice.type", "auto, any, tool or none");
  }
  if (const Json* one = find_member(choice, "disable_parallel_tool_use")) {
    if (!one->is_boolean()) {
      return fault_at("tool_choice.disable_parallel_tool_use", "true or false");
    }
    chat["parallel_tool_calls"] = !one->get<bool>();
  }
  return std::nullopt;
}

// {"type": "json_schema", "schema": ...}
Fault add_format(Json format, const std::string& path, Json& chat) {
  if (format.is_null()) return std::nullopt;
  if (type_of(format) != "json_schema") return fault_at(path + ".type", "json_schema");
  Json schema = take_member(format, "schema");
  if (!schema.is_object()) return fault_at(path + ".schema", "an object");
  chat["response_format"] =
      Json{{"type", "json_schema"},
           {"json_schema", Json{{"name", "answer"}, {"schema", std::move(schema)}}}};
  return std::nullopt;
}

// Where this API lets a client say how the answer is to be made, beside sampling.
Fault add_output(Json& body, Json& chat) {
  if (Json stops = take_member(body, "stop_sequences"); !stops.is_null()) {
    if (!stops.is_array()) return fault_at("stop_sequences", "an array of strings");
    chat["stop"] = std::move(stops);
  }
  if (Fault fault = add_format(take_member(body, "output_format"), "output_format", chat)) {
    return fault;
  }
  Json output = take_member(body, "output_config");
  if (output.is_null()) return std::nullopt;
  if (!output.is_object()) return fault_at("output_config", "an object");
  if (Json effort = take_member(output, "effort"); !effort.is_null()) {
    chat["reasoning_effort"] = std::move(effort);
  }
  return add_format(take_member(output, "format"), "output_config.format", chat);
}

// What Anthropic's own machines do for a request, and what an answer of this API has no place for.
Fault refuse_fields_without_place(const Json& body) {
  for (const char* name : {"container", "mcp_servers", "context_management"}) {
    const Json* value = find_member(body, name);
    if (value != nullptr && !value->empty()) {
      return ApiError::invalid(name, fmt::format("{} is not supported: the server runs nothing and "
                                                 "keeps nothing",
                                                 name));
    }
  }
  for (const char* name : {"logprobs", "top_logprobs", "prompt_logprobs"}) {
    const Json* value = find_member(body, name);
    if (value != nullptr && *value != false && *value != 0) {
      return ApiError::invalid(
          name, fmt::format("{} is not supported: it belongs to /v1/chat/completions", name));
    }
  }
  for (const char* name : {"n", "n_cmpl", "best_of"}) {
    const Json* value = find_member(body, name);
    if (value != nullptr && *value != 1) {
      return ApiError::invalid(name, fmt::format("{} must be 1: a message is one answer", name));
    }
  }
  return std::nullopt;
}

}  // namespace

ApiResult<Json> chat_body_of_messages(Json body, bool counts) {
  if (!body.is_object()) return ApiError::of(400, "The body must be a JSON object");
  Json chat = Json::object();
  if (Fault fault = refuse_fields_without_place(body)) return *fault;
  if (!counts && find_member(body, "max_tokens") == nullptr) {
    return fault_at("max_tokens", "given");
  }
  if (Fault fault = add_messages(body, chat)) return *fault;
  if (Fault fault = add_tools(body, chat)) return *fault;
  if (Fault fault = add_output(body, chat)) return *fault;
  for (auto& [name, value] : body.items()) {
    if (!chat.contains(name)) chat[name] = std::move(value);
  }
  return chat;
}

}  // namespace floe

#include "server/responses_request.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
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

Json take_member(Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return nullptr;
  Json value = std::move(*found);
  object.erase(found);
  return value;
}

Fault take_text(Json& object, const std::string& path, const char* name, std::string& out) {
  Json text = take_member(object, name);
  if (!text.is_string()) return fault_at(fmt::format("{}.{}", path, name), "a string");
  out = std::move(text.get_ref<std::string&>());
  return std::nullopt;
}

// The items of an input on their way to messages of a chat. Reasoning and calls that follow each
// other belong to one message of the assistant.
class Items {
 public:
  explicit Items(Json earlier)
      : messages_(earlier.is_array() ? std::move(earlier) : Json::array()) {}

  Fault add(Json& item, const std::string& path) {
    if (!item.is_object()) return fault_at(path, "an object");
    const Json* type = find_member(item, "type");
    if (type != nullptr && !type->is_string()) return fault_at(path + ".type", "a string");
    const std::string name = type == nullptr ? "message" : type->get<std::string>();
    if (name == "message") return add_message(item, path);
    if (name == "function_call") return add_call(item, path);
    if (name == "function_call_output") return add_output(item, path);
    if (name == "reasoning") return add_reasoning(item, path);
    return ApiError::invalid(path + ".type",
                             path +
                                 ".type: only message, function_call, function_call_output and "
                                 "reasoning items are supported");
  }
  void add_user(std::string text) {
    messages_.push_back(Json{{"role", "user"}, {"content", std::move(text)}});
  }
  Json take() { return std::move(messages_); }

 private:
  Fault add_message(Json& item, const std::string& path) {
    const Json* role = find_member(item, "role");
    if (role == nullptr || !role->is_string()) return fault_at(path + ".role", "a string");
    Json message{{"role", *role}, {"content", take_member(item, "content")}};
    if (*role == "assistant" && is_open()) {
      // What was thought before it.
      Json& open = messages_.back();
      if (open["content"].is_null() && !open.contains("tool_calls")) {
        open["content"] = std::move(message["content"]);
        return std::nullopt;
      }
    }
    messages_.push_back(std::move(message));
    return std::nullopt;
  }

  Fault add_call(Json& item, const std::string& path) {
    std::string id;
    std::string name;
    std::string arguments;
    if (Fault fault = take_text(item, path, "call_id", id)) return fault;
    if (Fault fault = take_text(item, path, "name", name)) return fault;
    if (Fault fault = take_text(item, path, "arguments", arguments)) return fault;
    array_member(open(), "tool_calls")
        .push_back(Json{
            {"id", std::move(id)},
            {"type", "function"},
            {"function", Json{{"name", std::move(name)}, {"arguments", std::move(arguments)}}}});
    return std::nullopt;
  }

  Fault add_output(Json& item, const std::string& path) {
    std::string id;
    if (Fault fault = take_text(item, path, "call_id", id)) return fault;
    Json output = take_member(item, "output");
    if (!output.is_string() && !output.is_array()) {
      return fault_at(path + ".output", "a string or an array of parts");
    }
    messages_.push_back(
        Json{{"role", "tool"}, {"tool_call_id", std::move(id)}, {"content", std::move(output)}});
    return std::nullopt;
  }

  // The text itself, or else the summary of it. Encrypted reasoning is for its author alone.
  Fault add_reasoning(Json& item, const std::string& path) {
    std::string text;
    for (const char* field : {"content", "summary"}) {
      Json parts = take_member(item, field);
      if (parts.is_null() || !text.empty()) continue;
      if (!parts.is_array()) return fault_at(fmt::format("{}.{}", path, field), "an array");
      for (Json& part : parts) {
        const std::string place = fmt::format("{}.{}", path, field);
        if (!part.is_object()) return fault_at(place, "an array of objects");
        std::string piece;
        if (Fault fault = take_text(part, place, "text", piece)) return fault;
        text += (text.empty() ? "" : "\n") + piece;
      }
    }
    if (!text.empty()) open()["reasoning_content"] = std::move(text);
    return std::nullopt;
  }

  bool is_open() const { return !messages_.empty() && messages_.back()["role"] == "assistant"; }
  Json& open() {
    if (!is_open()) messages_.push_back(Json{{"role", "assistant"}, {"content", nullptr}});
    return messages_.back();
  }

  Json messages_;
};

Fault read_input(Json& body, const Json& earlier, Json& messages) {
  Items items(earlier);
  Json input = take_member(body, "input");
  if (input.is_string()) {
    items.add_user(std::move(input.get_ref<std::string&>()));
  } else if (input.is_array() && !input.empty()) {
    size_t index = 0;
    for (Json& item : input) {
      if (Fault fault = items.add(item, fmt::format("input[{}]", index++))) return fault;
    }
  } else {
    return fault_at("input", "a string or an array of at least one item");
  }
  messages = items.take();
  return std::nullopt;
}

Fault read_tools(Json& body, Json& chat, Json& echo) {
  Json tools = take_member(body, "tools");
  if (!tools.is_null()) {
    if (!tools.is_array()) return fault_at("tools", "an array");
    echo["tools"] = tools;
    Json& functions = chat["tools"] = Json::array();
    for (Json& tool : tools) {
      const std::string path = fmt::format("tools[{}]", functions.size());
      const Json* type = tool.is_object() ? find_member(tool, "type") : nullptr;
      if (type == nullptr || *type != "function") {
        return ApiError::invalid(path + ".type",
                                 path + ".type: only functions that the client runs are supported");
      }
      tool.erase("type");
      functions.push_back(Json{{"type", "function"}, {"function", std::move(tool)}});
    }
  }
  Json choice = take_member(body, "tool_choice");
  if (choice.is_null()) return std::nullopt;
  echo["tool_choice"] = choice;
  if (choice.is_object() && choice.contains("name")) {
    std::string name;
    if (Fault fault = take_text(choice, "tool_choice", "name", name)) return fault;
    choice = Json{{"type", "function"}, {"function", Json{{"name", std::move(name)}}}};
  }
  chat["tool_choice"] = std::move(choice);
  return std::nullopt;
}

// text.format: the answer's form.
Fault read_text(Json& body, Json& chat, Json& echo) {
  Json text = take_member(body, "text");
  if (text.is_null()) return std::nullopt;
  if (!text.is_object()) return fault_at("text", "an object");
  echo["text"] = text;
  Json format = take_member(text, "format");
  if (!format.is_null()) {
    const Json* type = format.is_object() ? find_member(format, "type") : nullptr;
    if (type == nullptr) return fault_at("text.format", "an object with a type");
    const bool is_schema = *type == "json_schema";
    if (!is_schema) {
      chat["response_format"] = std::move(format);
    } else {
      format.erase("type");
      chat["response_format"] = Json{{"type", "json_schema"}, {"json_schema", std::move(format)}};
    }
  }
  if (const Json* verbosity = find_member(text, "verbosity"); verbosity != nullptr) {
    if (*verbosity != "medium") {
      return ApiError::invalid("text.verbosity",
                               "text.verbosity must be medium: the model has no other");
    }
  }
  return std::nullopt;
}

// Fields of which only the value that asks for nothing is taken.
Fault refuse_services(const Json& body) {
  struct Row {
    const char* name;
    const char* neutral;  // a string that asks for nothing
    const char* why;
  };
  constexpr Row kRows[] = {
      {"background", "", "answers are given on the connection that asks"},
      {"conversation", "",
       "the server keeps no conversations: send previous_response_id or all items"},
      {"prompt", "", "the server keeps no prompts: send instructions and input"},
      {"truncation", "disabled", "prompts are not shortened"},
      {"max_tool_calls", "", "the server runs no tools"},
      {"n", "", "a response is one answer"},
      {"messages", "", "it belongs to /v1/chat/completions: send input"},
  };
  for (const Row& row : kRows) {
    const Json* value = find_member(body, row.name);
    if (value == nullptr || *value == false || (row.neutral[0] != 0 && *value == row.neutral)) {
      continue;
    }
    return ApiError::invalid(row.name, fmt::format("{} is not supported: {}", row.name, row.why));
  }
  const Json* include = find_member(body, "include");
  if (include == nullptr) return std::nullopt;
  if (!include->is_array()) return fault_at("include", "an array");
  for (const Json& what : *include) {
    // Of what there never is nothing can be included; the reasoning comes in the open.
    if (what == "reasoning.encrypted_content" || what == "message.output_text.logprobs") {
      if (what == "message.output_text.logprobs") {
        return ApiError::invalid("include",
                                 "include: log probabilities belong to /v1/chat/completions");
      }
      continue;
    }
    if (!what.is_string()) return fault_at("include", "an array of strings");
  }
  return std::nullopt;
}

}  // namespace

ApiResult<std::string> previous_response_id(const Json& body) {
  const Json* id = body.is_object() ? find_member(body, "previous_response_id") : nullptr;
  if (id == nullptr) return std::string();
  if (!id->is_string()) return fault_at("previous_response_id", "a string");
  return id->get<std::string>();
}

ApiResult<ResponsesBody> chat_body_of_response(Json body, const Json& earlier) {
  if (!body.is_object()) return ApiError::of(400, "The body must be a JSON object");
  if (Fault fault = refuse_services(body)) return *fault;
  ResponsesBody out;
  out.chat = Json::object();
  out.echo = Json::object();
  if (Fault fault = read_input(body, earlier, out.messages)) return *fault;
  if (const Json* store = find_member(body, "store")) {
    if (!store->is_boolean()) return fault_at("store", "true or false");
    out.store = store->get<bool>();
  }
  Json messages = out.messages;
  if (Json instructions = take_member(body, "instructions"); !instructions.is_null()) {
    if (!instructions.is_string()) return fault_at("instructions", "a string");
    out.echo["instructions"] = instructions;
    messages.insert(messages.begin(),
                    Json{{"role", "system"}, {"content", std::move(instructions)}});
  }
  out.chat["messages"] = std::move(messages);
  if (Fault fault = read_tools(body, out.chat, out.echo)) return *fault;
  if (Fault fault = read_text(body, out.chat, out.echo)) return *fault;
  if (Json reasoning = take_member(body, "reasoning"); !reasoning.is_null()) {
    if (!reasoning.is_object()) return fault_at("reasoning", "an object");
    out.echo["reasoning"] = reasoning;
    // Reasoning is given as it is; there is nothing to summarise it.
    reasoning.erase("summary");
    reasoning.erase("generate_summary");
    if (!reasoning.empty()) out.chat["reasoning"] = std::move(reasoning);
  }
  for (const char* name : {"previous_response_id", "max_output_tokens", "temperature", "top_p",
                           "metadata", "parallel_tool_calls", "user", "truncation"}) {
    if (const Json* value = find_member(body, name)) out.echo[name] = *value;
  }
  for (const char* name : {"previous_response_id", "include", "background", "conversation",
                           "prompt", "truncation", "max_tool_calls", "store", "n"}) {
    body.erase(name);
  }
  for (auto& [name, value] : body.items()) {
    if (!out.chat.contains(name)) out.chat[name] = std::move(value);
  }
  return out;
}

}  // namespace floe

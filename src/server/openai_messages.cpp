#include "server/openai_messages.h"

#include <fmt/format.h>

#include "base/json.h"
#include "server/openai_json.h"
#include "server/openai_tool_choice.h"

namespace floe {
namespace {

constexpr size_t kMaxFunctionNameBytes = 128;

ApiError fault_at(std::string path, std::string_view expected) {
  std::string message = fmt::format("{} must be {}", path, expected);
  return ApiError::invalid(std::move(path), std::move(message));
}

// The text of one part. What an answer may hold is accepted in the form that the Responses API
// gives it, too.
std::optional<ApiError> read_part(const Json& part, const std::string& path, std::string& out) {
  const Json* type = part.is_object() ? find_member(part, "type") : nullptr;
  if (type == nullptr || !type->is_string()) return fault_at(path, "an object with a type");
  const std::string& name = type->get_ref<const std::string&>();
  const bool refusal = name == "refusal";
  if (name != "text" && name != "input_text" && name != "output_text" && !refusal) {
    return ApiError::invalid(path + ".type",
                             fmt::format("{}.type: only text parts are supported", path));
  }
  const char* key = refusal ? "refusal" : "text";
  const Json* text = find_member(part, key);
  if (text == nullptr || !text->is_string()) {
    return fault_at(fmt::format("{}.{}", path, key), "a string");
  }
  out += text->get_ref<const std::string&>();
  return std::nullopt;
}

// A string, null, or an array of text parts, which become lines.
std::optional<ApiError> read_content(const Json& message, const std::string& path,
                                     std::string& out) {
  const Json* content = find_member(message, "content");
  if (content == nullptr) return std::nullopt;
  if (content->is_string()) {
    out = content->get<std::string>();
    return std::nullopt;
  }
  if (!content->is_array()) return fault_at(path + ".content", "a string or an array of parts");
  size_t n_parts = 0;
  for (const Json& part : *content) {
    if (n_parts > 0) out += '\n';
    if (auto fault = read_part(part, fmt::format("{}.content[{}]", path, n_parts), out)) {
      return fault;
    }
    ++n_parts;
  }
  return std::nullopt;
}

// {"name": ..., "arguments": ...}
std::optional<ApiError> read_function_call(const Json* function, const std::string& path,
                                           ChatToolCall& out) {
  if (function == nullptr || !function->is_object()) return fault_at(path, "an object");
  const Json* name = find_member(*function, "name");
  if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().empty()) {
    return fault_at(path + ".name", "a string that is not empty");
  }
  out.name = name->get<std::string>();
  const Json* arguments = find_member(*function, "arguments");
  if (arguments == nullptr) return std::nullopt;
  if (arguments->is_string()) {
    out.arguments_json = arguments->get<std::string>();
  } else if (arguments->is_object()) {
    out.arguments_json = dump_json(*arguments);
  } else {
    return fault_at(path + ".arguments", "a string or an object");
  }
  return std::nullopt;
}

std::optional<ApiError> read_tool_calls(const Json& message, const std::string& path,
                                        ChatMessage& out) {
  if (const Json* calls = find_member(message, "tool_calls")) {
    if (!calls->is_array()) return fault_at(path + ".tool_calls", "an array");
    for (const Json& call : *calls) {
      const std::string place = fmt::format("{}.tool_calls[{}]", path, out.tool_calls.size());
      if (!call.is_object()) return fault_at(place, "an object");
      const Json* type = find_member(call, "type");
      if (type != nullptr && *type != "function") return fault_at(place + ".type", "\"function\"");
      ChatToolCall parsed;
      if (const Json* id = find_member(call, "id")) {
        if (!id->is_string()) return fault_at(place + ".id", "a string");
        parsed.id = id->get<std::string>();
      }
      if (auto fault =
              read_function_call(find_member(call, "function"), place + ".function", parsed)) {
        return fault;
      }
      out.tool_calls.push_back(std::move(parsed));
    }
  }
  // The form before tool_calls: one call, without an id.
  if (const Json* call = find_member(message, "function_call")) {
    ChatToolCall parsed;
    if (auto fault = read_function_call(call, path + ".function_call", parsed)) return fault;
    out.tool_calls.push_back(std::move(parsed));
  }
  return std::nullopt;
}

std::optional<ApiError> read_reasoning(const Json& message, const std::string& path,
                                       ChatMessage& out) {
  for (const char* key : {"reasoning_content", "reasoning"}) {
    const Json* reasoning = find_member(message, key);
    if (reasoning == nullptr) continue;
    if (!reasoning->is_string()) return fault_at(fmt::format("{}.{}", path, key), "a string");
    out.reasoning_content = reasoning->get<std::string>();
    return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ApiError> read_message(const Json& message, const std::string& path,
                                     ChatMessage& out) {
  const Json* role = message.is_object() ? find_member(message, "role") : nullptr;
  if (role == nullptr || !role->is_string()) return fault_at(path, "an object with a role");
  out.role = role->get<std::string>();
  if (out.role == "function") out.role = "tool";  // its name before tools
  if (out.role != "system" && out.role != "developer" && out.role != "user" &&
      out.role != "assistant" && out.role != "tool") {
    return fault_at(path + ".role", "system, developer, user, assistant or tool");
  }
  if (auto fault = read_content(message, path, out.content)) return fault;
  if (out.role == "assistant") {
    // A client may send back the refusal of another server's answer: it is what was said.
    if (const Json* refusal = find_member(message, "refusal")) {
      if (!refusal->is_string()) return fault_at(path + ".refusal", "a string");
      if (out.content.empty()) out.content = refusal->get<std::string>();
    }
    if (auto fault = read_reasoning(message, path, out)) return fault;
    return read_tool_calls(message, path, out);
  }
  if (const Json* id = find_member(message, "tool_call_id"); id != nullptr && id->is_string()) {
    out.tool_call_id = id->get<std::string>();
  }
  return std::nullopt;
}

bool is_function_name(const Json* name) {
  if (name == nullptr || !name->is_string()) return false;
  const std::string& text = name->get_ref<const std::string&>();
  if (text.empty() || text.size() > kMaxFunctionNameBytes) return false;
  for (const unsigned char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '_' && c != '-' && c != '.' && c != ':' && c != '/') return false;
  }
  return true;
}

}  // namespace

std::optional<ApiError> read_messages(const Json& body, std::vector<ChatMessage>& out) {
  const Json* messages = find_member(body, "messages");
  if (messages == nullptr || !messages->is_array() || messages->empty() ||
      messages->size() > kMaxMessages) {
    return fault_at("messages", fmt::format("an array of 1 to {} messages", kMaxMessages));
  }
  out.reserve(messages->size());
  for (const Json& message : *messages) {
    ChatMessage parsed;
    if (auto fault = read_message(message, fmt::format("messages[{}]", out.size()), parsed)) {
      return fault;
    }
    out.push_back(std::move(parsed));
  }
  return std::nullopt;
}

std::optional<ApiError> read_tools(const Json& body, ChatTools& out) {
  ToolChoice choice = ToolChoice::automatic;
  if (auto fault = read_tool_choice(body, choice)) return fault;
  const Json* tools = find_member(body, "tools");
  if (tools == nullptr) return std::nullopt;
  if (!tools->is_array() || tools->size() > kMaxTools) {
    return fault_at("tools", fmt::format("an array of at most {} functions", kMaxTools));
  }
  size_t n_tools = 0;
  for (const Json& tool : *tools) {
    const std::string path = fmt::format("tools[{}]", n_tools++);
    const Json* function = tool.is_object() ? find_member(tool, "function") : nullptr;
    if (function == nullptr || !function->is_object()) {
      return fault_at(path, "an object with a function");
    }
    if (!is_function_name(find_member(*function, "name"))) {
      return fault_at(
          path + ".function.name",
          fmt::format("1 to {} letters, digits or any of _ - . : /", kMaxFunctionNameBytes));
    }
    const Json* parameters = find_member(*function, "parameters");
    if (parameters != nullptr && !parameters->is_object()) {
      return fault_at(path + ".function.parameters", "an object");
    }
  }
  if (choice == ToolChoice::none || tools->empty()) return std::nullopt;
  Result<ChatTools> made = make_chat_tools(*tools);
  if (!made.ok()) return ApiError::invalid("tools", made.error().message);
  out = std::move(made).value();
  return std::nullopt;
}

std::optional<ApiError> read_prompt_end(const Json& body, const std::vector<ChatMessage>& messages,
                                        ChatOptions& out) {
  const auto flag = [&](const char* name, std::optional<bool>& value) -> std::optional<ApiError> {
    const Json* given = find_member(body, name);
    if (given == nullptr) return std::nullopt;
    if (!given->is_boolean()) return fault_at(name, "true or false");
    value = given->get<bool>();
    return std::nullopt;
  };
  std::optional<bool> opens;
  std::optional<bool> continues;
  if (auto fault = flag("add_generation_prompt", opens)) return fault;
  if (auto fault = flag("continue_final_message", continues)) return fault;
  const ChatMessage& last = messages.back();
  const bool can_continue = last.role == "assistant" && last.tool_calls.empty();
  if (continues == true && opens == true) {
    return ApiError::invalid(
        "continue_final_message",
        "continue_final_message and add_generation_prompt must not both be true");
  }
  if (continues == true && !can_continue) {
    return ApiError::invalid(
        "continue_final_message",
        fmt::format("continue_final_message needs a message of the assistant without tool calls "
                    "in messages[{}]",
                    messages.size() - 1));
  }
  out.continue_final_message = continues.value_or(can_continue);
  out.add_generation_prompt = opens.value_or(true);
  return std::nullopt;
}

}  // namespace floe

#include "chat/answer_text.h"

#include "chat/chat_tools.h"

namespace floe::testing {
namespace {

std::string literal(const AnswerFormat& format, const Json& value) {
  const bool braces = format.calls.layout == CallLayout::braces;
  if (value.is_string() && braces) return "<|\"|>" + value.get<std::string>() + "<|\"|>";
  if (value.is_null()) return "None";
  if (value.is_boolean() && !braces) return value.get<bool>() ? "True" : "False";
  if (value.is_array()) {
    std::string out = "[";
    for (const Json& one : value) out += (out.size() > 1 ? ", " : "") + literal(format, one);
    return out + "]";
  }
  if (value.is_object()) {
    std::string out = "{";
    for (const auto& [key, one] : value.items()) {
      if (out.size() > 1) out += ",";
      out += (braces ? key : "'" + key + "'") + ":" + literal(format, one);
    }
    return out + "}";
  }
  return dump_json(value);
}

std::string arguments_text(const AnswerFormat& format, const Json& arguments) {
  const CallSyntax& calls = format.calls;
  std::string out;
  switch (calls.layout) {
    case CallLayout::tagged:
      for (const auto& [key, value] : arguments.items()) {
        const bool json = !value.is_string();
        out += calls.before_key + key + calls.after_key;
        out +=
            json && !calls.before_json_value.empty() ? calls.before_json_value : calls.before_value;
        out += (json ? python_json(value) : value.get<std::string>()) + calls.after_value;
      }
      return out;
    case CallLayout::braces:
    case CallLayout::python: {
      const bool braces = calls.layout == CallLayout::braces;
      for (const auto& [key, value] : arguments.items()) {
        if (!out.empty()) out += braces ? "," : ", ";
        out += key + (braces ? ":" : "=") + literal(format, value);
      }
      return out;
    }
    default:
      return python_json(arguments);
  }
}

std::string block(const AnswerFormat& format, const std::vector<MeantCall>& meant) {
  const CallSyntax& calls = format.calls;
  // Formats whose block is one call have a block for each.
  const bool one = calls.end.empty() ||
                   (calls.before_name.empty() && calls.layout != CallLayout::python) ||
                   calls.layout == CallLayout::braces;
  std::string out;
  for (size_t i = 0; i < meant.size(); ++i) {
    out += i == 0 || one ? calls.begin : calls.between;
    out += calls.before_name + calls.name_prefix + meant[i].name;
    if (calls.numbered) out += ":" + std::to_string(i);
    out += calls.after_name + arguments_text(format, meant[i].arguments) + calls.after_arguments;
    if (one) out += calls.end;
  }
  return one || meant.empty() ? out : out + calls.end;
}

std::string harmony_text(const Meant& meant) {
  std::vector<std::string> messages;
  if (!meant.reasoning.empty()) {
    messages.push_back("<|channel|>analysis<|message|>" + meant.reasoning + "<|end|>");
  }
  if (!meant.before.empty()) {
    messages.push_back("<|channel|>commentary<|message|>" + meant.before + "<|end|>");
  }
  for (const auto* calls : {&meant.calls, &meant.second_calls}) {
    for (const MeantCall& call : *calls) {
      messages.push_back("<|channel|>commentary to=functions." + call.name +
                         " <|constrain|>json<|message|>" + python_json(call.arguments) +
                         "<|call|>");
    }
  }
  if (!meant.after.empty()) {
    messages.push_back("<|channel|>final<|message|>" + meant.after);
  }
  std::string out;
  for (size_t i = 0; i < messages.size(); ++i) {
    out += (i == 0 ? "" : "<|start|>assistant") + messages[i];
  }
  return out;
}

}  // namespace

std::string answer_text(const AnswerFormat& format, const Meant& meant) {
  if (format.calls.layout == CallLayout::harmony) return harmony_text(meant);
  std::string out;
  if (!meant.reasoning.empty()) {
    out += format.reasoning.open + meant.reasoning + format.reasoning.close + "\n\n";
  }
  return out + meant.before + block(format, meant.calls) + block(format, meant.second_calls) +
         meant.after;
}

std::string answer_content(const AnswerFormat& format, const std::string& text) {
  if (format.calls.layout != CallLayout::harmony) return text;
  std::string out = text;
  for (const std::string_view markup : {"<|channel|>commentary<|message|>", "<|end|>",
                                        "<|start|>assistant<|channel|>final<|message|>"}) {
    if (const size_t at = out.find(markup); at != std::string::npos) out.erase(at, markup.size());
  }
  // What starts a message that is text all the same is part of that text.
  return out;
}

}  // namespace floe::testing

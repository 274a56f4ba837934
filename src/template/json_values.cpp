#include "template/json_values.h"

#include <algorithm>

namespace floe::jinja {

namespace {

// What a member of a dict takes: its key, its value and the entry in the index.
constexpr size_t kValuesPerMember = 4;

bool is_allowed_role(const Interpreter& interpreter, const std::string& role) {
  const auto& roles = interpreter.input().roles;
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

Result<Value> convert(Interpreter& interpreter, const Json& json, Origin origin, bool is_role);

Result<void> convert_members(Interpreter& interpreter, const Json& object, Origin origin,
                             bool is_message, Dict& out) {
  FLOE_TRY_VOID(interpreter.hold(kValuesPerMember * object.size()));
  for (const auto& [name, member] : object.items()) {
    FLOE_TRY(const Value key, interpreter.text(name, origin));
    FLOE_TRY(Value value, convert(interpreter, member, origin, is_message && name == "role"));
    out.set(key, std::move(value));
  }
  return {};
}

Result<Value> convert(Interpreter& interpreter, const Json& json, Origin origin, bool is_role) {
  const Interpreter::Level level(interpreter);
  if (level.too_deep()) return interpreter.too_deep();
  switch (json.type()) {
    case Json::value_t::null:
      return Value(None{});
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(Integer{json.get<int64_t>()});
    case Json::value_t::number_unsigned:
      return Value(static_cast<Integer>(json.get<uint64_t>()));
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      const bool is_author = is_role && is_allowed_role(interpreter, text);
      return interpreter.text(text, is_author ? Origin::author : origin);
    }
    case Json::value_t::array: {
      FLOE_TRY_VOID(interpreter.hold(json.size()));
      List& list = interpreter.make_list();
      list.items.reserve(json.size());
      for (const Json& item : json) {
        FLOE_TRY(Value value, convert(interpreter, item, origin, false));
        list.items.push_back(std::move(value));
      }
      return Value(&list);
    }
    case Json::value_t::object: {
      Dict& dict = interpreter.make_dict();
      FLOE_TRY_VOID(convert_members(interpreter, json, origin, false, dict));
      return Value(&dict);
    }
    default:
      return interpreter.fault("a JSON value of an unknown kind");
  }
}

}  // namespace

Result<void> add_members(Interpreter& interpreter, const Json& object, Origin origin, Dict& out) {
  for (const auto& [name, member] : object.items()) {
    FLOE_TRY(const Value key, interpreter.text(name, Origin::author));
    if (name == "messages" && member.is_array()) {
      List& messages = interpreter.make_list();
      for (const Json& message : member) {
        if (!message.is_object()) return usage_error("messages: expected objects");
        Dict& dict = interpreter.make_dict();
        FLOE_TRY_VOID(convert_members(interpreter, message, origin, true, dict));
        messages.items.push_back(Value(&dict));
      }
      out.set(key, Value(&messages));
      continue;
    }
    FLOE_TRY(Value value, convert(interpreter, member, origin, false));
    out.set(key, std::move(value));
  }
  return {};
}

Result<Value> value_of_json(Interpreter& interpreter, const Json& json, Origin origin) {
  return convert(interpreter, json, origin, false);
}

}  // namespace floe::jinja

// What stands behind `is`: Jinja2 calls them tests.
#include <algorithm>
#include <cmath>

#include "template/characters.h"
#include "template/operations.h"

namespace floe::jinja {

namespace {

// A predicate without arguments.
template <bool (*kHolds)(const Value&)>
Result<Value> plain(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "test", call, {}).check(0));
  return Value(kHolds(subject));
}

template <Comparison kComparison>
Result<Value> compared(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "test", call, {"other"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const bool holds, compare(interpreter, kComparison, subject, *arguments.read(0)));
  return Value(holds);
}

bool is_string(const Value& value) {
  return value.text() != nullptr;
}
bool is_mapping(const Value& value) {
  return value.dict() != nullptr && !value.dict()->is_namespace;
}
bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.as<bool>() != nullptr;
}
bool is_integer(const Value& value) {
  return value.as<Integer>() != nullptr;
}
bool is_float(const Value& value) {
  return value.as<double>() != nullptr;
}
bool is_number(const Value& value) {
  return value.number().has_value();
}
bool is_sequence(const Value& value) {
  return is_string(value) || value.list() != nullptr || is_mapping(value) || value.is_undefined();
}
bool is_iterable(const Value& value) {
  return is_sequence(value);
}
bool is_callable(const Value& value) {
  return value.function() != nullptr;
}
bool is_exactly_true(const Value& value) {
  return value.as<bool>() != nullptr && *value.as<bool>();
}
bool is_exactly_false(const Value& value) {
  return value.as<bool>() != nullptr && !*value.as<bool>();
}

// Whether there are letters with case, all of this one.
template <bool (*kWanted)(uint32_t), bool (*kOther)(uint32_t)>
bool has_case(const Value& value) {
  const MarkedText* text = value.text();
  if (text == nullptr) return false;
  bool found = false;
  for (size_t at = 0; at < text->size();) {
    const Character character = character_at(text->bytes(), at);
    if (kOther(character.codepoint)) return false;
    found = found || kWanted(character.codepoint);
    at += character.length_bytes;
  }
  return found;
}

Result<Value> parity(Interpreter& interpreter, const Value& subject, bool odd) {
  const auto integer = subject.integer();
  if (!integer) return interpreter.fault("tests of parity take integers");
  return Value((*integer % 2 != 0) == odd);
}
Result<Value> is_odd(Interpreter& interpreter, const Value& subject, const Call&) {
  return parity(interpreter, subject, true);
}
Result<Value> is_even(Interpreter& interpreter, const Value& subject, const Call&) {
  return parity(interpreter, subject, false);
}

Result<Value> is_divisible(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "divisibleby", call, {"num"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const Value rest,
           apply(interpreter, BinaryOperator::modulo, subject, *arguments.read(0)));
  return Value(rest.number() == 0.0);
}

Result<Value> is_same(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "sameas", call, {"other"});
  FLOE_TRY_VOID(arguments.check(1));
  const Value& other = *arguments.read(0);
  if (subject.list() != nullptr || other.list() != nullptr) {
    return Value(subject.list() == other.list());
  }
  if (subject.dict() != nullptr || other.dict() != nullptr) {
    return Value(subject.dict() == other.dict());
  }
  // 1 and True are equal, but not the same.
  FLOE_TRY(const bool same, equal(interpreter, subject, other));
  return Value(same && type_name(subject) == type_name(other));
}

struct Row {
  std::string_view name;
  Operation operation;
};

constexpr Row kPredicates[] = {
    {"!=", compared<Comparison::not_equal>},
    {"<", compared<Comparison::less>},
    {"<=", compared<Comparison::less_equal>},
    {"==", compared<Comparison::equal>},
    {">", compared<Comparison::greater>},
    {">=", compared<Comparison::greater_equal>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", is_divisible},
    {"eq", compared<Comparison::equal>},
    {"equalto", compared<Comparison::equal>},
    {"even", is_even},
    {"false", plain<is_exactly_false>},
    {"float", plain<is_float>},
    {"ge", compared<Comparison::greater_equal>},
    {"greaterthan", compared<Comparison::greater>},
    {"gt", compared<Comparison::greater>},
    {"in", compared<Comparison::in>},
    {"integer", plain<is_integer>},
    {"iterable", plain<is_iterable>},
    {"le", compared<Comparison::less_equal>},
    {"lessthan", compared<Comparison::less>},
    {"lower", plain<has_case<is_lower, is_upper>>},
    {"lt", compared<Comparison::less>},
    {"mapping", plain<is_mapping>},
    {"ne", compared<Comparison::not_equal>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"true", plain<is_exactly_true>},
    {"undefined", plain<is_undefined>},
    {"upper", plain<has_case<is_upper, is_lower>>},
};

}  // namespace

Operation find_predicate(std::string_view name) {
  for (const Row& row : kPredicates) {
    if (row.name == name) return row.operation;
  }
  return nullptr;
}

}  // namespace floe::jinja

// The functions that every template sees, and how arguments are read.
#include <array>
#include <ctime>

#include "template/operations.h"
#include "template/value_text.h"

namespace floe::jinja {

Result<void> Arguments::check(size_t n_required) const {
  if (call_.positional.size() > names_.size()) {
    return interpreter_.fault(std::string(function_) + ": expected at most " +
                              std::to_string(names_.size()) + " arguments, found " +
                              std::to_string(call_.positional.size()));
  }
  for (const auto& [name, unused] : call_.named) {
    bool known = false;
    for (const std::string_view parameter : names_) known = known || parameter == name;
    if (!known) {
      return interpreter_.fault(std::string(function_) + ": the argument '" + std::string(name) +
                                "' is not supported");
    }
  }
  for (size_t i = 0; i < n_required; ++i) {
    if (read(i) != nullptr) continue;
    return interpreter_.fault(std::string(function_) + ": expected the argument '" +
                              std::string(names_[i]) + "'");
  }
  return {};
}

const Value* Arguments::read(size_t index) const {
  if (index < call_.positional.size()) return &call_.positional[index];
  return call_.find_named(names_[index]);
}

Error Arguments::wrong_type(size_t index, std::string_view expected) const {
  return interpreter_.fault(std::string(function_) + ": expected '" + std::string(names_[index]) +
                            "' as " + std::string(expected) + ", found " +
                            std::string(type_name(*read(index))));
}

Result<bool> Arguments::flag(size_t index, bool otherwise) const {
  const Value* value = read(index);
  return value == nullptr ? otherwise : is_true(*value);
}

Result<Integer> Arguments::integer(size_t index, Integer otherwise) const {
  const Value* value = read(index);
  if (value == nullptr || value->is_none()) return otherwise;
  if (const auto integer = value->integer()) return *integer;
  return wrong_type(index, "an integer");
}

Result<const MarkedText*> Arguments::text(size_t index) const {
  const Value* value = read(index);
  if (value == nullptr || value->is_none()) return static_cast<const MarkedText*>(nullptr);
  if (value->text() == nullptr) return wrong_type(index, "a string");
  return value->text();
}

namespace {

Result<Value> make_range(Interpreter& interpreter, const Value&, const Call& call) {
  const Arguments arguments(interpreter, "range", call, {"start", "stop", "step"});
  FLOE_TRY_VOID(arguments.check(1));
  Integer begin = 0;
  FLOE_TRY(Integer end, arguments.integer(0, 0));
  FLOE_TRY(const Integer step, arguments.integer(2, 1));
  if (arguments.read(1) != nullptr) {
    begin = end;
    FLOE_TRY(end, arguments.integer(1, 0));
  }
  if (step == 0) return interpreter.fault("range: the step is 0");
  constexpr Integer kBound = Integer{1} << 62;
  if (begin > kBound || begin < -kBound || end > kBound || end < -kBound || step > kBound ||
      step < -kBound) {
    return interpreter.fault("range: a bound is too large");
  }
  const Integer distance = step > 0 ? end - begin : begin - end;
  const Integer stride = step > 0 ? step : -step;
  const Integer count = distance <= 0 ? 0 : (distance + stride - 1) / stride;
  // Paid before it is made: range(10**9) ends here.
  constexpr Integer kMaxItems = 10'000'000;
  if (count > kMaxItems) return interpreter.fault("range: more than 10,000,000 items");
  FLOE_TRY_VOID(interpreter.hold(static_cast<size_t>(count)));
  List& list = interpreter.make_list();
  list.items.reserve(static_cast<size_t>(count));
  for (Integer i = 0; i < count; ++i) list.items.push_back(Value(begin + i * step));
  return Value(&list);
}

// namespace(a=1) and dict(a=1), or of the members of another dict.
Result<Value> make_named(Interpreter& interpreter, const Call& call, bool is_namespace) {
  FLOE_TRY_VOID(interpreter.hold(4 * (call.named.size() + 1)));
  Dict& dict = interpreter.make_dict();
  dict.is_namespace = is_namespace;
  for (const Value& from : call.positional) {
    const Dict* other = from.dict();
    if (other == nullptr || other->is_namespace) {
      return interpreter.fault("expected a dict, found " + std::string(type_name(from)));
    }
    FLOE_TRY_VOID(interpreter.hold(4 * other->size()));
    for (const auto& [key, value] : other->members()) dict.set(key, value);
  }
  for (const auto& [name, value] : call.named) {
    FLOE_TRY(const Value key, interpreter.text(std::string(name), Origin::author));
    dict.set(key, value);
  }
  return Value(&dict);
}
Result<Value> make_namespace(Interpreter& interpreter, const Value&, const Call& call) {
  return make_named(interpreter, call, true);
}
Result<Value> make_dict(Interpreter& interpreter, const Value&, const Call& call) {
  return make_named(interpreter, call, false);
}

Result<Value> raise_exception(Interpreter& interpreter, const Value&, const Call& call) {
  const Arguments arguments(interpreter, "raise_exception", call, {"message"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const MarkedText message, printed(interpreter, *arguments.read(0)));
  return usage_error("the chat template refuses this conversation: {}", message.bytes());
}

Result<Value> strftime_now(Interpreter& interpreter, const Value&, const Call& call) {
  const Arguments arguments(interpreter, "strftime_now", call, {"format"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const MarkedText* format, arguments.text(0));
  if (format == nullptr || format->size() > 256) {
    return interpreter.fault("strftime_now: expected a format of at most 256 bytes");
  }
  const std::time_t seconds =
      interpreter.input().now_unix_seconds + interpreter.input().utc_offset_seconds;
  std::tm calendar = {};
  gmtime_r(&seconds, &calendar);
  std::array<char, 2048> buffer;
  const size_t length =
      std::strftime(buffer.data(), buffer.size(), std::string(format->bytes()).c_str(), &calendar);
  return interpreter.text(std::string(buffer.data(), length), Origin::author);
}

struct Row {
  std::string_view name;
  Function::Native native;
};

constexpr Row kGlobals[] = {
    {"dict", make_dict},   {"namespace", make_namespace},  {"raise_exception", raise_exception},
    {"range", make_range}, {"strftime_now", strftime_now},
};

}  // namespace

Value find_global(Interpreter& interpreter, std::string_view name) {
  for (const Row& row : kGlobals) {
    if (row.name == name) return interpreter.method(row.name, row.native, Value());
  }
  return Value();
}

}  // namespace floe::jinja

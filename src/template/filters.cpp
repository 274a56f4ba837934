// value|filter(arguments), as Jinja2's filters of the same names; tojson as the transformers
// library defines it for chat templates.
#include <algorithm>
#include <cmath>

#include "template/characters.h"
#include "template/json_values.h"
#include "template/operations.h"
#include "template/text_operations.h"
#include "template/value_text.h"

namespace floe::jinja {

namespace {

// The subject as text, as Jinja's soft_str makes it.
Result<MarkedText> text_of(Interpreter& interpreter, const Value& subject) {
  return printed(interpreter, subject);
}

template <Case kStyle>
Result<Value> change_case(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "filter", call, {}).check(0));
  FLOE_TRY(const MarkedText text, text_of(interpreter, subject));
  FLOE_TRY_VOID(interpreter.spend(text.size()));
  return interpreter.text(with_case(text, kStyle));
}

// Text that + does not escape.
Result<Value> as_markup(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "safe", call, {}).check(0));
  FLOE_TRY(MarkedText text, text_of(interpreter, subject));
  text.is_markup = true;
  return interpreter.text(std::move(text));
}

Result<Value> escape(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "escape", call, {}).check(0));
  FLOE_TRY(const MarkedText text, text_of(interpreter, subject));
  FLOE_TRY_VOID(interpreter.spend(text.size()));
  return interpreter.text(escaped(text));
}

Result<Value> to_json(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "tojson", call,
                            {"ensure_ascii", "indent", "separators", "sort_keys"});
  FLOE_TRY_VOID(arguments.check(0));
  JsonStyle style;
  FLOE_TRY(style.ensure_ascii, arguments.flag(0, false));
  FLOE_TRY(style.sort_keys, arguments.flag(3, false));
  if (const Value* indent = arguments.read(1); indent != nullptr && !indent->is_none()) {
    style.has_indent = true;
    style.item_separator = ",";
    if (const MarkedText* text = indent->text()) {
      style.indent = text->bytes();
    } else {
      FLOE_TRY(const Integer width, arguments.integer(1, 0));
      if (width > 64) return interpreter.fault("tojson: expected an indent of at most 64");
      style.indent = std::string(width > 0 ? static_cast<size_t>(width) : 0, ' ');
    }
  }
  if (const Value* separators = arguments.read(2);
      separators != nullptr && !separators->is_none()) {
    const List* pair = separators->list();
    if (pair == nullptr || pair->items.size() != 2 || pair->items[0].text() == nullptr ||
        pair->items[1].text() == nullptr) {
      return interpreter.fault("tojson: expected separators as two strings");
    }
    style.item_separator = pair->items[0].text()->bytes();
    style.key_separator = pair->items[1].text()->bytes();
  }
  FLOE_TRY(MarkedText text, as_json(interpreter, subject, style));
  return interpreter.text(std::move(text));
}

Result<Value> from_json(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "from_json", call, {}).check(0));
  const MarkedText* text = subject.text();
  if (text == nullptr) return interpreter.fault("from_json: expected a string");
  FLOE_TRY_VOID(interpreter.spend(text->size()));
  auto json = parse_json(text->bytes());
  if (!json.ok()) return interpreter.fault("from_json: " + json.error().message);
  return value_of_json(interpreter, *json, Origin::data);
}

Result<Value> length(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "length", call, {}).check(0));
  if (const MarkedText* text = subject.text()) {
    FLOE_TRY_VOID(interpreter.spend(text->size() / 16));
    return Value(static_cast<Integer>(count_characters(text->bytes())));
  }
  if (const List* list = subject.list()) return Value(static_cast<Integer>(list->items.size()));
  if (const Dict* dict = subject.dict(); dict != nullptr && !dict->is_namespace) {
    return Value(static_cast<Integer>(dict->size()));
  }
  if (subject.is_undefined()) return Value(Integer{0});
  return interpreter.fault("length: a value of type " + std::string(type_name(subject)) +
                           " has none");
}

Result<Value> trim(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "trim", call, {"chars"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const MarkedText* characters, arguments.text(0));
  FLOE_TRY(const MarkedText text, text_of(interpreter, subject));
  return interpreter.text(stripped(text, characters, true, true));
}

Result<Value> as_string(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "string", call, {}).check(0));
  if (subject.text() != nullptr) return subject;
  FLOE_TRY(MarkedText text, printed(interpreter, subject));
  return interpreter.text(std::move(text));
}

Result<Value> otherwise(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "default", call, {"default_value", "boolean"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const bool replaces_false, arguments.flag(1, false));
  if (!subject.is_undefined() && !(replaces_false && !is_true(subject))) return subject;
  if (const Value* value = arguments.read(0)) return *value;
  return interpreter.text("", Origin::author);
}

// Follows "a.b.0" as Jinja's attribute arguments do.
Result<Value> follow(Interpreter& interpreter, Value value, const Value& path) {
  if (path.integer()) return item_of(interpreter, value, path);
  const MarkedText* text = path.text();
  if (text == nullptr) return interpreter.fault("expected the name of an attribute");
  std::string_view rest = text->bytes();
  while (true) {
    const size_t dot = rest.find('.');
    const std::string_view name = rest.substr(0, dot);
    const bool is_index =
        !name.empty() && name.size() < 10 &&
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (is_index) {
      FLOE_TRY(value, item_of(interpreter, value, Value(Integer{std::stoi(std::string(name))})));
    } else {
      FLOE_TRY(const Value key, interpreter.text(std::string(name), Origin::author));
      FLOE_TRY(value, item_of(interpreter, value, key));
    }
    if (dot == std::string_view::npos) return value;
    rest = rest.substr(dot + 1);
  }
}

Value list_value(Interpreter& interpreter, std::vector<Value> items) {
  List& list = interpreter.make_list();
  list.items = std::move(items);
  return Value(&list);
}

Result<Value> held_list(Interpreter& interpreter, std::vector<Value> items) {
  FLOE_TRY_VOID(interpreter.hold(items.size()));
  return list_value(interpreter, std::move(items));
}

Result<Value> join(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "join", call, {"d", "attribute"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const MarkedText* separator, arguments.text(0));
  FLOE_TRY(std::vector<Value> items, items_of(interpreter, subject));
  if (const Value* attribute = arguments.read(1)) {
    for (Value& item : items) {
      FLOE_TRY(item, follow(interpreter, item, *attribute));
    }
  }
  return joined(interpreter, items, separator == nullptr ? MarkedText() : *separator, true);
}

Result<Value> pair_of(Interpreter& interpreter, const Value& first, const Value& second) {
  FLOE_TRY_VOID(interpreter.hold(2));
  List& pair = interpreter.make_list(true);
  pair.items = {first, second};
  return Value(&pair);
}

Result<std::vector<Value>> pairs_of(Interpreter& interpreter, const Value& subject,
                                    std::string_view filter) {
  std::vector<Value> pairs;
  if (subject.is_undefined()) return pairs;
  const Dict* dict = subject.dict();
  if (dict == nullptr || dict->is_namespace) {
    return interpreter.fault(std::string(filter) + ": expected a dict, found " +
                             std::string(type_name(subject)));
  }
  for (const auto& [key, value] : dict->members()) {
    FLOE_TRY(Value pair, pair_of(interpreter, key, value));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

Result<Value> items(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "items", call, {}).check(0));
  FLOE_TRY(std::vector<Value> pairs, pairs_of(interpreter, subject, "items"));
  return held_list(interpreter, std::move(pairs));
}

Result<Value> as_list(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "list", call, {}).check(0));
  FLOE_TRY(std::vector<Value> items, items_of(interpreter, subject));
  return held_list(interpreter, std::move(items));
}

// What sorting and uniqueness look at: text without case, unless asked for.
Result<Value> sort_key(Interpreter& interpreter, const Value& value, bool case_sensitive) {
  if (case_sensitive || value.text() == nullptr) return value;
  return interpreter.text(with_case(*value.text(), Case::lower));
}

// Sorts by keys computed beforehand; comparing may fail, which std::sort cannot say.
Result<std::vector<Value>> sorted(Interpreter& interpreter, std::vector<Value> values,
                                  std::vector<Value> keys, bool reverse) {
  std::vector<size_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::optional<Error> failure;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (failure) return false;
    auto result =
        reverse ? less(interpreter, keys[b], keys[a]) : less(interpreter, keys[a], keys[b]);
    if (result.ok()) return *result;
    failure = result.error();
    return false;
  });
  if (failure) return *failure;
  std::vector<Value> out;
  out.reserve(values.size());
  for (const size_t at : order) out.push_back(values[at]);
  return out;
}

Result<Value> sort(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "sort", call, {"reverse", "case_sensitive", "attribute"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const bool reverse, arguments.flag(0, false));
  FLOE_TRY(const bool case_sensitive, arguments.flag(1, false));
  FLOE_TRY(std::vector<Value> values, items_of(interpreter, subject));
  std::vector<Value> keys;
  for (const Value& value : values) {
    Value key = value;
    if (const Value* attribute = arguments.read(2)) {
      FLOE_TRY(key, follow(interpreter, value, *attribute));
    }
    FLOE_TRY(key, sort_key(interpreter, key, case_sensitive));
    keys.push_back(std::move(key));
  }
  FLOE_TRY(values, sorted(interpreter, std::move(values), std::move(keys), reverse));
  return held_list(interpreter, std::move(values));
}

Result<Value> sort_dict(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "dictsort", call, {"case_sensitive", "by", "reverse"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const bool case_sensitive, arguments.flag(0, false));
  FLOE_TRY(const MarkedText* by, arguments.text(1));
  FLOE_TRY(const bool reverse, arguments.flag(2, false));
  const bool by_value = by != nullptr && by->bytes() == "value";
  if (by != nullptr && !by_value && by->bytes() != "key") {
    return interpreter.fault("dictsort: expected by='key' or by='value'");
  }
  FLOE_TRY(std::vector<Value> pairs, pairs_of(interpreter, subject, "dictsort"));
  std::vector<Value> keys;
  for (const Value& pair : pairs) {
    FLOE_TRY(Value key,
             sort_key(interpreter, pair.list()->items[by_value ? 1 : 0], case_sensitive));
    keys.push_back(std::move(key));
  }
  FLOE_TRY(pairs, sorted(interpreter, std::move(pairs), std::move(keys), reverse));
  return held_list(interpreter, std::move(pairs));
}

Result<Value> unique(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "unique", call, {"case_sensitive", "attribute"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const bool case_sensitive, arguments.flag(0, false));
  FLOE_TRY(const std::vector<Value> values, items_of(interpreter, subject));
  Dict& seen = interpreter.make_dict();
  std::vector<Value> kept;
  for (const Value& value : values) {
    Value key = value;
    if (const Value* attribute = arguments.read(1)) {
      FLOE_TRY(key, follow(interpreter, value, *attribute));
    }
    FLOE_TRY(key, sort_key(interpreter, key, case_sensitive));
    if (!hash_key(key)) return interpreter.fault("unique: lists and dicts are not supported");
    if (seen.set(key, Value(true))) kept.push_back(value);
  }
  return held_list(interpreter, std::move(kept));
}

Result<Value> extreme(Interpreter& interpreter, const Value& subject, const Call& call,
                      bool wants_largest) {
  const Arguments arguments(interpreter, wants_largest ? "max" : "min", call,
                            {"case_sensitive", "attribute"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const bool case_sensitive, arguments.flag(0, false));
  FLOE_TRY(const std::vector<Value> values, items_of(interpreter, subject));
  if (values.empty()) return Value();
  Value best;
  Value best_key;
  for (const Value& value : values) {
    Value key = value;
    if (const Value* attribute = arguments.read(1)) {
      FLOE_TRY(key, follow(interpreter, value, *attribute));
    }
    FLOE_TRY(key, sort_key(interpreter, key, case_sensitive));
    if (!best.is_undefined()) {
      FLOE_TRY(const bool better,
               wants_largest ? less(interpreter, best_key, key) : less(interpreter, key, best_key));
      if (!better) continue;
    }
    best = value;
    best_key = std::move(key);
  }
  return best;
}
Result<Value> smallest(Interpreter& interpreter, const Value& subject, const Call& call) {
  return extreme(interpreter, subject, call, false);
}
Result<Value> largest(Interpreter& interpreter, const Value& subject, const Call& call) {
  return extreme(interpreter, subject, call, true);
}

Result<Value> sum(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "sum", call, {"attribute", "start"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const std::vector<Value> values, items_of(interpreter, subject));
  Value total = arguments.read(1) != nullptr ? *arguments.read(1) : Value(Integer{0});
  for (const Value& value : values) {
    Value part = value;
    if (const Value* attribute = arguments.read(0); attribute != nullptr && !attribute->is_none()) {
      FLOE_TRY(part, follow(interpreter, value, *attribute));
    }
    FLOE_TRY(total, apply(interpreter, BinaryOperator::add, total, part));
  }
  return total;
}

// The call without its first `n` positional arguments: what a filter or predicate named by a string
// is called with.
Call behind(const Call& call, size_t n) {
  Call rest;
  rest.positional.assign(call.positional.begin() + static_cast<ptrdiff_t>(n),
                         call.positional.end());
  rest.named = call.named;
  return rest;
}

// What map, select and their kin walk over: nothing where the subject is false, None included.
Result<std::vector<Value>> items_if_true(Interpreter& interpreter, const Value& subject) {
  if (!is_true(subject)) return std::vector<Value>();
  return items_of(interpreter, subject);
}

Result<Value> map(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY(std::vector<Value> values, items_if_true(interpreter, subject));
  if (call.positional.empty()) {
    const Arguments arguments(interpreter, "map", call, {"attribute", "default"});
    FLOE_TRY_VOID(arguments.check(1));
    for (Value& value : values) {
      FLOE_TRY(value, follow(interpreter, value, *arguments.read(0)));
      if (value.is_undefined() && arguments.read(1) != nullptr) value = *arguments.read(1);
    }
    return held_list(interpreter, std::move(values));
  }
  const MarkedText* name = call.positional[0].text();
  const Operation filter = name == nullptr ? nullptr : find_filter(name->bytes());
  if (filter == nullptr) return interpreter.fault("map: expected the name of a filter");
  const Call rest = behind(call, 1);
  const Interpreter::Level level(interpreter);
  if (level.too_deep()) return interpreter.too_deep();
  for (Value& value : values) {
    FLOE_TRY(value, filter(interpreter, value, rest));
  }
  return held_list(interpreter, std::move(values));
}

// select, reject, selectattr and rejectattr.
Result<Value> choose(Interpreter& interpreter, const Value& subject, const Call& call,
                     bool by_attribute, bool keeps) {
  FLOE_TRY(const std::vector<Value> values, items_if_true(interpreter, subject));
  const size_t n_before = by_attribute ? 1 : 0;
  if (call.positional.size() < n_before) {
    return interpreter.fault("expected the name of an attribute");
  }
  Operation predicate = nullptr;
  Call rest;
  if (call.positional.size() > n_before) {
    const MarkedText* name = call.positional[n_before].text();
    predicate = name == nullptr ? nullptr : find_predicate(name->bytes());
    if (predicate == nullptr) return interpreter.fault("expected the name of a test");
    rest = behind(call, n_before + 1);
  }
  std::vector<Value> kept;
  for (const Value& value : values) {
    FLOE_TRY_VOID(interpreter.spend(1));
    Value looked_at = value;
    if (by_attribute) {
      FLOE_TRY(looked_at, follow(interpreter, value, call.positional[0]));
    }
    bool holds = is_true(looked_at);
    if (predicate != nullptr) {
      FLOE_TRY(const Value result, predicate(interpreter, looked_at, rest));
      holds = is_true(result);
    }
    if (holds == keeps) kept.push_back(value);
  }
  return held_list(interpreter, std::move(kept));
}
Result<Value> select(Interpreter& interpreter, const Value& subject, const Call& call) {
  return choose(interpreter, subject, call, false, true);
}
Result<Value> reject(Interpreter& interpreter, const Value& subject, const Call& call) {
  return choose(interpreter, subject, call, false, false);
}
Result<Value> select_by_attribute(Interpreter& interpreter, const Value& subject,
                                  const Call& call) {
  return choose(interpreter, subject, call, true, true);
}
Result<Value> reject_by_attribute(Interpreter& interpreter, const Value& subject,
                                  const Call& call) {
  return choose(interpreter, subject, call, true, false);
}

// The method of the same name, of whatever prints as text.
Result<Value> replace(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY(MarkedText text, text_of(interpreter, subject));
  FLOE_TRY(const Value self, interpreter.text(std::move(text)));
  FLOE_TRY(const Value method, find_method(interpreter, self, "replace"));
  return interpreter.call(method, call);
}

Result<Value> indent(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "indent", call, {"width", "first", "blank"});
  FLOE_TRY_VOID(arguments.check(0));
  MarkedText margin("    ", Origin::author);
  if (const Value* width = arguments.read(0)) {
    if (const MarkedText* text = width->text()) {
      margin = *text;
    } else {
      FLOE_TRY(const Integer n, arguments.integer(0, 4));
      if (n > 256) return interpreter.fault("indent: expected a width of at most 256");
      margin = MarkedText(std::string(n > 0 ? static_cast<size_t>(n) : 0, ' '), Origin::author);
    }
  }
  FLOE_TRY(const bool first, arguments.flag(1, false));
  FLOE_TRY(const bool blank, arguments.flag(2, false));
  FLOE_TRY(MarkedText text, text_of(interpreter, subject));
  text.append("\n", Origin::author);  // so that an empty last line counts
  const std::vector<MarkedText> lines = lines_of(text);
  FLOE_TRY_VOID(interpreter.spend(text.size() / 16 + lines.size() * (1 + margin.size() / 16)));
  MarkedText out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) out.append("\n", Origin::author);
    const bool has_margin = i == 0 ? first : blank || !lines[i].empty();
    if (has_margin) out.append(margin);
    out.append(lines[i]);
  }
  return interpreter.text(std::move(out));
}

// A number written as text, with Python's rules; nullopt when it is none.
std::optional<double> parsed_float(std::string_view text) {
  const std::string digits(
      stripped(MarkedText(std::string(text), Origin::data), nullptr, true, true).bytes());
  if (digits.empty() || digits.size() > 400 || digits.find_first_of("xXpP(") != std::string::npos) {
    return std::nullopt;
  }
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

std::optional<Integer> parsed_integer(std::string_view text, int base) {
  const MarkedText whole(std::string(text), Origin::data);
  const std::string digits(stripped(whole, nullptr, true, true).bytes());
  size_t at = !digits.empty() && (digits[0] == '-' || digits[0] == '+') ? 1 : 0;
  if (at == digits.size()) return std::nullopt;
  Integer value = 0;
  for (; at < digits.size(); ++at) {
    const char c = digits[at];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base || __builtin_mul_overflow(value, Integer{base}, &value) ||
        __builtin_add_overflow(value, Integer{digit}, &value)) {
      return std::nullopt;
    }
  }
  return digits[0] == '-' ? -value : value;
}

Result<Value> as_integer(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "int", call, {"default", "base"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const Integer base, arguments.integer(1, 10));
  if (base < 2 || base > 36) return interpreter.fault("int: expected a base from 2 to 36");
  std::optional<double> floating;
  if (const MarkedText* text = subject.text()) {
    if (const auto exact = parsed_integer(text->bytes(), static_cast<int>(base))) {
      return Value(*exact);
    }
    floating = parsed_float(text->bytes());
  } else if (const auto exact = subject.integer()) {
    return Value(*exact);
  } else {
    floating = subject.number();
  }
  if (floating && *floating > -1e30 && *floating < 1e30) {
    return Value(static_cast<Integer>(*floating));
  }
  return arguments.read(0) != nullptr ? *arguments.read(0) : Value(Integer{0});
}

Result<Value> as_float(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "float", call, {"default"});
  FLOE_TRY_VOID(arguments.check(0));
  std::optional<double> value = subject.number();
  if (subject.text() != nullptr) value = parsed_float(subject.text()->bytes());
  if (value) return Value(*value);
  return arguments.read(0) != nullptr ? *arguments.read(0) : Value(0.0);
}

Result<Value> absolute(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "abs", call, {}).check(0));
  const auto number = subject.number();
  if (!number) return interpreter.fault("abs: expected a number");
  return *number < 0 ? negated(interpreter, subject) : Result<Value>(subject);
}

Result<Value> rounded(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "round", call, {"precision", "method"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const Integer precision, arguments.integer(0, 0));
  FLOE_TRY(const MarkedText* method, arguments.text(1));
  const auto number = subject.number();
  if (!number) return interpreter.fault("round: expected a number");
  if (precision < 0 || precision > 15) {
    return interpreter.fault("round: expected a precision from 0 to 15");
  }
  if (subject.integer()) return subject;
  const std::string_view how = method == nullptr ? "common" : method->bytes();
  if (how == "common") {
    // Python rounds the decimal digits exactly, halves to even; printf does the same.
    char buffer[512];
    std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(precision), *number);
    return Value(std::strtod(buffer, nullptr));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "ceil") return Value(std::ceil(*number * scale) / scale);
  if (how == "floor") return Value(std::floor(*number * scale) / scale);
  return interpreter.fault("round: expected 'common', 'ceil' or 'floor'");
}

Result<Value> first(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "first", call, {}).check(0));
  FLOE_TRY(const std::vector<Value> values, items_of(interpreter, subject));
  return values.empty() ? Value() : values.front();
}

Result<Value> last(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "last", call, {}).check(0));
  FLOE_TRY(const std::vector<Value> values, items_of(interpreter, subject));
  return values.empty() ? Value() : values.back();
}

Result<Value> reverse(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "reverse", call, {}).check(0));
  if (subject.text() != nullptr) {
    return slice_of(interpreter, subject, Value(None{}), Value(None{}), Value(Integer{-1}));
  }
  FLOE_TRY(std::vector<Value> values, items_of(interpreter, subject));
  std::reverse(values.begin(), values.end());
  return held_list(interpreter, std::move(values));
}

Result<Value> attribute(Interpreter& interpreter, const Value& subject, const Call& call) {
  const Arguments arguments(interpreter, "attr", call, {"name"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const MarkedText* name, arguments.text(0));
  if (name == nullptr) return interpreter.fault("attr: expected a name");
  // Unlike value.name, this never falls back to a member.
  if (const Dict* dict = subject.dict(); dict != nullptr && !dict->is_namespace) {
    return find_method(interpreter, subject, name->bytes());
  }
  return attribute_of(interpreter, subject, name->bytes());
}

Result<Value> format(Interpreter& interpreter, const Value& subject, const Call& call) {
  FLOE_TRY(const MarkedText text, text_of(interpreter, subject));
  if (call.named.empty()) return percent_format(interpreter, text, call.positional, nullptr);
  if (!call.positional.empty()) {
    return interpreter.fault("format: positional and named arguments together");
  }
  Dict& named = interpreter.make_dict();
  for (const auto& [name, value] : call.named) {
    FLOE_TRY(const Value key, interpreter.text(std::string(name), Origin::author));
    named.set(key, value);
  }
  return percent_format(interpreter, text, {}, &named);
}

struct Row {
  std::string_view name;
  Operation operation;
};

constexpr Row kFilters[] = {
    {"abs", absolute},
    {"attr", attribute},
    {"capitalize", change_case<Case::capital>},
    {"count", length},
    {"d", otherwise},
    {"default", otherwise},
    {"dictsort", sort_dict},
    {"e", escape},
    {"escape", escape},
    {"first", first},
    {"float", as_float},
    {"format", format},
    {"from_json", from_json},
    {"indent", indent},
    {"int", as_integer},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", as_list},
    {"lower", change_case<Case::lower>},
    {"map", map},
    {"max", largest},
    {"min", smallest},
    {"reject", reject},
    {"rejectattr", reject_by_attribute},
    {"replace", replace},
    {"reverse", reverse},
    {"round", rounded},
    {"safe", as_markup},
    {"select", select},
    {"selectattr", select_by_attribute},
    {"sort", sort},
    {"string", as_string},
    {"sum", sum},
    {"title", change_case<Case::title>},
    {"tojson", to_json},
    {"trim", trim},
    {"unique", unique},
    {"upper", change_case<Case::upper>},
};

}  // namespace

Operation find_filter(std::string_view name) {
  for (const Row& row : kFilters) {
    if (row.name == name) return row.operation;
  }
  return nullptr;
}

}  // namespace floe::jinja

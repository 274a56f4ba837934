#include <algorithm>
#include <cmath>

#include "template/characters.h"
#include "template/operations.h"
#include "template/text_operations.h"
#include "template/value_text.h"

namespace floe::jinja {

namespace {

Error undefined_fault(const Interpreter& interpreter, const Undefined& undefined) {
  return interpreter.fault(undefined.name == nullptr ? "a value is undefined"
                                                     : "'" + *undefined.name + "' is undefined");
}

// Neither side of an operator may be undefined.
Result<void> check_defined(Interpreter& interpreter, const Value& left, const Value& right) {
  if (const Undefined* undefined = left.as<Undefined>()) {
    return undefined_fault(interpreter, *undefined);
  }
  if (const Undefined* undefined = right.as<Undefined>()) {
    return undefined_fault(interpreter, *undefined);
  }
  return {};
}

Error operands_fault(const Interpreter& interpreter, std::string_view op, const Value& left,
                     const Value& right) {
  return interpreter.fault("'" + std::string(op) + "' does not take " +
                           std::string(type_name(left)) + " and " + std::string(type_name(right)));
}

constexpr std::string_view kNames[] = {"+", "-", "*", "/", "//", "%", "**"};

Result<Value> add(Interpreter& interpreter, const Value& left, const Value& right) {
  if (left.text() != nullptr && right.text() != nullptr) {
    const bool is_markup = left.text()->is_markup || right.text()->is_markup;
    FLOE_TRY_VOID(interpreter.spend(is_markup ? right.text()->size() : 0));
    MarkedText joined = is_markup ? escaped(*left.text()) : *left.text();
    joined.append(is_markup ? escaped(*right.text()) : *right.text());
    return interpreter.text(std::move(joined));
  }
  const List* first = left.list();
  const List* second = right.list();
  if (first != nullptr && second != nullptr && first->is_tuple == second->is_tuple) {
    FLOE_TRY_VOID(interpreter.hold(first->items.size() + second->items.size()));
    List& list = interpreter.make_list(first->is_tuple);
    list.items = first->items;
    list.items.insert(list.items.end(), second->items.begin(), second->items.end());
    return Value(&list);
  }
  return operands_fault(interpreter, "+", left, right);
}

// "ab" * 3, [0] * 3.
Result<Value> repeat(Interpreter& interpreter, const Value& value, Integer count) {
  if (count < 0) count = 0;
  const MarkedText* text = value.text();
  const List* list = value.list();
  const size_t length = text != nullptr ? text->size() : list->items.size();
  // Far above every limit, so that the product below cannot overflow.
  if (count > (Integer{1} << 32) && length != 0) return interpreter.fault("'*': too many copies");
  const size_t total = length * static_cast<size_t>(count);
  if (text != nullptr) {
    FLOE_TRY_VOID(interpreter.spend(total / 16));
    if (total > (size_t{1} << 28)) return interpreter.fault("'*': too long a string");
    MarkedText repeated;
    for (Integer i = 0; i < count && length != 0; ++i) repeated.append(*text);
    return interpreter.text(std::move(repeated));
  }
  FLOE_TRY_VOID(interpreter.hold(total));
  List& repeated = interpreter.make_list(list->is_tuple);
  for (Integer i = 0; i < count && length != 0; ++i) {
    repeated.items.insert(repeated.items.end(), list->items.begin(), list->items.end());
  }
  return Value(&repeated);
}

// Python rounds towards minus infinity.
Integer floor_divided(Integer a, Integer b) {
  const Integer quotient = a / b;
  return quotient - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

Result<Value> integer_power(Interpreter& interpreter, Integer base, Integer exponent) {
  if (exponent < 0) {
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  Integer result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return interpreter.fault("'**': the result is too large");
    }
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) {
      return interpreter.fault("'**': the result is too large");
    }
  }
  return Value(result);
}

Result<Value> integer_arithmetic(Interpreter& interpreter, BinaryOperator op, Integer a,
                                 Integer b) {
  const auto name = std::string(kNames[static_cast<size_t>(op)]);
  Integer result = 0;
  bool overflows = false;
  switch (op) {
    case BinaryOperator::add:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOperator::subtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOperator::multiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOperator::power:
      return integer_power(interpreter, a, b);
    default:
      if (b == 0) return interpreter.fault("'" + name + "': division by zero");
      if (op == BinaryOperator::divide) {
        return Value(static_cast<double>(a) / static_cast<double>(b));
      }
      if (b == -1) {  // the smallest integer has no positive twin
        overflows = __builtin_sub_overflow(Integer{0}, a, &result);
        if (op == BinaryOperator::modulo) return Value(Integer{0});
        break;
      }
      result = floor_divided(a, b);
      if (op == BinaryOperator::modulo) result = a - result * b;
  }
  if (overflows) return interpreter.fault("'" + name + "': the result is too large");
  return Value(result);
}

Result<Value> float_arithmetic(Interpreter& interpreter, BinaryOperator op, double a, double b) {
  switch (op) {
    case BinaryOperator::add:
      return Value(a + b);
    case BinaryOperator::subtract:
      return Value(a - b);
    case BinaryOperator::multiply:
      return Value(a * b);
    case BinaryOperator::power:
      return Value(std::pow(a, b));
    default:
      break;
  }
  if (b == 0.0) {
    return interpreter.fault("'" + std::string(kNames[static_cast<size_t>(op)]) +
                             "': division by zero");
  }
  if (op == BinaryOperator::divide) return Value(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0.0 && (rest < 0.0) != (b < 0.0)) rest += b;
  if (op == BinaryOperator::modulo) return Value(rest);
  return Value(std::floor((a - rest) / b + 0.5));
}

// Of two numbers: -1, 0, 1; nullopt beside a NaN.
std::optional<int> order(const Value& left, const Value& right) {
  const auto a = left.integer();
  const auto b = right.integer();
  if (a && b) return *a < *b ? -1 : *a > *b ? 1 : 0;
  const double x = *left.number();
  const double y = *right.number();
  if (std::isnan(x) || std::isnan(y)) return std::nullopt;
  return x < y ? -1 : x > y ? 1 : 0;
}

Result<bool> contains(Interpreter& interpreter, const Value& container, const Value& item) {
  if (const MarkedText* text = container.text()) {
    const MarkedText* part = item.text();
    if (part == nullptr) return operands_fault(interpreter, "in", item, container);
    FLOE_TRY_VOID(interpreter.spend(1 + text->size() / 16));
    return text->bytes().find(part->bytes()) != std::string_view::npos;
  }
  if (const List* list = container.list()) {
    for (const Value& candidate : list->items) {
      FLOE_TRY(const bool found, equal(interpreter, candidate, item));
      if (found) return true;
    }
    return false;
  }
  if (const Dict* dict = container.dict(); dict != nullptr && !dict->is_namespace) {
    return dict->find(item) != nullptr;
  }
  if (container.is_undefined()) return false;
  return operands_fault(interpreter, "in", item, container);
}

// Bounds of a Python slice over `size` items.
struct SliceRange {
  Integer begin = 0;
  Integer end = 0;
  Integer step = 1;
};

Result<SliceRange> slice_range(Interpreter& interpreter, size_t size, const Value& begin,
                               const Value& end, const Value& step) {
  SliceRange range;
  const auto read = [&](const Value& value, Integer otherwise) -> Result<Integer> {
    if (value.is_none()) return otherwise;
    if (const auto integer = value.integer()) return *integer;
    return interpreter.fault("a slice takes integers, found " + std::string(type_name(value)));
  };
  FLOE_TRY(range.step, read(step, 1));
  if (range.step == 0) return interpreter.fault("a slice with step 0");
  const Integer n = static_cast<Integer>(size);
  const bool forward = range.step > 0;
  const Integer low = forward ? 0 : -1;
  const Integer high = forward ? n : n - 1;
  const auto clamp = [&](Integer at) {
    if (at < 0) at += n;
    return std::clamp(at, low, high);
  };
  if (begin.is_none()) {
    range.begin = forward ? low : high;
  } else {
    FLOE_TRY(const Integer at, read(begin, 0));
    range.begin = clamp(at);
  }
  if (end.is_none()) {
    range.end = forward ? high : low;
  } else {
    FLOE_TRY(const Integer at, read(end, 0));
    range.end = clamp(at);
  }
  // A step beyond the ends is as good as one at the ends.
  range.step = std::clamp(range.step, -n - 1, n + 1);
  return range;
}

template <typename Take>
void walk(const SliceRange& range, const Take& take) {
  for (Integer at = range.begin; range.step > 0 ? at < range.end : at > range.end;
       at += range.step) {
    take(static_cast<size_t>(at));
  }
}

}  // namespace

Result<Value> apply(Interpreter& interpreter, BinaryOperator op, const Value& left,
                    const Value& right) {
  FLOE_TRY_VOID(check_defined(interpreter, left, right));
  const auto a = left.integer();
  const auto b = right.integer();
  if (a && b) return integer_arithmetic(interpreter, op, *a, *b);
  const auto x = left.number();
  const auto y = right.number();
  if (x && y) return float_arithmetic(interpreter, op, *x, *y);
  if (op == BinaryOperator::add) return add(interpreter, left, right);
  if (op == BinaryOperator::multiply) {
    if (b && (left.text() != nullptr || left.list() != nullptr)) {
      return repeat(interpreter, left, *b);
    }
    if (a && (right.text() != nullptr || right.list() != nullptr)) {
      return repeat(interpreter, right, *a);
    }
  }
  if (op == BinaryOperator::modulo && left.text() != nullptr) {
    const List* tuple = right.list();
    const bool is_tuple = tuple != nullptr && tuple->is_tuple;
    return percent_format(interpreter, *left.text(),
                          is_tuple ? tuple->items : std::vector<Value>{right}, right.dict());
  }
  return operands_fault(interpreter, kNames[static_cast<size_t>(op)], left, right);
}

Result<Value> negated(Interpreter& interpreter, const Value& value) {
  if (const auto integer = value.integer()) {
    Integer result = 0;
    if (__builtin_sub_overflow(Integer{0}, *integer, &result)) {
      return interpreter.fault("'-': the result is too large");
    }
    return Value(result);
  }
  if (const double* floating = value.as<double>()) return Value(-*floating);
  FLOE_TRY_VOID(check_defined(interpreter, value, value));
  return interpreter.fault("'-' does not take " + std::string(type_name(value)));
}

Result<bool> equal(Interpreter& interpreter, const Value& left, const Value& right) {
  const Interpreter::Level level(interpreter);
  if (level.too_deep()) return interpreter.too_deep();
  FLOE_TRY_VOID(interpreter.spend(1));
  if (left.number() && right.number()) return order(left, right) == 0;
  if (left.text() != nullptr && right.text() != nullptr) {
    FLOE_TRY_VOID(interpreter.spend(std::min(left.text()->size(), right.text()->size()) / 16));
    return left.text()->bytes() == right.text()->bytes();
  }
  if (left.list() != nullptr && right.list() != nullptr) {
    const List& a = *left.list();
    const List& b = *right.list();
    if (a.is_tuple != b.is_tuple || a.items.size() != b.items.size()) return false;
    for (size_t i = 0; i < a.items.size(); ++i) {
      FLOE_TRY(const bool same, equal(interpreter, a.items[i], b.items[i]));
      if (!same) return false;
    }
    return true;
  }
  if (left.dict() != nullptr && right.dict() != nullptr) {
    const Dict& a = *left.dict();
    const Dict& b = *right.dict();
    if (a.is_namespace || b.is_namespace) return &a == &b;
    if (a.size() != b.size()) return false;
    for (const auto& [key, value] : a.members()) {
      const Value* other = b.find(key);
      if (other == nullptr) return false;
      FLOE_TRY(const bool same, equal(interpreter, value, *other));
      if (!same) return false;
    }
    return true;
  }
  if (left.function() != nullptr || right.function() != nullptr) {
    return left.function() == right.function();
  }
  return (left.is_none() && right.is_none()) || (left.is_undefined() && right.is_undefined());
}

Result<bool> less(Interpreter& interpreter, const Value& left, const Value& right) {
  const Interpreter::Level level(interpreter);
  if (level.too_deep()) return interpreter.too_deep();
  FLOE_TRY_VOID(interpreter.spend(1));
  FLOE_TRY_VOID(check_defined(interpreter, left, right));
  if (left.number() && right.number()) return order(left, right) == -1;
  // UTF-8 sorts as its characters do.
  if (left.text() != nullptr && right.text() != nullptr) {
    return left.text()->bytes() < right.text()->bytes();
  }
  const List* a = left.list();
  const List* b = right.list();
  if (a != nullptr && b != nullptr && a->is_tuple == b->is_tuple) {
    for (size_t i = 0; i < a->items.size() && i < b->items.size(); ++i) {
      FLOE_TRY(const bool same, equal(interpreter, a->items[i], b->items[i]));
      if (!same) return less(interpreter, a->items[i], b->items[i]);
    }
    return a->items.size() < b->items.size();
  }
  return operands_fault(interpreter, "<", left, right);
}

Result<bool> compare(Interpreter& interpreter, Comparison comparison, const Value& left,
                     const Value& right) {
  const auto inverted = [](Result<bool> result) -> Result<bool> {
    if (!result.ok()) return result;
    return !*result;
  };
  // NaN is neither below nor above nor equal.
  const bool has_nan = (left.as<double>() != nullptr && std::isnan(*left.as<double>())) ||
                       (right.as<double>() != nullptr && std::isnan(*right.as<double>()));
  switch (comparison) {
    case Comparison::equal:
      return equal(interpreter, left, right);
    case Comparison::not_equal:
      return inverted(equal(interpreter, left, right));
    case Comparison::less:
      return less(interpreter, left, right);
    case Comparison::greater:
      return less(interpreter, right, left);
    case Comparison::less_equal:
      return has_nan ? less(interpreter, left, right) : inverted(less(interpreter, right, left));
    case Comparison::greater_equal:
      return has_nan ? less(interpreter, right, left) : inverted(less(interpreter, left, right));
    case Comparison::in:
      return contains(interpreter, right, left);
    case Comparison::not_in:
      return inverted(contains(interpreter, right, left));
  }
  return false;
}

Result<std::vector<Value>> items_of(Interpreter& interpreter, const Value& value) {
  std::vector<Value> items;
  if (const List* list = value.list()) {
    FLOE_TRY_VOID(interpreter.spend(list->items.size()));
    return list->items;
  }
  if (const Dict* dict = value.dict(); dict != nullptr && !dict->is_namespace) {
    FLOE_TRY_VOID(interpreter.spend(dict->size()));
    items.reserve(dict->size());
    for (const auto& [key, unused] : dict->members()) items.push_back(key);
    return items;
  }
  if (const MarkedText* text = value.text()) {
    const std::vector<size_t> offsets = character_offsets(text->bytes());
    FLOE_TRY_VOID(interpreter.spend(4 * offsets.size()));
    for (size_t i = 0; i + 1 < offsets.size(); ++i) {
      FLOE_TRY(Value character, interpreter.text(text->part(offsets[i], offsets[i + 1])));
      items.push_back(std::move(character));
    }
    return items;
  }
  if (value.is_undefined()) return items;
  return interpreter.fault("a value of type " + std::string(type_name(value)) +
                           " cannot be walked over");
}

Result<Value> attribute_of(Interpreter& interpreter, const Value& value, std::string_view name) {
  if (const Undefined* undefined = value.as<Undefined>()) {
    return undefined_fault(interpreter, *undefined);
  }
  const Dict* dict = value.dict();
  if (dict == nullptr || !dict->is_namespace) {
    FLOE_TRY(Value method, find_method(interpreter, value, name));
    if (!method.is_undefined()) return method;
  }
  if (dict != nullptr) {
    if (const Value* member = dict->find(name)) return *member;
  }
  return Value(Undefined{std::make_shared<const std::string>(name)});
}

Result<Value> item_of(Interpreter& interpreter, const Value& value, const Value& key) {
  if (const Undefined* undefined = value.as<Undefined>()) {
    return undefined_fault(interpreter, *undefined);
  }
  const Dict* dict = value.dict();
  if (dict != nullptr && !dict->is_namespace) {
    if (const Value* member = dict->find(key)) return *member;
  }
  if (const auto index = key.integer(); index && dict == nullptr) {
    if (const List* list = value.list()) {
      const Integer n = static_cast<Integer>(list->items.size());
      const Integer at = *index < 0 ? *index + n : *index;
      if (at >= 0 && at < n) return list->items[static_cast<size_t>(at)];
    } else if (const MarkedText* text = value.text()) {
      const std::vector<size_t> offsets = character_offsets(text->bytes());
      FLOE_TRY_VOID(interpreter.spend(offsets.size() / 16));
      const Integer n = static_cast<Integer>(offsets.size() - 1);
      const Integer at = *index < 0 ? *index + n : *index;
      if (at >= 0 && at < n) {
        const auto position = static_cast<size_t>(at);
        return interpreter.text(text->part(offsets[position], offsets[position + 1]));
      }
    }
    return Value(Undefined{std::make_shared<const std::string>(integer_text(*index))});
  }
  // value["name"] falls back to an attribute, as value.name does to a member.
  if (const MarkedText* name = key.text()) {
    if (dict == nullptr || !dict->is_namespace) {
      FLOE_TRY(Value method, find_method(interpreter, value, name->bytes()));
      if (!method.is_undefined()) return method;
    } else if (const Value* member = dict->find(name->bytes())) {
      return *member;
    }
    return Value(Undefined{std::make_shared<const std::string>(name->bytes())});
  }
  return Value();
}

Result<Value> slice_of(Interpreter& interpreter, const Value& value, const Value& begin,
                       const Value& end, const Value& step) {
  if (const List* list = value.list()) {
    FLOE_TRY(const SliceRange range,
             slice_range(interpreter, list->items.size(), begin, end, step));
    std::vector<Value> items;
    walk(range, [&](size_t at) { items.push_back(list->items[at]); });
    FLOE_TRY_VOID(interpreter.hold(items.size()));
    List& part = interpreter.make_list(list->is_tuple);
    part.items = std::move(items);
    return Value(&part);
  }
  if (const MarkedText* text = value.text()) {
    const std::vector<size_t> offsets = character_offsets(text->bytes());
    FLOE_TRY_VOID(interpreter.spend(offsets.size() / 4));
    FLOE_TRY(const SliceRange range,
             slice_range(interpreter, offsets.size() - 1, begin, end, step));
    MarkedText part;
    if (range.step == 1) {
      if (range.begin < range.end) {
        part = text->part(offsets[static_cast<size_t>(range.begin)],
                          offsets[static_cast<size_t>(range.end)]);
      }
    } else {
      walk(range, [&](size_t at) { part.append_part(*text, offsets[at], offsets[at + 1]); });
    }
    return interpreter.text(std::move(part));
  }
  if (const Undefined* undefined = value.as<Undefined>()) {
    return undefined_fault(interpreter, *undefined);
  }
  return interpreter.fault("a value of type " + std::string(type_name(value)) +
                           " cannot be sliced");
}

}  // namespace floe::jinja

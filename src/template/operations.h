#pragma once
// What the parser and the interpreter look up by name, and the operators of the language.
#include <string_view>

#include "template/interpreter.h"
#include "template/syntax.h"
#include "template/value.h"

namespace floe::jinja {

// value|name(...): nullptr when there is no such filter.
Operation find_filter(std::string_view name);
// value is name(...): nullptr when there is no such predicate (Jinja calls them tests).
Operation find_predicate(std::string_view name);
// namespace, range, raise_exception, strftime_now, dict. Undefined for another name.
Value find_global(Interpreter& interpreter, std::string_view name);
// A method of a string, list or dict, bound to it. Undefined where Python has none of this name;
// an error where Python has one and this interpreter does not.
Result<Value> find_method(Interpreter& interpreter, const Value& value, std::string_view name);

// value.name and value[key]: a method or a member, undefined where there is neither.
Result<Value> attribute_of(Interpreter& interpreter, const Value& value, std::string_view name);
Result<Value> item_of(Interpreter& interpreter, const Value& value, const Value& key);
Result<Value> slice_of(Interpreter& interpreter, const Value& value, const Value& begin,
                       const Value& end, const Value& step);

Result<Value> apply(Interpreter& interpreter, BinaryOperator op, const Value& left,
                    const Value& right);
Result<bool> compare(Interpreter& interpreter, Comparison comparison, const Value& left,
                     const Value& right);
Result<bool> equal(Interpreter& interpreter, const Value& left, const Value& right);
Result<bool> less(Interpreter& interpreter, const Value& left, const Value& right);
Result<Value> negated(Interpreter& interpreter, const Value& value);
// "%s of %d" % (a, b), and the filter `format`.
Result<Value> percent_format(Interpreter& interpreter, const MarkedText& format,
                             const std::vector<Value>& arguments, const Dict* named);

// What a for loop walks over: the items of a list, the keys of a dict, the characters of a string,
// nothing for undefined.
Result<std::vector<Value>> items_of(Interpreter& interpreter, const Value& value);

// Arguments of a filter, predicate, method or function by position or name, as its signature names
// them. `read` returns nullptr for one that was not given.
class Arguments {
 public:
  Arguments(Interpreter& interpreter, std::string_view function, const Call& call,
            std::initializer_list<std::string_view> names)
      : interpreter_(interpreter), function_(function), call_(call), names_(names) {}
  // Fails on too many arguments and on names that are none of the signature's.
  Result<void> check(size_t n_required) const;
  const Value* read(size_t index) const;
  Result<bool> flag(size_t index, bool otherwise) const;
  Result<Integer> integer(size_t index, Integer otherwise) const;
  // The text of a string argument; nullptr when not given.
  Result<const MarkedText*> text(size_t index) const;

 private:
  Error wrong_type(size_t index, std::string_view expected) const;

  Interpreter& interpreter_;
  std::string_view function_;
  const Call& call_;
  std::vector<std::string_view> names_;
};

}  // namespace floe::jinja

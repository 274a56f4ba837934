#pragma once
// The values of the template language. They behave as Python's do, since that is what templates
// were written against: True + 1 is 2, "ab"[-1] is "b", a missing variable is `undefined`.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "template/marked_text.h"

namespace floe::jinja {

// Wide enough for every integer of a JSON document (unsigned 64-bit ones too). Python's integers
// have no bound: a result beyond this one is an error.
using Integer = __int128;

class Dict;
struct Function;
struct List;

// What a name or attribute that does not exist evaluates to. Printing it gives nothing; using it
// is an error that names what was missing.
struct Undefined {
  std::shared_ptr<const std::string> name;
};
struct None {};

// Lists, dicts and functions belong to the Heap of the rendering; a Value only refers to them, as
// in Python several values may refer to one list.
class Value {
 public:
  using Text = std::shared_ptr<const MarkedText>;
  using State =
      std::variant<Undefined, None, bool, Integer, double, Text, List*, Dict*, const Function*>;

  Value() = default;  // undefined without a name
  template <typename T>
  explicit Value(T state) : state_(std::move(state)) {}

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&state_);
  }
  const MarkedText* text() const {
    const Text* text = as<Text>();
    return text == nullptr ? nullptr : text->get();
  }
  List* list() const {
    List* const* list = as<List*>();
    return list == nullptr ? nullptr : *list;
  }
  Dict* dict() const {
    Dict* const* dict = as<Dict*>();
    return dict == nullptr ? nullptr : *dict;
  }
  const Function* function() const {
    const Function* const* function = as<const Function*>();
    return function == nullptr ? nullptr : *function;
  }
  bool is_undefined() const { return as<Undefined>() != nullptr; }
  bool is_none() const { return as<None>() != nullptr; }
  // bool counts as an integer, as in Python.
  std::optional<Integer> integer() const;
  // Any number, as a double.
  std::optional<double> number() const;

 private:
  State state_;
};

struct List {
  std::vector<Value> items;
  bool is_tuple = false;
};

// Keys in the order in which they were first set. A namespace() is a dict whose keys are reached as
// attributes only.
class Dict {
 public:
  using Member = std::pair<Value, Value>;

  const std::vector<Member>& members() const { return members_; }
  size_t size() const { return members_.size(); }
  // nullptr when there is no such key. The key is one that can be hashed (see hash_key).
  const Value* find(const Value& key) const;
  const Value* find(std::string_view text) const;
  // Whether the key is new.
  bool set(const Value& key, Value value);
  bool erase(const Value& key);
  void clear();

  bool is_namespace = false;

 private:
  const Value* find_hashed(const std::string& hash) const;

  std::vector<Member> members_;
  std::unordered_map<std::string, size_t> index_;  // by hash_key, into members_
};

struct MacroNode;
struct Scope;
class Interpreter;

struct Call {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;

  const Value* find_named(std::string_view name) const;
};

// Whatever can be called: a macro, a global function, or a method bound to the value it is of.
struct Function {
  // `self` is the value that a method is bound to.
  using Native = Result<Value> (*)(Interpreter&, const Value& self, const Call&);

  std::string_view name;
  Native native = nullptr;
  Value self;
  const MacroNode* macro = nullptr;
  Scope* scope = nullptr;  // where the macro was defined
};

// A text under which equal keys are equal: 1, 1.0 and True are one key. Nullopt for lists and
// dicts, which cannot be keys.
std::optional<std::string> hash_key(const Value& value);

// Python's name of the type: "str", "list", "NoneType", for messages.
std::string_view type_name(const Value& value);

bool is_true(const Value& value);

}  // namespace floe::jinja

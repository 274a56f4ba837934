#pragma once
// The syntax tree of a template. Nodes live in the Program; a node's depth is bounded when it is
// made, so that walking the tree needs bounded stack whatever the template says.
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "template/value.h"

namespace floe::jinja {

// A name of the template as a number.
using Symbol = uint32_t;

struct Expression;

enum class BinaryOperator : uint8_t {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power
};
enum class Comparison : uint8_t {
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in
};

// Filters (x|name), predicates (x is name): what stands before them, and the arguments behind.
using Operation = Result<Value> (*)(Interpreter&, const Value& subject, const Call&);

struct Expression {
  enum class Kind : uint8_t {
    constant,
    name,
    list,  // of the children, as tuple
    tuple,
    dict,       // children: key, value, key, value ...
    attribute,  // children[0].text
    subscript,  // children[0][children[1]]
    slice,      // children[0][children[1]:children[2]:children[3]]; nullptr where left out
    call,       // children[0](children[1..], named)
    filter,     // children[0]|text(children[1..], named); children[0] is nullptr in a filter block
    predicate,  // children[0] is text(children[1..])
    negative,   // -children[0]
    positive,   // +children[0]
    logical_not,
    logical_and,
    logical_or,
    binary,         // children[0] operator children[1]
    comparison,     // children[0] comparisons[0] children[1] comparisons[1] children[2] ...
    concatenation,  // children, joined by ~
    conditional,    // children[1] if children[0] else children[2], which may be nullptr
  };

  Kind kind = Kind::constant;
  BinaryOperator binary = BinaryOperator::add;
  Symbol symbol = 0;  // of a name
  uint32_t line = 0;
  uint32_t depth = 1;
  Operation operation = nullptr;
  std::string text;  // of attribute, filter, predicate
  Value constant;
  std::vector<const Expression*> children;
  std::vector<std::pair<std::string, const Expression*>> named;
  std::vector<Comparison> comparisons;
};

// What a for loop or {% set %} assigns to: a name, an attribute of a namespace, or several of them
// that take the items of a list.
struct Target {
  Symbol symbol = 0;
  std::string attribute;  // not empty: symbol.attribute
  std::vector<Target> parts;
};

struct Statement;
using Body = std::vector<const Statement*>;

struct MacroNode {
  std::string name;
  std::vector<Symbol> parameters;
  std::vector<const Expression*> defaults;  // as many as parameters; nullptr: required or undefined
  Body body;
};

struct Statement {
  enum class Kind : uint8_t {
    text,       // literal
    output,     // {{ value }}
    evaluate,   // {% do value %}
    loop,       // for target in value [if condition]: body, else otherwise
    condition,  // branches; the last may have no test
    set,        // target = value
    set_block,  // target = what body prints, through the filter `value` where there is one
    filter,     // what body prints, through the filter `value`
    macro,
    scope,  // {% with %}: assignments, then body, in a scope of their own
    break_loop,
    continue_loop,
  };
  struct Branch {
    const Expression* test = nullptr;
    Body body;
  };

  Kind kind = Kind::text;
  uint32_t line = 0;
  uint32_t depth = 1;
  Value::Text literal;
  Target target;
  const Expression* value = nullptr;
  const Expression* condition = nullptr;
  Body body;
  Body otherwise;
  std::vector<Branch> branches;
  std::vector<std::pair<Target, const Expression*>> assignments;
  MacroNode macro;
};

struct Program {
  std::deque<Expression> expressions;
  std::deque<Statement> statements;
  std::vector<std::string> symbol_names;
  std::unordered_map<std::string, Symbol> symbols;
  Body body;

  Symbol symbol(std::string_view name) {
    const auto [at, is_new] =
        symbols.try_emplace(std::string(name), static_cast<Symbol>(symbol_names.size()));
    if (is_new) symbol_names.emplace_back(name);
    return at->second;
  }
};

}  // namespace floe::jinja

#include "template/interpreter.h"

#include <algorithm>

#include "template/json_values.h"
#include "template/operations.h"
#include "template/value_text.h"

namespace floe::jinja {

namespace {

constexpr uint64_t kCancelCheckSteps = 1024;

int64_t as_count(size_t bytes) {
  return static_cast<int64_t>(bytes);
}

}  // namespace

bool Interpreter::Level::too_deep() const {
  return interpreter_.depth_ > interpreter_.limits_.max_depth;
}

Interpreter::Interpreter(const Program& program, const TemplateInput& input,
                         const TemplateLimits& limits)
    : program_(program),
      input_(input),
      limits_(limits),
      steps_left_(limits.max_steps),
      live_bytes_(std::make_shared<std::atomic<int64_t>>(0)) {}

Result<MarkedText> Interpreter::run() {
  variables_ = &make_dict();
  if (input_.variables != nullptr) {
    FLOE_TRY_VOID(add_members(*this, *input_.variables, Origin::data, *variables_));
  }
  if (input_.constants != nullptr) {
    FLOE_TRY_VOID(add_members(*this, *input_.constants, Origin::author, *variables_));
  }
  MarkedText output;
  output_ = &output;
  enter_scope();
  FLOE_TRY_VOID(run_body(program_.body));
  return output;
}

Error Interpreter::fault(const std::string& what) const {
  return usage_error("chat template, line {}: {}", line_, what);
}

Result<void> Interpreter::spend(size_t steps) {
  if (steps_left_ < steps) {
    return fault("stopped after " + std::to_string(limits_.max_steps) + " steps");
  }
  const uint64_t before = steps_left_ / kCancelCheckSteps;
  steps_left_ -= steps;
  if (steps_left_ / kCancelCheckSteps != before && input_.is_cancelled != nullptr &&
      input_.is_cancelled(input_.cancel_context)) {
    return fault("cancelled");
  }
  if (live_bytes_->load(std::memory_order_relaxed) > as_count(limits_.max_memory_bytes)) {
    return fault("needs more than " + std::to_string(limits_.max_memory_bytes >> 20) +
                 " MB of memory");
  }
  return {};
}

Result<void> Interpreter::hold(size_t n_values) {
  live_bytes_->fetch_add(as_count(n_values * sizeof(Value)), std::memory_order_relaxed);
  return spend(n_values);
}

Result<Value> Interpreter::text(MarkedText text) {
  FLOE_TRY_VOID(spend(1 + text.size() / 16));
  const int64_t bytes = as_count(text.memory_bytes() + sizeof(MarkedText));
  live_bytes_->fetch_add(bytes, std::memory_order_relaxed);
  auto live_bytes = live_bytes_;
  Value::Text shared(new MarkedText(std::move(text)), [live_bytes, bytes](const MarkedText* owned) {
    live_bytes->fetch_sub(bytes, std::memory_order_relaxed);
    delete owned;
  });
  return Value(std::move(shared));
}

List& Interpreter::make_list(bool is_tuple) {
  live_bytes_->fetch_add(as_count(sizeof(List)), std::memory_order_relaxed);
  List& list = lists_.emplace_back();
  list.is_tuple = is_tuple;
  return list;
}

Dict& Interpreter::make_dict() {
  live_bytes_->fetch_add(as_count(sizeof(Dict)), std::memory_order_relaxed);
  return dicts_.emplace_back();
}

Value Interpreter::method(std::string_view name, Function::Native native, const Value& self) {
  live_bytes_->fetch_add(as_count(sizeof(Function)), std::memory_order_relaxed);
  Function& function = functions_.emplace_back();
  function.name = name;
  function.native = native;
  function.self = self;
  return Value(static_cast<const Function*>(&function));
}

Scope& Interpreter::enter_scope() {
  live_bytes_->fetch_add(as_count(sizeof(Scope)), std::memory_order_relaxed);
  Scope& scope = scopes_.emplace_back();
  scope.parent = scope_;
  scope_ = &scope;
  return scope;
}

void Interpreter::set_variable(Symbol symbol, Value value) {
  for (auto& [name, current] : scope_->variables) {
    if (name != symbol) continue;
    current = std::move(value);
    return;
  }
  live_bytes_->fetch_add(as_count(sizeof(std::pair<Symbol, Value>)), std::memory_order_relaxed);
  scope_->variables.emplace_back(symbol, std::move(value));
}

Value Interpreter::look_up(Symbol symbol) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [name, value] : scope->variables) {
      if (name == symbol) return value;
    }
  }
  const std::string& name = program_.symbol_names[symbol];
  if (const Value* given = variables_->find(name)) return *given;
  Value global = find_global(*this, name);
  if (!global.is_undefined()) return global;
  return Value(Undefined{std::make_shared<const std::string>(name)});
}

// --- statements

Result<void> Interpreter::write(const MarkedText& text) {
  FLOE_TRY_VOID(spend(1 + text.size() / 16));
  if (output_->size() + text.size() > limits_.max_output_bytes) {
    return fault("prints more than " + std::to_string(limits_.max_output_bytes >> 20) + " MB");
  }
  output_->append(text);
  return {};
}

Result<Interpreter::Flow> Interpreter::run_body(const Body& body) {
  const Level level(*this);
  if (level.too_deep()) return too_deep();
  for (const Statement* statement : body) {
    FLOE_TRY(const Flow flow, run_statement(*statement));
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Result<Interpreter::Flow> Interpreter::run_statement(const Statement& statement) {
  FLOE_TRY_VOID(spend(1));
  line_ = statement.line;
  Flow flow = Flow::next;
  switch (statement.kind) {
    case Statement::Kind::text:
      FLOE_TRY_VOID(write(*statement.literal));
      return flow;
    case Statement::Kind::output: {
      FLOE_TRY(const Value value, evaluate(*statement.value));
      if (const MarkedText* text = value.text()) {
        FLOE_TRY_VOID(write(*text));
      } else {
        FLOE_TRY(const MarkedText text_of_value, printed(*this, value));
        FLOE_TRY_VOID(write(text_of_value));
      }
      return flow;
    }
    case Statement::Kind::evaluate:
      FLOE_TRY_VOID(evaluate(*statement.value));
      return flow;
    case Statement::Kind::loop:
      return run_loop(statement);
    case Statement::Kind::scope:
      return run_scope(statement);
    case Statement::Kind::condition:
      for (const Statement::Branch& branch : statement.branches) {
        if (branch.test != nullptr) {
          FLOE_TRY(const Value test, evaluate(*branch.test));
          if (!is_true(test)) continue;
        }
        return run_body(branch.body);
      }
      return flow;
    case Statement::Kind::set: {
      FLOE_TRY(const Value value, evaluate(*statement.value));
      FLOE_TRY_VOID(assign(statement.target, value));
      return flow;
    }
    case Statement::Kind::set_block: {
      FLOE_TRY(const Value value, captured_value(statement, flow));
      FLOE_TRY_VOID(assign(statement.target, value));
      return flow;
    }
    case Statement::Kind::filter: {
      FLOE_TRY(const Value value, captured_value(statement, flow));
      FLOE_TRY(const MarkedText text_of_value, printed(*this, value));
      FLOE_TRY_VOID(write(text_of_value));
      return flow;
    }
    case Statement::Kind::macro:
      define_macro(statement.macro);
      return flow;
    case Statement::Kind::break_loop:
      return Flow::break_loop;
    case Statement::Kind::continue_loop:
      return Flow::continue_loop;
  }
  return flow;
}

Result<MarkedText> Interpreter::captured(const Body& body, Flow& flow) {
  MarkedText text;
  MarkedText* outer = std::exchange(output_, &text);
  Scope* scope = scope_;
  enter_scope();
  auto result = run_body(body);
  scope_ = scope;
  output_ = outer;
  FLOE_TRY(flow, std::move(result));
  return text;
}

Result<Value> Interpreter::captured_value(const Statement& statement, Flow& flow) {
  FLOE_TRY(MarkedText inside, captured(statement.body, flow));
  FLOE_TRY(Value value, text(std::move(inside)));
  if (statement.value == nullptr) return value;
  // The innermost filter has nothing before it: that is where the printed text goes.
  std::vector<const Expression*> filters;
  for (const Expression* filter = statement.value; filter != nullptr;
       filter = filter->children[0]) {
    filters.push_back(filter);
  }
  for (auto filter = filters.rbegin(); filter != filters.rend(); ++filter) {
    FLOE_TRY(const Call arguments, arguments_of(**filter));
    FLOE_TRY(value, (*filter)->operation(*this, value, arguments));
  }
  return value;
}

Result<void> Interpreter::assign(const Target& target, const Value& value) {
  if (!target.parts.empty()) {
    FLOE_TRY(const std::vector<Value> items, items_of(*this, value));
    if (items.size() != target.parts.size()) {
      return fault("expected " + std::to_string(target.parts.size()) + " values to unpack, found " +
                   std::to_string(items.size()));
    }
    const Level level(*this);
    if (level.too_deep()) return too_deep();
    for (size_t i = 0; i < items.size(); ++i) FLOE_TRY_VOID(assign(target.parts[i], items[i]));
    return {};
  }
  if (target.attribute.empty()) {
    set_variable(target.symbol, value);
    return {};
  }
  const Value owner = look_up(target.symbol);
  Dict* dict = owner.dict();
  if (dict == nullptr || !dict->is_namespace) {
    return fault("cannot assign an attribute of '" + program_.symbol_names[target.symbol] +
                 "': it is no namespace");
  }
  FLOE_TRY(const Value key, text(target.attribute, Origin::author));
  dict->set(key, value);
  return {};
}

Result<Value> Interpreter::loop_object(const std::vector<Value>& items, size_t index) {
  Dict& loop = make_dict();
  loop.is_namespace = true;
  const auto set = [&](std::string_view name, Value value) {
    loop.set(
        Value(Value::Text(std::make_shared<const MarkedText>(std::string(name), Origin::author))),
        std::move(value));
  };
  const size_t n = items.size();
  set("index", Value(static_cast<Integer>(index + 1)));
  set("index0", Value(static_cast<Integer>(index)));
  set("revindex", Value(static_cast<Integer>(n - index)));
  set("revindex0", Value(static_cast<Integer>(n - index - 1)));
  set("first", Value(index == 0));
  set("last", Value(index + 1 == n));
  set("length", Value(static_cast<Integer>(n)));
  // Only recursive loops, which are not supported, are ever deeper.
  set("depth", Value(Integer{1}));
  set("depth0", Value(Integer{0}));
  if (index > 0) set("previtem", items[index - 1]);
  if (index + 1 < n) set("nextitem", items[index + 1]);
  FLOE_TRY_VOID(spend(12));
  return Value(&loop);
}

Result<Interpreter::Flow> Interpreter::run_loop(const Statement& statement) {
  FLOE_TRY(const Value over, evaluate(*statement.value));
  FLOE_TRY(std::vector<Value> items, items_of(*this, over));
  Scope* outer = scope_;
  if (statement.condition != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      FLOE_TRY_VOID(spend(1));
      enter_scope();
      FLOE_TRY_VOID(assign(statement.target, item));
      FLOE_TRY(const Value test, evaluate(*statement.condition));
      scope_ = outer;
      if (is_true(test)) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty()) return run_body(statement.otherwise);
  const bool uses_loop = program_.symbols.contains("loop");
  const Symbol loop_symbol = uses_loop ? program_.symbols.at("loop") : 0;
  Scope* scope = nullptr;
  Flow flow = Flow::next;
  for (size_t i = 0; i < items.size(); ++i) {
    FLOE_TRY_VOID(spend(1));
    // Each round has variables of its own; the scope itself serves again unless a macro kept it.
    if (scope == nullptr || scope->is_captured) {
      scope_ = outer;
      scope = &enter_scope();
    } else {
      scope_ = scope;
      scope->variables.clear();
    }
    if (uses_loop) {
      FLOE_TRY(Value loop, loop_object(items, i));
      set_variable(loop_symbol, std::move(loop));
    }
    FLOE_TRY_VOID(assign(statement.target, items[i]));
    FLOE_TRY(flow, run_body(statement.body));
    if (flow == Flow::break_loop) break;
  }
  scope_ = outer;
  return Flow::next;
}

Result<Interpreter::Flow> Interpreter::run_scope(const Statement& statement) {
  Scope* outer = scope_;
  std::vector<Value> values;
  for (const auto& [unused, expression] : statement.assignments) {
    FLOE_TRY(Value value, evaluate(*expression));
    values.push_back(std::move(value));
  }
  enter_scope();
  for (size_t i = 0; i < values.size(); ++i) {
    FLOE_TRY_VOID(assign(statement.assignments[i].first, values[i]));
  }
  FLOE_TRY(const Flow flow, run_body(statement.body));
  scope_ = outer;
  return flow;
}

// --- macros and calls

void Interpreter::define_macro(const MacroNode& macro) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) scope->is_captured = true;
  Function& function = functions_.emplace_back();
  function.name = macro.name;
  function.macro = &macro;
  function.scope = scope_;
  set_variable(program_.symbols.at(macro.name), Value(static_cast<const Function*>(&function)));
}

Result<Value> Interpreter::call_macro(const Function& function, const Call& arguments) {
  const MacroNode& macro = *function.macro;
  if (arguments.positional.size() > macro.parameters.size()) {
    return fault("macro '" + macro.name + "' takes at most " +
                 std::to_string(macro.parameters.size()) + " arguments");
  }
  for (const auto& [name, unused] : arguments.named) {
    const bool known = std::any_of(
        macro.parameters.begin(), macro.parameters.end(),
        [&, name = name](Symbol parameter) { return program_.symbol_names[parameter] == name; });
    if (!known) {
      return fault("macro '" + macro.name + "' has no parameter '" + std::string(name) + "'");
    }
  }
  Scope* caller = scope_;
  const uint32_t line = line_;
  scope_ = function.scope;
  Scope* inside = &enter_scope();
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const Symbol parameter = macro.parameters[i];
    const std::string& name = program_.symbol_names[parameter];
    Value value(Undefined{std::make_shared<const std::string>(name)});
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else if (const Value* named = arguments.find_named(name)) {
      value = *named;
    } else if (macro.defaults[i] != nullptr) {
      FLOE_TRY(value, evaluate(*macro.defaults[i]));
    }
    set_variable(parameter, std::move(value));
  }
  Flow flow = Flow::next;
  FLOE_TRY(MarkedText printed_text, captured(macro.body, flow));
  // The scope's memory stays until the end of the rendering; what it holds need not.
  if (!inside->is_captured) inside->variables = {};
  scope_ = caller;
  line_ = line;
  return text(std::move(printed_text));
}

Result<Value> Interpreter::call(const Value& value, const Call& arguments) {
  const Function* function = value.function();
  if (function == nullptr) {
    if (const Undefined* undefined = value.as<Undefined>()) {
      return fault("'" + (undefined->name ? *undefined->name : std::string("value")) +
                   "' is undefined, and cannot be called");
    }
    return fault("a value of type " + std::string(type_name(value)) + " cannot be called");
  }
  const Level level(*this);
  if (level.too_deep()) return too_deep();
  FLOE_TRY_VOID(spend(1));
  if (function->macro != nullptr) return call_macro(*function, arguments);
  return function->native(*this, function->self, arguments);
}

Result<Call> Interpreter::arguments_of(const Expression& expression) {
  Call call;
  for (size_t i = 1; i < expression.children.size(); ++i) {
    FLOE_TRY(Value value, evaluate(*expression.children[i]));
    call.positional.push_back(std::move(value));
  }
  for (const auto& [name, child] : expression.named) {
    FLOE_TRY(Value value, evaluate(*child));
    call.named.emplace_back(name, std::move(value));
  }
  return call;
}

// --- expressions

Result<Value> Interpreter::evaluate(const Expression& expression) {
  const Level level(*this);
  if (level.too_deep()) return too_deep();
  FLOE_TRY_VOID(spend(1));
  line_ = expression.line;
  switch (expression.kind) {
    case Expression::Kind::logical_and:
    case Expression::Kind::logical_or: {
      FLOE_TRY(Value left, evaluate(*expression.children[0]));
      const bool decided = is_true(left) == (expression.kind == Expression::Kind::logical_or);
      if (decided) return left;
      return evaluate(*expression.children[1]);
    }
    case Expression::Kind::conditional: {
      FLOE_TRY(const Value test, evaluate(*expression.children[0]));
      if (is_true(test)) return evaluate(*expression.children[1]);
      if (expression.children[2] != nullptr) return evaluate(*expression.children[2]);
      return Value();
    }
    case Expression::Kind::call:
      return evaluate_call(expression);
    case Expression::Kind::slice:
      return evaluate_slice(expression);
    case Expression::Kind::comparison:
      return evaluate_comparison(expression);
    default:
      return evaluate_plain(expression);
  }
}

Result<Value> Interpreter::evaluate_plain(const Expression& expression) {
  using Kind = Expression::Kind;
  const auto& children = expression.children;
  switch (expression.kind) {
    case Kind::constant:
      return expression.constant;
    case Kind::name:
      return look_up(expression.symbol);
    case Kind::list:
    case Kind::tuple: {
      FLOE_TRY_VOID(hold(children.size()));
      List& list = make_list(expression.kind == Kind::tuple);
      for (const Expression* child : children) {
        FLOE_TRY(Value item, evaluate(*child));
        list.items.push_back(std::move(item));
      }
      return Value(&list);
    }
    case Kind::dict: {
      FLOE_TRY_VOID(hold(2 * children.size()));
      Dict& dict = make_dict();
      for (size_t i = 0; i + 1 < children.size(); i += 2) {
        FLOE_TRY(const Value key, evaluate(*children[i]));
        if (!hash_key(key)) {
          return fault("a value of type " + std::string(type_name(key)) + " cannot be a key");
        }
        FLOE_TRY(Value value, evaluate(*children[i + 1]));
        dict.set(key, std::move(value));
      }
      return Value(&dict);
    }
    case Kind::attribute: {
      FLOE_TRY(const Value owner, evaluate(*children[0]));
      line_ = expression.line;
      return attribute_of(*this, owner, expression.text);
    }
    case Kind::subscript: {
      FLOE_TRY(const Value owner, evaluate(*children[0]));
      FLOE_TRY(const Value key, evaluate(*children[1]));
      return item_of(*this, owner, key);
    }
    case Kind::filter:
    case Kind::predicate: {
      FLOE_TRY(const Value subject, evaluate(*children[0]));
      FLOE_TRY(const Call arguments, arguments_of(expression));
      line_ = expression.line;
      return expression.operation(*this, subject, arguments);
    }
    case Kind::negative: {
      FLOE_TRY(const Value value, evaluate(*children[0]));
      return negated(*this, value);
    }
    case Kind::positive: {
      FLOE_TRY(const Value value, evaluate(*children[0]));
      if (!value.number()) return fault("+ takes a number, found " + std::string(type_name(value)));
      return value;
    }
    case Kind::logical_not: {
      FLOE_TRY(const Value value, evaluate(*children[0]));
      return Value(!is_true(value));
    }
    case Kind::binary: {
      FLOE_TRY(const Value left, evaluate(*children[0]));
      FLOE_TRY(const Value right, evaluate(*children[1]));
      line_ = expression.line;
      return apply(*this, expression.binary, left, right);
    }
    case Kind::concatenation: {
      MarkedText joined;
      for (const Expression* child : children) {
        FLOE_TRY(const Value part, evaluate(*child));
        FLOE_TRY(const MarkedText part_text, printed(*this, part));
        joined.append(part_text);
      }
      return text(std::move(joined));
    }
    default:
      break;
  }
  FLOE_CHECK(false);
  return Value();
}

Result<Value> Interpreter::evaluate_call(const Expression& expression) {
  FLOE_TRY(const Value function, evaluate(*expression.children[0]));
  FLOE_TRY(const Call arguments, arguments_of(expression));
  line_ = expression.line;
  return call(function, arguments);
}

Result<Value> Interpreter::evaluate_slice(const Expression& expression) {
  FLOE_TRY(const Value owner, evaluate(*expression.children[0]));
  Value bounds[3] = {Value(None{}), Value(None{}), Value(None{})};
  for (size_t i = 0; i < 3; ++i) {
    if (expression.children[i + 1] == nullptr) continue;
    FLOE_TRY(bounds[i], evaluate(*expression.children[i + 1]));
  }
  return slice_of(*this, owner, bounds[0], bounds[1], bounds[2]);
}

Result<Value> Interpreter::evaluate_comparison(const Expression& expression) {
  FLOE_TRY(Value left, evaluate(*expression.children[0]));
  for (size_t i = 0; i < expression.comparisons.size(); ++i) {
    FLOE_TRY(Value right, evaluate(*expression.children[i + 1]));
    line_ = expression.line;
    FLOE_TRY(const bool holds, compare(*this, expression.comparisons[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

}  // namespace floe::jinja

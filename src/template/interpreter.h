#pragma once
// Runs a parsed template. One Interpreter renders once; it owns every list, dict and scope that the
// template makes, and counts what the rendering costs.
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "template/syntax.h"
#include "template/template.h"
#include "template/value.h"

namespace floe::jinja {

struct Scope {
  Scope* parent = nullptr;
  bool is_captured = false;  // a macro defined here still reads it
  std::vector<std::pair<Symbol, Value>> variables;
};

class Interpreter {
 public:
  Interpreter(const Program& program, const TemplateInput& input, const TemplateLimits& limits);

  Result<MarkedText> run();

  // What operators, filters and methods ask for. Every piece of work that grows with its input is
  // paid for first: `spend` fails when the rendering has used up its steps.
  Result<void> spend(size_t steps);
  // Pays for n more values in a list or dict, in steps and in memory.
  Result<void> hold(size_t n_values);
  Result<Value> text(MarkedText text);
  Result<Value> text(std::string bytes, Origin origin) {
    return text(MarkedText(std::move(bytes), origin));
  }
  List& make_list(bool is_tuple = false);
  Dict& make_dict();
  Value method(std::string_view name, Function::Native native, const Value& self);
  Result<Value> call(const Value& function, const Call& arguments);
  // An error at the line that runs, as a person who wrote the template needs it.
  Error fault(const std::string& what) const;
  // {{ value }} and nested data are walked by recursion: every level is entered through this.
  class Level {
   public:
    explicit Level(Interpreter& interpreter) : interpreter_(interpreter) { ++interpreter_.depth_; }
    ~Level() { --interpreter_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    bool too_deep() const;

   private:
    Interpreter& interpreter_;
  };
  Error too_deep() const { return fault("too many levels of nesting"); }

  const TemplateInput& input() const { return input_; }

 private:
  enum class Flow : uint8_t { next, break_loop, continue_loop };

  Result<Flow> run_body(const Body& body);
  Result<Flow> run_statement(const Statement& statement);
  Result<Flow> run_loop(const Statement& statement);
  Result<Flow> run_scope(const Statement& statement);
  // Runs the body with output of its own.
  Result<MarkedText> captured(const Body& body, Flow& flow);
  Result<Value> captured_value(const Statement& statement, Flow& flow);
  Result<void> write(const MarkedText& text);
  Result<void> assign(const Target& target, const Value& value);
  void define_macro(const MacroNode& macro);
  Result<Value> call_macro(const Function& function, const Call& arguments);
  Result<Value> loop_object(const std::vector<Value>& items, size_t index);

  Result<Value> evaluate(const Expression& expression);
  Result<Value> evaluate_plain(const Expression& expression);
  Result<Value> evaluate_call(const Expression& expression);
  Result<Value> evaluate_slice(const Expression& expression);
  Result<Value> evaluate_comparison(const Expression& expression);
  Result<Call> arguments_of(const Expression& expression);
  Value look_up(Symbol symbol);

  Scope& enter_scope();
  void set_variable(Symbol symbol, Value value);

  const Program& program_;
  const TemplateInput& input_;
  const TemplateLimits limits_;
  uint64_t steps_left_;
  std::shared_ptr<std::atomic<int64_t>> live_bytes_;
  uint32_t depth_ = 0;
  uint32_t line_ = 1;

  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Function> functions_;
  std::deque<Scope> scopes_;
  Scope* scope_ = nullptr;
  MarkedText* output_ = nullptr;
  Dict* variables_ = nullptr;  // what the caller gave
};

}  // namespace floe::jinja

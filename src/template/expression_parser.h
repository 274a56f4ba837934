#pragma once
// Expressions of the template language, by recursive descent: a function for each strength of
// operators, and brackets inside each other up to kMaxDepth.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "template/syntax.h"
#include "template/token_reader.h"

namespace floe::jinja {

class ExpressionParser : protected TokenReader {
 public:
  // program outlives the parser and owns the nodes.
  ExpressionParser(std::vector<Token> tokens, Program& program)
      : TokenReader(std::move(tokens)), program_(program) {}

 protected:
  // a, b: a tuple without brackets.
  Result<const Expression*> tuple_or_expression(bool allows_condition = true);
  Result<const Expression*> expression(bool allows_condition = true);
  // |name(...)|name ...; `begins_inline`: the first stands without its bar, as in {% filter x %}.
  Result<const Expression*> filters(const Expression* value, bool begins_inline);

  Program& program_;

 private:
  using Kind = Expression::Kind;

  Result<const Expression*> add(Expression node);
  Result<const Expression*> add(Kind kind, uint32_t line, std::vector<const Expression*> children);
  Result<const Expression*> add_constant(Value value, uint32_t line);
  bool ends_tuple() const;
  Result<const Expression*> logical_or();
  Result<const Expression*> logical_and();
  Result<const Expression*> logical_not();
  std::optional<Comparison> take_comparison();
  Result<const Expression*> comparison();
  Result<const Expression*> add_binary(BinaryOperator op, uint32_t line, const Expression* left,
                                       const Expression* right);
  Result<const Expression*> sum();
  Result<const Expression*> concatenation();
  Result<const Expression*> product();
  Result<const Expression*> power();
  // Jinja binds filters looser than a sign: -x|abs is (-x)|abs.
  Result<const Expression*> unary();
  Result<const Expression*> primary();
  Result<const Expression*> bracketed(uint32_t line);
  Result<std::vector<const Expression*>> list_until(std::string_view close);
  Result<const Expression*> dict(uint32_t line);
  // .name, [key], [a:b:c] and (arguments), as many as follow.
  Result<const Expression*> postfix(const Expression* value);
  Result<const Expression*> subscript(const Expression* value, uint32_t line);
  // "(a, b, name=c)" into the node's children and named arguments.
  Result<void> arguments(Expression& node);
  Result<const Expression*> call(const Expression* function);
  Result<std::string> dotted_name();
  Result<const Expression*> filters_and_predicates(const Expression* value);
  Result<const Expression*> predicate(const Expression* value);
  // "x is divisibleby 3": an argument without brackets.
  bool begins_argument() const;
};

}  // namespace floe::jinja

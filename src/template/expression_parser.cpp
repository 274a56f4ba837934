#include "template/expression_parser.h"

#include <algorithm>
#include <utility>

#include "template/operations.h"

namespace floe::jinja {

Result<const Expression*> ExpressionParser::add(Expression node) {
  for (const Expression* child : node.children) {
    if (child != nullptr) node.depth = std::max(node.depth, child->depth + 1);
  }
  for (const auto& [unused, child] : node.named)
    node.depth = std::max(node.depth, child->depth + 1);
  if (node.depth > kMaxDepth) return fault_at(node.line, "an expression of too many parts");
  program_.expressions.push_back(std::move(node));
  return &program_.expressions.back();
}

Result<const Expression*> ExpressionParser::add(Kind kind, uint32_t line,
                                                std::vector<const Expression*> children) {
  Expression node;
  node.kind = kind;
  node.line = line;
  node.children = std::move(children);
  return add(std::move(node));
}

Result<const Expression*> ExpressionParser::add_constant(Value value, uint32_t line) {
  Expression node;
  node.line = line;
  node.constant = std::move(value);
  return add(std::move(node));
}

// a, b: a tuple without brackets.
Result<const Expression*> ExpressionParser::tuple_or_expression(bool allows_condition) {
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* first, expression(allows_condition));
  if (!current().is_symbol(",")) return first;
  std::vector<const Expression*> items = {first};
  while (skip_symbol(",")) {
    if (ends_tuple()) break;
    FLOE_TRY(const Expression* item, expression(allows_condition));
    items.push_back(item);
  }
  return add(Kind::tuple, line, std::move(items));
}

bool ExpressionParser::ends_tuple() const {
  return current().kind == Token::Kind::block_end || current().kind == Token::Kind::variable_end ||
         current().is_symbol(")") || current().is_symbol("=");
}

Result<const Expression*> ExpressionParser::expression(bool allows_condition) {
  const Level level(depth_);
  if (level.too_deep()) return fault("too many brackets inside each other");
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* value, logical_or());
  while (allows_condition && skip_name("if")) {
    FLOE_TRY(const Expression* test, logical_or());
    const Expression* otherwise = nullptr;
    if (skip_name("else")) {
      FLOE_TRY(otherwise, expression());
    }
    FLOE_TRY(value, add(Kind::conditional, line, {test, value, otherwise}));
  }
  return value;
}

Result<const Expression*> ExpressionParser::logical_or() {
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* left, logical_and());
  while (skip_name("or")) {
    FLOE_TRY(const Expression* right, logical_and());
    FLOE_TRY(left, add(Kind::logical_or, line, {left, right}));
  }
  return left;
}

Result<const Expression*> ExpressionParser::logical_and() {
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* left, logical_not());
  while (skip_name("and")) {
    FLOE_TRY(const Expression* right, logical_not());
    FLOE_TRY(left, add(Kind::logical_and, line, {left, right}));
  }
  return left;
}

Result<const Expression*> ExpressionParser::logical_not() {
  const uint32_t line = current().line;
  size_t n_nots = 0;
  while (current().is_name("not")) {
    take();
    ++n_nots;
  }
  FLOE_TRY(const Expression* value, comparison());
  for (; n_nots > 0; --n_nots) {
    FLOE_TRY(value, add(Kind::logical_not, line, {value}));
  }
  return value;
}

std::optional<Comparison> ExpressionParser::take_comparison() {
  static constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
      {"==", Comparison::equal},  {"!=", Comparison::not_equal},
      {"<", Comparison::less},    {"<=", Comparison::less_equal},
      {">", Comparison::greater}, {">=", Comparison::greater_equal}};
  for (const auto& [symbol, comparison] : kComparisons) {
    if (skip_symbol(symbol)) return comparison;
  }
  if (skip_name("in")) return Comparison::in;
  if (current().is_name("not") && next_token().is_name("in")) {
    take();
    take();
    return Comparison::not_in;
  }
  return std::nullopt;
}

Result<const Expression*> ExpressionParser::comparison() {
  Expression node;
  node.kind = Kind::comparison;
  node.line = current().line;
  FLOE_TRY(const Expression* first, sum());
  node.children.push_back(first);
  while (const auto comparison = take_comparison()) {
    FLOE_TRY(const Expression* next, sum());
    node.comparisons.push_back(*comparison);
    node.children.push_back(next);
  }
  if (node.comparisons.empty()) return first;
  return add(std::move(node));
}

Result<const Expression*> ExpressionParser::add_binary(BinaryOperator op, uint32_t line,
                                                       const Expression* left,
                                                       const Expression* right) {
  Expression node;
  node.kind = Kind::binary;
  node.line = line;
  node.binary = op;
  node.children = {left, right};
  return add(std::move(node));
}

Result<const Expression*> ExpressionParser::sum() {
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* left, concatenation());
  while (current().is_symbol("+") || current().is_symbol("-")) {
    const BinaryOperator op = take().text == "+" ? BinaryOperator::add : BinaryOperator::subtract;
    FLOE_TRY(const Expression* right, concatenation());
    FLOE_TRY(left, add_binary(op, line, left, right));
  }
  return left;
}

Result<const Expression*> ExpressionParser::concatenation() {
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* first, product());
  std::vector<const Expression*> parts = {first};
  while (skip_symbol("~")) {
    FLOE_TRY(const Expression* part, product());
    parts.push_back(part);
  }
  if (parts.size() == 1) return first;
  return add(Kind::concatenation, line, std::move(parts));
}

Result<const Expression*> ExpressionParser::product() {
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* left, power());
  while (true) {
    BinaryOperator op;
    if (current().is_symbol("*"))
      op = BinaryOperator::multiply;
    else if (current().is_symbol("/"))
      op = BinaryOperator::divide;
    else if (current().is_symbol("//"))
      op = BinaryOperator::floor_divide;
    else if (current().is_symbol("%"))
      op = BinaryOperator::modulo;
    else
      return left;
    take();
    FLOE_TRY(const Expression* right, power());
    FLOE_TRY(left, add_binary(op, line, left, right));
  }
}

Result<const Expression*> ExpressionParser::power() {
  const uint32_t line = current().line;
  FLOE_TRY(const Expression* left, unary());
  while (skip_symbol("**")) {
    FLOE_TRY(const Expression* right, unary());
    FLOE_TRY(left, add_binary(BinaryOperator::power, line, left, right));
  }
  return left;
}

// Jinja binds filters looser than a sign: -x|abs is (-x)|abs.
Result<const Expression*> ExpressionParser::unary() {
  const uint32_t line = current().line;
  std::vector<Kind> signs;
  while (current().is_symbol("-") || current().is_symbol("+")) {
    signs.push_back(take().text == "-" ? Kind::negative : Kind::positive);
  }
  FLOE_TRY(const Expression* value, primary());
  FLOE_TRY(value, postfix(value));
  for (; !signs.empty(); signs.pop_back()) {
    FLOE_TRY(value, add(signs.back(), line, {value}));
  }
  return filters_and_predicates(value);
}

Result<const Expression*> ExpressionParser::primary() {
  const Token token = current();
  switch (token.kind) {
    case Token::Kind::name: {
      take();
      if (token.text == "true" || token.text == "True")
        return add_constant(Value(true), token.line);
      if (token.text == "false" || token.text == "False") {
        return add_constant(Value(false), token.line);
      }
      if (token.text == "none" || token.text == "None") {
        return add_constant(Value(None{}), token.line);
      }
      Expression node;
      node.kind = Kind::name;
      node.line = token.line;
      node.symbol = program_.symbol(token.text);
      return add(std::move(node));
    }
    case Token::Kind::string: {
      std::string text;
      while (current().kind == Token::Kind::string) text += take().text;
      return add_constant(
          Value(Value::Text(std::make_shared<const MarkedText>(std::move(text), Origin::author))),
          token.line);
    }
    case Token::Kind::integer:
      take();
      return add_constant(Value(token.integer), token.line);
    case Token::Kind::floating:
      take();
      return add_constant(Value(token.floating), token.line);
    default:
      break;
  }
  if (skip_symbol("(")) return bracketed(token.line);
  if (skip_symbol("[")) {
    FLOE_TRY(auto items, list_until("]"));
    return add(Kind::list, token.line, std::move(items));
  }
  if (skip_symbol("{")) return dict(token.line);
  return unexpected("an expression");
}

Result<const Expression*> ExpressionParser::bracketed(uint32_t line) {
  if (skip_symbol(")")) return add(Kind::tuple, line, {});
  FLOE_TRY(const Expression* inside, tuple_or_expression());
  FLOE_TRY_VOID(expect_symbol(")"));
  return inside;
}

Result<std::vector<const Expression*>> ExpressionParser::list_until(std::string_view close) {
  std::vector<const Expression*> items;
  while (!skip_symbol(close)) {
    if (!items.empty()) FLOE_TRY_VOID(expect_symbol(","));
    if (skip_symbol(close)) break;
    FLOE_TRY(const Expression* item, expression());
    items.push_back(item);
  }
  return items;
}

Result<const Expression*> ExpressionParser::dict(uint32_t line) {
  std::vector<const Expression*> members;
  while (!skip_symbol("}")) {
    if (!members.empty()) FLOE_TRY_VOID(expect_symbol(","));
    if (skip_symbol("}")) break;
    FLOE_TRY(const Expression* key, expression());
    FLOE_TRY_VOID(expect_symbol(":"));
    FLOE_TRY(const Expression* value, expression());
    members.push_back(key);
    members.push_back(value);
  }
  return add(Kind::dict, line, std::move(members));
}

// .name, [key], [a:b:c] and (arguments), as many as follow.
Result<const Expression*> ExpressionParser::postfix(const Expression* value) {
  while (true) {
    const uint32_t line = current().line;
    if (skip_symbol(".")) {
      if (current().kind == Token::Kind::integer) {
        FLOE_TRY(const Expression* index, add_constant(Value(take().integer), line));
        FLOE_TRY(value, add(Kind::subscript, line, {value, index}));
        continue;
      }
      Expression node;
      node.kind = Kind::attribute;
      node.line = line;
      node.children = {value};
      FLOE_TRY(node.text, expect_any_name());
      FLOE_TRY(value, add(std::move(node)));
    } else if (skip_symbol("[")) {
      FLOE_TRY(value, subscript(value, line));
    } else if (current().is_symbol("(")) {
      FLOE_TRY(value, call(value));
    } else {
      return value;
    }
  }
}

Result<const Expression*> ExpressionParser::subscript(const Expression* value, uint32_t line) {
  const Expression* parts[3] = {nullptr, nullptr, nullptr};
  size_t n_colons = 0;
  while (!skip_symbol("]")) {
    if (skip_symbol(":")) {
      if (++n_colons > 2) return unexpected("']'");
      continue;
    }
    if (parts[n_colons] != nullptr) return unexpected("']'");
    FLOE_TRY(parts[n_colons], expression());
  }
  if (n_colons == 0) {
    if (parts[0] == nullptr) return fault("expected a subscript");
    return add(Kind::subscript, line, {value, parts[0]});
  }
  return add(Kind::slice, line, {value, parts[0], parts[1], parts[2]});
}

// "(a, b, name=c)" into the node's children and named arguments.
Result<void> ExpressionParser::arguments(Expression& node) {
  FLOE_TRY_VOID(expect_symbol("("));
  bool first = true;
  while (!skip_symbol(")")) {
    if (!first) FLOE_TRY_VOID(expect_symbol(","));
    first = false;
    if (skip_symbol(")")) break;
    if (current().is_symbol("*") || current().is_symbol("**")) {
      return fault("arguments from a list (*) are not supported");
    }
    if (current().kind == Token::Kind::name && next_token().is_symbol("=")) {
      std::string name = take().text;
      take();
      FLOE_TRY(const Expression* value, expression());
      node.named.emplace_back(std::move(name), value);
    } else {
      if (!node.named.empty()) return fault("a positional argument behind a named one");
      FLOE_TRY(const Expression* value, expression());
      node.children.push_back(value);
    }
  }
  return {};
}

Result<const Expression*> ExpressionParser::call(const Expression* function) {
  Expression node;
  node.kind = Kind::call;
  node.line = current().line;
  node.children = {function};
  FLOE_TRY_VOID(arguments(node));
  return add(std::move(node));
}

Result<std::string> ExpressionParser::dotted_name() {
  FLOE_TRY(std::string name, expect_any_name());
  while (skip_symbol(".")) {
    FLOE_TRY(const std::string part, expect_any_name());
    name += "." + part;
  }
  return name;
}

// |name(...)|name ...; `begins_inline`: the first stands without its bar, as in {% filter x %}.
Result<const Expression*> ExpressionParser::filters(const Expression* value, bool begins_inline) {
  while (begins_inline || skip_symbol("|")) {
    begins_inline = false;
    Expression node;
    node.kind = Kind::filter;
    node.line = current().line;
    node.children = {value};
    FLOE_TRY(node.text, dotted_name());
    node.operation = find_filter(node.text);
    if (node.operation == nullptr) return fault("the filter '" + node.text + "' is not supported");
    if (current().is_symbol("(")) FLOE_TRY_VOID(arguments(node));
    FLOE_TRY(value, add(std::move(node)));
  }
  return value;
}

Result<const Expression*> ExpressionParser::filters_and_predicates(const Expression* value) {
  while (true) {
    if (current().is_symbol("|")) {
      FLOE_TRY(value, filters(value, false));
    } else if (current().is_name("is")) {
      FLOE_TRY(value, predicate(value));
    } else if (current().is_symbol("(")) {
      FLOE_TRY(value, call(value));
    } else {
      return value;
    }
  }
}

Result<const Expression*> ExpressionParser::predicate(const Expression* value) {
  take();  // is
  const bool negated = skip_name("not");
  Expression node;
  node.kind = Kind::predicate;
  node.line = current().line;
  node.children = {value};
  FLOE_TRY(node.text, dotted_name());
  node.operation = find_predicate(node.text);
  if (node.operation == nullptr) return fault("the test '" + node.text + "' is not supported");
  if (current().is_symbol("(")) {
    FLOE_TRY_VOID(arguments(node));
  } else if (begins_argument()) {
    FLOE_TRY(const Expression* argument, primary());
    FLOE_TRY(argument, postfix(argument));
    node.children.push_back(argument);
  }
  const uint32_t line = node.line;
  FLOE_TRY(const Expression* found, add(std::move(node)));
  if (!negated) return found;
  return add(Kind::logical_not, line, {found});
}

// "x is divisibleby 3": an argument without brackets.
bool ExpressionParser::begins_argument() const {
  const Token& token = current();
  if (token.kind == Token::Kind::name) {
    return token.text != "else" && token.text != "or" && token.text != "and" &&
           token.text != "is" && token.text != "if" && token.text != "in" && token.text != "not";
  }
  return token.kind == Token::Kind::string || token.kind == Token::Kind::integer ||
         token.kind == Token::Kind::floating || token.is_symbol("[") || token.is_symbol("{");
}

}  // namespace floe::jinja

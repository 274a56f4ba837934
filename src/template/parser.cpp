#include "template/parser.h"

#include <algorithm>
#include <initializer_list>

#include "template/lexer.h"
#include "template/operations.h"

namespace floe::jinja {

namespace {

using Kind = Expression::Kind;

// Of brackets and statements inside each other while parsing, and of the finished tree.
constexpr uint32_t kMaxDepth = 200;
constexpr size_t kMaxSourceBytes = size_t{4} << 20;

class Parser {
 public:
  Parser(std::vector<Token> tokens, Program& program)
      : tokens_(std::move(tokens)), program_(program) {}

  Result<void> run() {
    FLOE_TRY(program_.body, body({}));
    return {};
  }

 private:
  class Level {
   public:
    explicit Level(uint32_t& depth) : depth_(depth) { ++depth_; }
    ~Level() { --depth_; }
    bool too_deep() const { return depth_ > kMaxDepth; }

   private:
    uint32_t& depth_;
  };

  // --- tokens

  const Token& current() const { return tokens_[at_]; }
  const Token& next_token() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool skip_symbol(std::string_view symbol) {
    if (!current().is_symbol(symbol)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!current().is_name(name)) return false;
    take();
    return true;
  }
  Error fault_at(uint32_t line, std::string_view what) const {
    return model_error("chat template, line {}: {}", line, what);
  }
  Error fault(std::string_view what) const { return fault_at(current().line, what); }
  Error unexpected(std::string_view wanted) const {
    const Token& token = current();
    const bool has_text = !token.text.empty() && token.kind != Token::Kind::text;
    return fault("expected " + std::string(wanted) + ", found " +
                 (token.kind == Token::Kind::end            ? "the end of the template"
                  : token.kind == Token::Kind::block_end    ? "'%}'"
                  : token.kind == Token::Kind::variable_end ? "'}}'"
                  : has_text                                ? "'" + token.text.substr(0, 40) + "'"
                                                            : "something else"));
  }
  Result<void> expect_symbol(std::string_view symbol) {
    if (skip_symbol(symbol)) return {};
    return unexpected("'" + std::string(symbol) + "'");
  }
  Result<void> expect_name(std::string_view name) {
    if (skip_name(name)) return {};
    return unexpected("'" + std::string(name) + "'");
  }
  Result<std::string> expect_any_name() {
    if (current().kind != Token::Kind::name) return unexpected("a name");
    return take().text;
  }
  Result<void> expect_block_end() {
    if (current().kind != Token::Kind::block_end) return unexpected("'%}'");
    take();
    return {};
  }

  // --- nodes

  Result<const Expression*> add(Expression node) {
    for (const Expression* child : node.children) {
      if (child != nullptr) node.depth = std::max(node.depth, child->depth + 1);
    }
    for (const auto& [unused, child] : node.named)
      node.depth = std::max(node.depth, child->depth + 1);
    if (node.depth > kMaxDepth) return fault_at(node.line, "an expression of too many parts");
    program_.expressions.push_back(std::move(node));
    return &program_.expressions.back();
  }
  Result<const Expression*> add(Kind kind, uint32_t line, std::vector<const Expression*> children) {
    Expression node;
    node.kind = kind;
    node.line = line;
    node.children = std::move(children);
    return add(std::move(node));
  }
  Result<const Expression*> add_constant(Value value, uint32_t line) {
    Expression node;
    node.line = line;
    node.constant = std::move(value);
    return add(std::move(node));
  }
  const Statement* add(Statement node) {
    program_.statements.push_back(std::move(node));
    return &program_.statements.back();
  }

  // --- statements

  bool at_block(std::initializer_list<std::string_view> names) const {
    if (current().kind != Token::Kind::block_begin) return false;
    return std::any_of(names.begin(), names.end(),
                       [&](std::string_view name) { return next_token().is_name(name); });
  }

  // Up to a tag with one of these names, which is left where it is; with none, to the end.
  Result<Body> body(std::initializer_list<std::string_view> ends) {
    const Level level(depth_);
    if (level.too_deep()) return fault("too many tags inside each other");
    Body statements;
    while (current().kind != Token::Kind::end) {
      if (at_block(ends)) return statements;
      FLOE_TRY(const Statement* statement, this->statement());
      statements.push_back(statement);
    }
    if (ends.size() != 0) {
      return fault("the template ends where {% " + std::string(*std::prev(ends.end())) +
                   " %} was expected");
    }
    return statements;
  }

  // The body of a tag and its end tag: "{% macro %} ... {% endmacro %}".
  Result<Body> body_until(std::string_view end) {
    FLOE_TRY_VOID(expect_block_end());
    FLOE_TRY(Body inside, body({end}));
    take();  // {%
    take();  // the name
    return inside;
  }

  Result<const Statement*> statement() {
    Statement node;
    node.line = current().line;
    if (current().kind == Token::Kind::text) {
      node.literal = std::make_shared<const MarkedText>(take().text, Origin::author);
      return add(std::move(node));
    }
    if (current().kind == Token::Kind::variable_begin) {
      take();
      node.kind = Statement::Kind::output;
      FLOE_TRY(node.value, tuple_or_expression());
      if (current().kind != Token::Kind::variable_end) return unexpected("'}}'");
      take();
      return add(std::move(node));
    }
    take();  // {%
    FLOE_TRY(const std::string tag, expect_any_name());
    FLOE_TRY_VOID(tag_statement(tag, node));
    FLOE_TRY_VOID(expect_block_end());
    return add(std::move(node));
  }

  // Everything from behind the tag's name to before the "%}" of its last tag.
  Result<void> tag_statement(const std::string& tag, Statement& node) {
    if (tag == "if") return if_tag(node);
    if (tag == "for") return for_tag(node);
    if (tag == "set") return set_tag(node);
    if (tag == "macro") return macro_tag(node);
    if (tag == "filter") {
      node.kind = Statement::Kind::filter;
      FLOE_TRY(node.value, filters(nullptr, true));
      FLOE_TRY(node.body, body_until("endfilter"));
      return {};
    }
    if (tag == "with") {
      node.kind = Statement::Kind::scope;
      while (current().kind != Token::Kind::block_end) {
        if (!node.assignments.empty()) FLOE_TRY_VOID(expect_symbol(","));
        FLOE_TRY(Target target, this->target(false));
        FLOE_TRY_VOID(expect_symbol("="));
        FLOE_TRY(const Expression* value, expression());
        node.assignments.emplace_back(std::move(target), value);
      }
      FLOE_TRY(node.body, body_until("endwith"));
      return {};
    }
    if (tag == "generation") {  // marks what a model wrote, for training: its body is as it stands
      node.kind = Statement::Kind::scope;
      FLOE_TRY(node.body, body_until("endgeneration"));
      return {};
    }
    if (tag == "do") {
      node.kind = Statement::Kind::evaluate;
      FLOE_TRY(node.value, tuple_or_expression());
      return {};
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) return fault_at(node.line, "{% " + tag + " %} outside of a loop");
      node.kind = tag == "break" ? Statement::Kind::break_loop : Statement::Kind::continue_loop;
      return {};
    }
    return fault_at(node.line, "the tag {% " + tag.substr(0, 40) + " %} is not supported");
  }

  Result<void> if_tag(Statement& node) {
    node.kind = Statement::Kind::condition;
    while (true) {
      Statement::Branch branch;
      FLOE_TRY(branch.test, tuple_or_expression(false));
      FLOE_TRY_VOID(expect_block_end());
      FLOE_TRY(branch.body, body({"elif", "else", "endif"}));
      node.branches.push_back(std::move(branch));
      take();  // {%
      const std::string tag = take().text;
      if (tag == "elif") continue;
      if (tag == "else") {
        Statement::Branch otherwise;
        FLOE_TRY(otherwise.body, body_until("endif"));
        node.branches.push_back(std::move(otherwise));
      }
      return {};
    }
  }

  Result<void> for_tag(Statement& node) {
    node.kind = Statement::Kind::loop;
    FLOE_TRY(node.target, target(false));
    FLOE_TRY_VOID(expect_name("in"));
    FLOE_TRY(node.value, tuple_or_expression(false));
    if (skip_name("if")) {
      FLOE_TRY(node.condition, expression());
    }
    if (current().is_name("recursive")) return fault("recursive loops are not supported");
    FLOE_TRY_VOID(expect_block_end());
    ++loops_;
    FLOE_TRY(node.body, body({"else", "endfor"}));
    --loops_;
    take();  // {%
    if (take().text == "else") {
      FLOE_TRY(node.otherwise, body_until("endfor"));
    }
    return {};
  }

  Result<void> set_tag(Statement& node) {
    FLOE_TRY(node.target, target(true));
    if (skip_symbol("=")) {
      node.kind = Statement::Kind::set;
      FLOE_TRY(node.value, tuple_or_expression());
      return {};
    }
    node.kind = Statement::Kind::set_block;
    if (current().is_symbol("|")) {
      FLOE_TRY(node.value, filters(nullptr, false));
    }
    FLOE_TRY(node.body, body_until("endset"));
    return {};
  }

  Result<void> macro_tag(Statement& node) {
    node.kind = Statement::Kind::macro;
    FLOE_TRY(node.macro.name, expect_any_name());
    program_.symbol(node.macro.name);
    FLOE_TRY_VOID(expect_symbol("("));
    while (!skip_symbol(")")) {
      if (!node.macro.parameters.empty()) FLOE_TRY_VOID(expect_symbol(","));
      if (skip_symbol(")")) break;
      FLOE_TRY(const std::string name, expect_any_name());
      const Expression* otherwise = nullptr;
      if (skip_symbol("=")) {
        FLOE_TRY(otherwise, expression());
      } else if (!node.macro.defaults.empty() && node.macro.defaults.back() != nullptr) {
        return fault("a parameter without a default behind one with a default");
      }
      node.macro.parameters.push_back(program_.symbol(name));
      node.macro.defaults.push_back(otherwise);
    }
    const uint32_t loops = std::exchange(loops_, 0);
    FLOE_TRY(node.macro.body, body_until("endmacro"));
    loops_ = loops;
    return {};
  }

  // name, name.attribute (where `attributes`), or several with commas between, in brackets or not.
  Result<Target> target(bool attributes) {
    Target first;
    FLOE_TRY(first, single_target(attributes));
    if (!current().is_symbol(",")) return first;
    Target all;
    all.parts.push_back(std::move(first));
    while (skip_symbol(",")) {
      if (current().kind != Token::Kind::name && !current().is_symbol("(")) break;
      if (current().is_name("in")) break;
      FLOE_TRY(Target part, single_target(attributes));
      all.parts.push_back(std::move(part));
    }
    return all;
  }

  Result<Target> single_target(bool attributes) {
    const Level level(depth_);
    if (level.too_deep()) return fault("too many brackets");
    if (skip_symbol("(")) {
      FLOE_TRY(Target inside, target(attributes));
      FLOE_TRY_VOID(expect_symbol(")"));
      return inside;
    }
    Target target;
    FLOE_TRY(const std::string name, expect_any_name());
    if (is_reserved(name)) return fault("'" + name + "' cannot be assigned to");
    target.symbol = program_.symbol(name);
    if (attributes && skip_symbol(".")) {
      FLOE_TRY(target.attribute, expect_any_name());
    }
    return target;
  }

  static bool is_reserved(std::string_view name) {
    return name == "true" || name == "True" || name == "false" || name == "False" ||
           name == "none" || name == "None";
  }

  // --- expressions, from the loosest operator to the tightest

  // a, b: a tuple without brackets.
  Result<const Expression*> tuple_or_expression(bool allows_condition = true) {
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

  bool ends_tuple() const {
    return current().kind == Token::Kind::block_end ||
           current().kind == Token::Kind::variable_end || current().is_symbol(")") ||
           current().is_symbol("=");
  }

  Result<const Expression*> expression(bool allows_condition = true) {
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

  Result<const Expression*> logical_or() {
    const uint32_t line = current().line;
    FLOE_TRY(const Expression* left, logical_and());
    while (skip_name("or")) {
      FLOE_TRY(const Expression* right, logical_and());
      FLOE_TRY(left, add(Kind::logical_or, line, {left, right}));
    }
    return left;
  }

  Result<const Expression*> logical_and() {
    const uint32_t line = current().line;
    FLOE_TRY(const Expression* left, logical_not());
    while (skip_name("and")) {
      FLOE_TRY(const Expression* right, logical_not());
      FLOE_TRY(left, add(Kind::logical_and, line, {left, right}));
    }
    return left;
  }

  Result<const Expression*> logical_not() {
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

  std::optional<Comparison> take_comparison() {
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

  Result<const Expression*> comparison() {
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

  Result<const Expression*> add_binary(BinaryOperator op, uint32_t line, const Expression* left,
                                       const Expression* right) {
    Expression node;
    node.kind = Kind::binary;
    node.line = line;
    node.binary = op;
    node.children = {left, right};
    return add(std::move(node));
  }

  Result<const Expression*> sum() {
    const uint32_t line = current().line;
    FLOE_TRY(const Expression* left, concatenation());
    while (current().is_symbol("+") || current().is_symbol("-")) {
      const BinaryOperator op = take().text == "+" ? BinaryOperator::add : BinaryOperator::subtract;
      FLOE_TRY(const Expression* right, concatenation());
      FLOE_TRY(left, add_binary(op, line, left, right));
    }
    return left;
  }

  Result<const Expression*> concatenation() {
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

  Result<const Expression*> product() {
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

  Result<const Expression*> power() {
    const uint32_t line = current().line;
    FLOE_TRY(const Expression* left, unary());
    while (skip_symbol("**")) {
      FLOE_TRY(const Expression* right, unary());
      FLOE_TRY(left, add_binary(BinaryOperator::power, line, left, right));
    }
    return left;
  }

  // Jinja binds filters looser than a sign: -x|abs is (-x)|abs.
  Result<const Expression*> unary() {
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

  Result<const Expression*> primary() {
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

  Result<const Expression*> bracketed(uint32_t line) {
    if (skip_symbol(")")) return add(Kind::tuple, line, {});
    FLOE_TRY(const Expression* inside, tuple_or_expression());
    FLOE_TRY_VOID(expect_symbol(")"));
    return inside;
  }

  Result<std::vector<const Expression*>> list_until(std::string_view close) {
    std::vector<const Expression*> items;
    while (!skip_symbol(close)) {
      if (!items.empty()) FLOE_TRY_VOID(expect_symbol(","));
      if (skip_symbol(close)) break;
      FLOE_TRY(const Expression* item, expression());
      items.push_back(item);
    }
    return items;
  }

  Result<const Expression*> dict(uint32_t line) {
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
  Result<const Expression*> postfix(const Expression* value) {
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

  Result<const Expression*> subscript(const Expression* value, uint32_t line) {
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
  Result<void> arguments(Expression& node) {
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

  Result<const Expression*> call(const Expression* function) {
    Expression node;
    node.kind = Kind::call;
    node.line = current().line;
    node.children = {function};
    FLOE_TRY_VOID(arguments(node));
    return add(std::move(node));
  }

  Result<std::string> dotted_name() {
    FLOE_TRY(std::string name, expect_any_name());
    while (skip_symbol(".")) {
      FLOE_TRY(const std::string part, expect_any_name());
      name += "." + part;
    }
    return name;
  }

  // |name(...)|name ...; `begins_inline`: the first stands without its bar, as in {% filter x %}.
  Result<const Expression*> filters(const Expression* value, bool begins_inline) {
    while (begins_inline || skip_symbol("|")) {
      begins_inline = false;
      Expression node;
      node.kind = Kind::filter;
      node.line = current().line;
      node.children = {value};
      FLOE_TRY(node.text, dotted_name());
      node.operation = find_filter(node.text);
      if (node.operation == nullptr)
        return fault("the filter '" + node.text + "' is not supported");
      if (current().is_symbol("(")) FLOE_TRY_VOID(arguments(node));
      FLOE_TRY(value, add(std::move(node)));
    }
    return value;
  }

  Result<const Expression*> filters_and_predicates(const Expression* value) {
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

  Result<const Expression*> predicate(const Expression* value) {
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
  bool begins_argument() const {
    const Token& token = current();
    if (token.kind == Token::Kind::name) {
      return token.text != "else" && token.text != "or" && token.text != "and" &&
             token.text != "is" && token.text != "if" && token.text != "in" && token.text != "not";
    }
    return token.kind == Token::Kind::string || token.kind == Token::Kind::integer ||
           token.kind == Token::Kind::floating || token.is_symbol("[") || token.is_symbol("{");
  }

  std::vector<Token> tokens_;
  Program& program_;
  size_t at_ = 0;
  uint32_t depth_ = 0;
  uint32_t loops_ = 0;
};

}  // namespace

Result<std::shared_ptr<const Program>> parse_program(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return model_error("chat template: expected at most {} bytes, found {}", kMaxSourceBytes,
                       source.size());
  }
  FLOE_TRY(auto tokens, tokens_of(source));
  auto program = std::make_shared<Program>();
  FLOE_TRY_VOID(Parser(std::move(tokens), *program).run());
  return std::shared_ptr<const Program>(std::move(program));
}

}  // namespace floe::jinja

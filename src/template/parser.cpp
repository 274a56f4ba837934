#include "template/parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "template/expression_parser.h"
#include "template/lexer.h"

namespace floe::jinja {

namespace {

constexpr size_t kMaxSourceBytes = size_t{4} << 20;

// Text, output and tags; what stands inside them is an expression.
class TemplateParser : ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Result<void> run() {
    FLOE_TRY(program_.body, body({}));
    return {};
  }

 private:
  const Statement* add(Statement node) {
    program_.statements.push_back(std::move(node));
    return &program_.statements.back();
  }

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

  uint32_t loops_ = 0;  // around the tag at hand
};

}  // namespace

Result<std::shared_ptr<const Program>> parse_program(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return model_error("chat template: expected at most {} bytes, found {}", kMaxSourceBytes,
                       source.size());
  }
  FLOE_TRY(auto tokens, tokens_of(source));
  auto program = std::make_shared<Program>();
  FLOE_TRY_VOID(TemplateParser(std::move(tokens), *program).run());
  return std::shared_ptr<const Program>(std::move(program));
}

}  // namespace floe::jinja

#pragma once
// The tokens of a template in order, for the parsers of expressions and of tags.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "template/lexer.h"

namespace floe::jinja {

// Of brackets and tags inside each other while parsing, and of the finished tree.
inline constexpr uint32_t kMaxDepth = 200;

class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  // Stands for one more bracket or tag around what is parsed while it lives.
  class Level {
   public:
    explicit Level(uint32_t& depth) : depth_(depth) { ++depth_; }
    ~Level() { --depth_; }
    bool too_deep() const { return depth_ > kMaxDepth; }

   private:
    uint32_t& depth_;
  };

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

  uint32_t depth_ = 0;

 private:
  std::vector<Token> tokens_;  // the last one says that the template ends
  size_t at_ = 0;
};

}  // namespace floe::jinja

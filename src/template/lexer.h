#pragma once
// Template text to tokens, with Jinja2's rules for white space: {%- and -%} take what is beside
// them, a line break behind a block tag goes (trim_blocks), as does white space between the start
// of a line and a block tag (lstrip_blocks).
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "template/value.h"

namespace floe::jinja {

struct Token {
  enum class Kind : uint8_t {
    text,            // outside of tags
    variable_begin,  // {{
    variable_end,
    block_begin,  // {%
    block_end,
    name,
    string,
    integer,
    floating,
    symbol,  // an operator or bracket, as written
    end,
  };
  Kind kind = Kind::end;
  uint32_t line = 1;
  std::string text;  // of a string: with its escapes resolved
  Integer integer = 0;
  double floating = 0.0;

  bool is_symbol(std::string_view what) const { return kind == Kind::symbol && text == what; }
  bool is_name(std::string_view what) const { return kind == Kind::name && text == what; }
};

// The last token is of Kind::end. ErrorKind::model with the line of the fault.
Result<std::vector<Token>> tokens_of(std::string_view source);

}  // namespace floe::jinja

#pragma once
// Values as text, spelled as Python spells them.
#include <string>
#include <string_view>

#include "template/interpreter.h"
#include "template/value.h"

namespace floe::jinja {

std::string integer_text(Integer value);
// Python's repr of a float: the shortest digits that read back equal; "1.0", "1e+16", "inf".
std::string float_text(double value);

// What {{ value }} prints: text as it is, other values as Python's str().
Result<MarkedText> printed(Interpreter& interpreter, const Value& value);
// Python's repr(): text in quotes.
Result<MarkedText> represented(Interpreter& interpreter, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;  // characters outside ASCII as \uXXXX
  bool sort_keys = false;
  bool has_indent = false;  // one member a line
  std::string indent;       // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// As Python's json.dumps. Fails on undefined values and functions.
Result<MarkedText> as_json(Interpreter& interpreter, const Value& value, const JsonStyle& style);

}  // namespace floe::jinja

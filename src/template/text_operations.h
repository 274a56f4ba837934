#pragma once
// Work on marked text that filters and methods share.
#include <optional>
#include <vector>

#include "template/interpreter.h"
#include "template/marked_text.h"

namespace floe::jinja {

// Python's str.strip family. Without `characters`: white space.
MarkedText stripped(const MarkedText& text, const MarkedText* characters, bool left, bool right);

// Replaces at most `count` occurrences; below 0: all. An empty pattern stands before every
// character and at the end.
Result<MarkedText> replaced(Interpreter& interpreter, const MarkedText& text,
                            std::string_view pattern, const MarkedText& by, Integer count);

// str.splitlines() without the line ends.
std::vector<MarkedText> lines_of(const MarkedText& text);

enum class Case : uint8_t {
  upper,
  lower,
  capital,      // the first character upper, all others lower
  title,        // Jinja's filter: the first character of each word, words end at space - ( { [ <
  title_words,  // str.title(): the first letter of each run of letters
};
MarkedText with_case(const MarkedText& text, Case style);

// With & < > " ' as HTML spells them; markup as it is. The result is markup.
MarkedText escaped(const MarkedText& text);

// What stands between the parts of a joined text.
Result<Value> joined(Interpreter& interpreter, const std::vector<Value>& parts,
                     const MarkedText& separator, bool prints_parts);

}  // namespace floe::jinja

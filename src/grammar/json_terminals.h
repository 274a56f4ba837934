#pragma once
// The parts that JSON texts are made of, as rules. How JSON is written: at most one blank, or one
// line end with up to 20 blanks, behind each of { [ , : and before each of ] }, so that no model
// can go on with blanks for ever; for the same reason numbers have at most 18 digits before and 16
// behind the point and exponents at most 2.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "grammar/nfa.h"

namespace floe {

// A code point inside a JSON string, that is neither escaped nor needs to be.
const CodePointSet& plain_json_characters();

// The rules are made when they are first asked for.
class JsonTerminals {
 public:
  explicit JsonTerminals(Nfa& nfa) : nfa_(nfa) {}

  Nfa::Rule blank();   // what may stand between two marks
  Nfa::Rule escape();  // an escape without its backslash; a surrogate pair is one
  Nfa::Rule string();  // any, with its quotes
  Nfa::Rule number();
  Nfa::Rule value();   // any
  Nfa::Rule object();  // any
  Nfa::Rule array();   // any

  // One character of a string.
  void add_character(Nfa::State from, Nfa::State to);
  // A string of least to most characters, with its quotes. most: ExpressionBuilder::kUnbounded.
  void add_string(Nfa::State from, Nfa::State to, uint32_t least, uint32_t most);
  // A string of the texts between two states of another automaton, which calls no rules, and of
  // least to most characters.
  void add_string_of(Nfa::State from, Nfa::State to, const Nfa& text, Nfa::State text_from,
                     Nfa::State text_to, uint32_t least, uint32_t most);
  // A string that is none of these names and has no escape.
  template <typename Names>
  void add_other_string(Nfa::State from, Nfa::State to, const Names& names) {
    add_string_but(from, to, {names.begin(), names.end()});
  }
  // A blank() and this mark before or behind it.
  void add_mark_blank(Nfa::State from, Nfa::State to, std::string_view mark);
  void add_blank_mark(Nfa::State from, Nfa::State to, std::string_view mark);

 private:
  void add_string_but(Nfa::State from, Nfa::State to, std::vector<std::string> names);
  void add_escaped(Nfa::State from, Nfa::State to, const CodePointSet& set);

  Nfa& nfa_;
  std::optional<Nfa::Rule> blank_, escape_, string_, number_, value_, object_, array_;
};

// text as a JSON string with its quotes.
std::string json_string(std::string_view text);

}  // namespace floe

#pragma once
// Grammars in GBNF, as llama.cpp's server reads them: rules `name ::= ...` with strings, character
// classes, names, groups, alternatives and repetitions; the text is what the rule `root` says.
#include <string_view>

#include "base/error.h"
#include "grammar/nfa.h"

namespace floe {

// ErrorKind::usage naming line and column, as the end of a sentence that names the grammar.
Result<Nfa::Rule> read_gbnf(std::string_view text, Nfa& nfa);

}  // namespace floe

#pragma once
// Regular expressions as ECMA 262, Python and RE2 have them in common: what can be said without
// looking back or around. Anchors stand at the ends of an expression or of its alternatives.
#include <string_view>

#include "base/error.h"
#include "grammar/nfa.h"

namespace floe {

enum class RegexMatch : uint8_t {
  whole,   // the text as a whole, with or without anchors
  search,  // a part of it, where no anchor says otherwise: JSON schema's `pattern`
};

// ErrorKind::usage naming the offset, as the end of a sentence that names the expression.
Result<void> read_regex(std::string_view text, RegexMatch match, Nfa& nfa, Nfa::State from,
                        Nfa::State to);

}  // namespace floe

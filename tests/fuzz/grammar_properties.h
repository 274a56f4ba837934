#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "grammar/grammar.h"

namespace floe {

// Compiles the bytes up to the first zero byte as a grammar of this kind, within small limits, and
// reads what follows as an answer: at each place the masks are what can be read, an answer that may
// not end can go on, and what a copy does changes nothing. Empty, or what is wrong.
std::string check_grammar_properties(GrammarKind kind, std::span<const uint8_t> bytes);

}  // namespace floe

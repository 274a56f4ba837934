#pragma once
// The texts of a call format as parts of a grammar.
#include <string_view>

#include "chat/answer_format.h"
#include "grammar/nfa.h"

namespace floe {

// The longest marker with a token that stands at the beginning of text; nullptr: none does.
const AnswerFormat::Marker* marker_at(const AnswerFormat& format, std::string_view text);

// Goes on from `at` over text of the format: where the format has a token for a part, over that
// token. Returns where it ends, a new state unless text is empty.
Nfa::State add_markup(const AnswerFormat& format, Nfa& nfa, Nfa::State at, std::string_view text);

}  // namespace floe

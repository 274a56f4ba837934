#pragma once
// Calls that a model is made to write in its own format: the grammar of a block of calls, made from
// how the format spells them (CallSyntax) and from the functions' schemas.
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "chat/answer_format.h"
#include "grammar/grammar.h"

namespace floe {

struct CallableFunction {
  std::string name;
  std::string parameters;  // its schema as JSON; empty: none was given, any arguments go
  // A schema that cannot be done is refused; otherwise such a function gets any arguments.
  bool is_strict = false;
};

struct CallGrammarOptions {
  bool several = true;  // calls in one answer
  // The token with which a block begins has been written already: for calls that the model begins
  // by itself.
  bool begins_behind_token = false;
  // The model may write text, and then calls or none: for calls that it begins by itself in formats
  // where no token tells their beginning. Text never spells the beginning of a block, and where
  // calls may stand bare it does not begin like one.
  bool or_text = false;
};

// The token that tells where a block of calls begins. -1: none does.
int32_t call_begin_token(const AnswerFormat& format);

// One or more calls of these functions, as the whole of a text. Arguments come in the order of the
// schema. ErrorKind::usage, as the end of a sentence: the format's calls cannot be forced, or the
// place of what a schema asks for and cannot be done.
Result<Automaton> make_call_grammar(const AnswerFormat& format,
                                    std::span<const CallableFunction> functions,
                                    const CallGrammarOptions& options,
                                    const CompileLimits& limits = {});

}  // namespace floe

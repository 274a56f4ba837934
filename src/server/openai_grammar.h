#pragma once
// What a request binds its answers to: OpenAI's response_format, llama.cpp's grammar and
// json_schema, vLLM's guided_* and structured_outputs, SGLang's regex. Pure functions.
#include <optional>
#include <string>

#include "base/json_fwd.h"
#include "grammar/grammar.h"
#include "server/api_error.h"

namespace floe {

// What a field asks for; compile_grammar() says whether it can be done.
struct GrammarAsk {
  GrammarKind kind = GrammarKind::json_object;
  std::string text;
  std::string field;  // for messages: "response_format"
};

// Nothing in `out`: the answers are free. 400 where two fields ask for different things, or one for
// what is no such thing.
std::optional<ApiError> read_output_grammar(const Json& body, std::optional<GrammarAsk>& out);

}  // namespace floe

#pragma once
// How a model writes its answers: what opens and closes reasoning, and how a tool call is spelled.
// Data alone: the prompt's side, the readers of answers and grammars that force a call all go by
// it, and a further family is a further row in answer_format.cpp (or a reader, where its layout is
// a new one).
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace floe {

// Reasoning stands between these two; empty: the format has none. In CallLayout::harmony they are
// what opens and ends a message of the analysis channel.
struct ReasoningSyntax {
  std::string open;
  std::string close;
  // A call that begins inside reasoning ends it, where its beginning is a token.
  bool ends_at_calls = false;
};

// What a call's name and arguments look like between the texts of CallSyntax.
enum class CallLayout : uint8_t {
  none,            // the format has no calls
  json_object,     // {"name": NAME, "arguments": {...}}; several in a row, or in an array
  json_arguments,  // NAME, then a JSON object
  tagged,          // NAME, then each argument between tags
  braces,          // NAME, then {key:value,...} with quotes of its own (Gemma 4)
  python,          // NAME(key=value, ...); several in a row, or in a list
  harmony,         // a message with a recipient, whose content is a JSON object (gpt-oss)
};

// A block of calls as models write it:
//
//   begin  before_name NAME after_name ARGUMENTS after_arguments  [between  before_name ...]  end
//
// ARGUMENTS is a JSON object, or in CallLayout::tagged for each argument
//
//   before_key KEY after_key before_value VALUE after_value
//
// where a string VALUE stands as it is and any other as JSON. Readers take these texts with or
// without the blanks at their ends.
struct CallSyntax {
  CallLayout layout = CallLayout::none;
  std::string begin;
  std::string before_name;
  std::string after_name;
  std::string after_arguments;
  std::string between;
  std::string end;  // empty: the block ends with its call
  std::string before_key;
  std::string after_key;
  std::string before_value;
  // Where the tags themselves tell JSON from strings: what stands before JSON. Else empty, and the
  // function's schema tells (ArgumentType).
  std::string before_json_value;
  std::string after_value;
  std::string name_key = "name";            // json_object
  std::string arguments_key = "arguments";  // json_object; "parameters" is read as well
  // In front of the name, not part of it; models may leave it out.
  std::string name_prefix;
  // Behind the name, before after_name: ":" and the number of the call (Kimi).
  bool numbered = false;
  // Between the name and after_name there may be this and an id (Mistral).
  std::string before_id;
  // A call may also begin the answer, without `begin` (Llama).
  bool may_be_bare = false;
  // The block may hold calls as CallLayout::json_object instead.
  bool may_be_json = false;

  bool exists() const { return layout != CallLayout::none; }
};

// What ids of calls the model's template accepts in a history.
enum class CallIdShape : uint8_t {
  any,
  nine_letters,  // nine letters and digits (Mistral)
};

struct AnswerFormat {
  std::string name;  // as --tool-parser has it
  ReasoningSyntax reasoning;
  CallSyntax calls;
  CallIdShape call_ids = CallIdShape::any;

  // A part of the texts above for which the vocabulary has a token. Where there is one, only the
  // token counts: the same bytes written by other tokens are text.
  struct Marker {
    std::string text;
    int32_t id = -1;
  };
  std::vector<Marker> markers;
};

// The names that answer_format_by_name() knows, in the order of detection; "none" last.
std::span<const std::string_view> answer_format_names();

// The format of a model: the first row of the table in answer_format.cpp all of whose marks stand
// in the text of its chat template; where none does, the first whose tokens the vocabulary has;
// else "none", which has no calls. Reasoning is found likewise and on its own; <think> where
// nothing speaks for another. Deterministic. `template_source` may be empty.
AnswerFormat detect_answer_format(std::string_view template_source, const Tokenizer& tokenizer);

// The format of this name for this vocabulary. Reasoning is the format's own, or else found as
// above. ErrorKind::usage, listing the names, for another name.
Result<AnswerFormat> answer_format_by_name(std::string_view name, std::string_view template_source,
                                           const Tokenizer& tokenizer);

// Whether a prompt, as tokens, leaves the answer inside reasoning: behind its last `open` there is
// no `close`, and no turn ends. Text that came from messages does not count, since it is never a
// token; where the vocabulary has no tokens for the two, the prompt's end must spell `open`.
bool prompt_opens_reasoning(const AnswerFormat& format, const Tokenizer& tokenizer,
                            std::span<const int32_t> prompt);

// The id of a call: the same whenever it is asked for, and no other's among the calls of the answer
// of this name (letters and digits).
std::string tool_call_id(CallIdShape shape, std::string_view answer, uint32_t choice,
                         uint32_t call);

// Whether this text is, or is part of, what some known format writes as structure: a control token
// of these bytes is shown where an answer is not taken apart.
bool is_answer_markup(std::string_view text);

}  // namespace floe

#pragma once
// The functions that a request declares: how prompts spell them, and what their schemas say about
// arguments that a model writes without quotes.
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"

namespace floe {

// What a JSON schema says about one argument, as far as it tells bare text that is a string from
// bare text that is another JSON value.
//
// A schema allows what any of its alternatives does: `type` (also as an array), enum, const, anyOf,
// oneOf, allOf, then, else, and $ref into the same schema.
class ArgumentType {
 public:
  // Whether `text` stands for the string of these characters:
  // - where the schema allows strings, it does, unless the schema lists this very value (enum,
  //   const) as something else, or the text is null and the schema allows null;
  // - where it allows none, or says nothing of types, it does unless it is JSON of another type.
  bool is_string(std::string_view text) const;

  // is_string() is true of every text, so that nobody has to wait for its end.
  bool is_always_string() const { return allows_strings && !allows_null && others.empty(); }

  bool allows_strings = false;
  bool allows_null = false;
  std::vector<std::string> strings;  // listed by enum and const
  std::vector<std::string> others;   // the same of other types, as JSON in one line
};

struct ChatTool {
  std::string name;
  std::shared_ptr<const Json> definition;  // {"type": "function", "function": {...}}, keys in order

  // Of an argument that the schema does not name: what it says of all others.
  const ArgumentType& argument(std::string_view argument_name) const;

  std::map<std::string, ArgumentType, std::less<>> arguments;
  ArgumentType other_arguments;
};

// Made once from the request; the prompt and the parsers of all its answers share it. May be null:
// no tools.
using ChatTools = std::shared_ptr<const std::vector<ChatTool>>;

// From an array of objects, each a function or {"type": "function", "function": ...} around one.
// ErrorKind::usage naming the element where one is no such thing. Time is linear in the size of
// `definitions`: schemas that refer to themselves again and again are read up to a limit, and what
// lies beyond it says nothing.
Result<ChatTools> make_chat_tools(const Json& definitions);

// nullptr: there is none of this name.
const ChatTool* find_tool(const ChatTools& tools, std::string_view name);

// A value spelled as Python's json.dumps does, the way models saw it in training: one line, a space
// behind commas and colons, characters outside ASCII as they are. Key order is kept.
std::string python_json(const Json& value);

}  // namespace floe

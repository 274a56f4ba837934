#pragma once
// Arguments of calls that are written as literals (CallLayout::python and braces), as parts of a
// grammar: what LiteralArguments reads back as valid under the function's schema.
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "chat/answer_format.h"
#include "grammar/json_schema.h"
#include "grammar/json_terminals.h"
#include "grammar/nfa.h"

namespace floe {

class CallLiterals {
 public:
  // All outlive it.
  CallLiterals(const AnswerFormat& format, Nfa& nfa, JsonTerminals& terminals)
      : format_(format), nfa_(nfa), terminals_(terminals) {}

  // KEY=VALUE, ... or KEY:VALUE,... of an object schema, without the brackets around them: in the
  // order of the schema, optional ones or not. Without properties: any. Places in errors begin with
  // `place`. is_strict: what cannot be done is refused; else such a value may be anything.
  Result<void> add_arguments(Nfa::State from, Nfa::State to, const Json& schema, bool is_strict,
                             const std::string& place);

 private:
  // Of the schema that is being read.
  struct Reading {
    const Json& root;
    bool is_strict;
    const std::string& place;
    SchemaReader& numbers;  // and other values that are written as in JSON
  };

  bool is_python() const { return format_.calls.layout == CallLayout::python; }
  std::string_view comma() const { return is_python() ? ", " : ","; }

  Result<void> add_members(Nfa::State from, Nfa::State to, const Json& object, bool is_top,
                           const Reading& reading, const std::string& at, uint32_t depth);
  Result<void> add_value(Nfa::State from, Nfa::State to, const PlacedSchema& schema,
                         const Reading& reading, uint32_t depth);
  Result<void> add_typed(Nfa::State from, Nfa::State to, const Json& schema,
                         const std::string& type, const Reading& reading, const std::string& at,
                         uint32_t depth);
  Result<void> add_array(Nfa::State from, Nfa::State to, const Json& schema, const Reading& reading,
                         const std::string& at, uint32_t depth);
  // A constant; nothing is added where it cannot be written.
  void add_constant(Nfa::State from, Nfa::State to, const Json& value);

  void add_string(Nfa::State from, Nfa::State to);
  void add_boolean(Nfa::State from, Nfa::State to);
  // A key of an object within the arguments, with what separates it from its value. False: it
  // cannot be written.
  bool add_key(Nfa::State from, Nfa::State to, const std::string& key, bool is_top);
  // Of no schema, with objects and arrays up to `depth` inside each other.
  Nfa::Rule any_value(uint32_t depth);
  Nfa::Rule any_members(bool is_top, uint32_t depth);  // at least one

  const AnswerFormat& format_;
  Nfa& nfa_;
  JsonTerminals& terminals_;
  std::map<uint32_t, Nfa::Rule> any_values_;  // by depth
  std::map<std::pair<bool, uint32_t>, Nfa::Rule> any_members_;
  std::deque<Json> schemas_;  // what readers refer to
  std::deque<SchemaReader> readers_;
};

}  // namespace floe

#pragma once
// JSON schema (draft 2020-12) to rules: the subset that docs/serving.md lists. A keyword that would
// change which values are valid and is not among it is refused. What is read is never more than
// what is valid, and may be less:
//  - properties come in the order of the schema, required ones that it does not list behind them;
//  - without additionalProperties an object has the properties that are listed, or any if none is;
//  - constants are written as compact JSON, other values as json_terminals.h says;
//  - a schema without `type` that has keywords for some types alone is of one of those.
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "grammar/json_terminals.h"
#include "grammar/nfa.h"
#include "grammar/schema_merge.h"

namespace floe {

class SchemaReader {
 public:
  // root: what $ref looks into; lives until the last call. place_of_root: put before the places in
  // errors, "" for none.
  SchemaReader(Nfa& nfa, JsonTerminals& terminals, const Json& root,
               std::string place_of_root = "");

  // A rule for the values of root. ErrorKind::usage, beginning with the place of the fault as a
  // pointer: "#/properties/a: ...".
  Result<Nfa::Rule> read();
  // A rule for those of a schema within root, or joined of some.
  Result<Nfa::Rule> read(const PlacedSchema& schema);

 private:
  Nfa::Rule rule_of(const PlacedSchema& schema);
  Result<Nfa::Rule> rule_of_joined(std::vector<PlacedSchema> parts, const std::string& place);
  Result<void> read_rules();

  Result<void> read_schema(Nfa::State from, Nfa::State to, const PlacedSchema& schema);
  Result<void> read_alternatives(Nfa::State from, Nfa::State to, const PlacedSchema& schema,
                                 const std::string& keyword, bool has_more);
  Result<void> read_constants(Nfa::State from, Nfa::State to, const PlacedSchema& schema);
  Result<void> read_type(Nfa::State from, Nfa::State to, const PlacedSchema& schema,
                         const std::string& type);
  Result<void> read_object(Nfa::State from, Nfa::State to, const PlacedSchema& schema);
  Result<void> read_array(Nfa::State from, Nfa::State to, const PlacedSchema& schema);
  Result<void> read_string(Nfa::State from, Nfa::State to, const PlacedSchema& schema);
  Result<void> read_number(Nfa::State from, Nfa::State to, const PlacedSchema& schema,
                           bool is_whole);
  Result<uint32_t> read_count(const PlacedSchema& schema, const char* keyword, uint32_t fallback);

  template <typename... Args>
  Error fault(const std::string& place, fmt::format_string<Args...> format, Args&&... args) const {
    return usage_error("{}{}: {}", place_of_root_, place,
                       fmt::format(format, std::forward<Args>(args)...));
  }
  Error limit(const std::string& place) const { return fault(place, "{}", nfa_.work().reason()); }

  Nfa& nfa_;
  JsonTerminals& json_;
  const Json& root_;
  const std::string place_of_root_;

  struct Waiting {
    PlacedSchema schema;
    Nfa::Rule rule;
  };
  std::deque<Waiting> waiting_;
  std::unordered_map<const Json*, Nfa::Rule> rules_;
  std::deque<Json> joined_;                                  // schemas that stand nowhere in root_
  std::unordered_map<std::string, Nfa::Rule> joined_rules_;  // by their text
};

}  // namespace floe

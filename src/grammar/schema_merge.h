#pragma once
// Schemas joined into one: what allOf and keywords beside $ref or anyOf say together.
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace floe {

// A schema and where it stands, as a JSON pointer in a fragment: "#/properties/a".
struct PlacedSchema {
  const Json* schema = nullptr;
  std::string place;
};

// "#/a" and the name of a member make "#/a/name".
std::string below(const std::string& place, std::string_view name);

// What pointer (the value of a $ref) names in root. ErrorKind::usage, as the end of a sentence.
Result<PlacedSchema> resolve_reference(const Json& root, const std::string& pointer);

// Keywords that say nothing about which values are valid.
bool is_annotation(std::string_view keyword);

// A schema without $ref and allOf at its top that every one of the parts, and only what is valid in
// all of them, agrees with; `false` when nothing is. ErrorKind::usage, beginning with the place of
// what cannot be joined.
Result<Json> join_schemas(const Json& root, std::vector<PlacedSchema> parts);

// Whether no value is valid in both, as far as types, constants and properties that both require
// tell.
bool are_disjoint(const Json& root, const Json& a, const Json& b);

}  // namespace floe

#include "grammar/schema_merge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

namespace floe {

namespace {

// Of one join: a schema that refers to itself has no end.
constexpr size_t kMaxParts = 256;
// Schemas within schemas that are compared.
constexpr int kMaxCompared = 64;

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// A list of type names, sorted.
std::optional<std::set<std::string>> types_of(const Json& schema) {
  const Json* type = member(schema, "type");
  if (type == nullptr) return std::nullopt;
  std::set<std::string> types;
  if (type->is_string()) types.insert(type->get<std::string>());
  if (type->is_array()) {
    for (const Json& name : *type) {
      if (name.is_string()) types.insert(name.get<std::string>());
    }
  }
  return types;
}

std::set<std::string> common_types(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::set<std::string> both;
  for (const std::string& type : a) {
    if (b.contains(type) || (type == "integer" && b.contains("number"))) both.insert(type);
    if (type == "number" && b.contains("integer")) both.insert("integer");
  }
  return both;
}

std::optional<std::vector<Json>> constants_of(const Json& schema) {
  if (const Json* value = member(schema, "const")) return std::vector<Json>{*value};
  if (const Json* values = member(schema, "enum"); values != nullptr && values->is_array()) {
    return std::vector<Json>(values->begin(), values->end());
  }
  return std::nullopt;
}

std::string type_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "boolean";
  if (value.is_string()) return "string";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  const bool is_whole =
      value.is_number_integer() || std::trunc(value.get<double>()) == value.get<double>();
  return is_whole ? "integer" : "number";
}

bool requires_member(const Json& schema, const std::string& name) {
  const Json* required = member(schema, "required");
  return required != nullptr && required->is_array() &&
         std::find(required->begin(), required->end(), Json(name)) != required->end();
}

class Joiner {
 public:
  Joiner(const Json& root, std::vector<PlacedSchema> parts)
      : root_(root), waiting_(std::move(parts)) {
    std::reverse(waiting_.begin(), waiting_.end());
  }

  Result<Json> run() {
    size_t n_parts = 0;
    while (!waiting_.empty()) {
      const PlacedSchema part = std::move(waiting_.back());
      waiting_.pop_back();
      if (++n_parts > kMaxParts) {
        return usage_error("{}: refers to itself or to too many schemas", part.place);
      }
      if (part.schema->is_boolean()) {
        if (part.schema->get<bool>()) continue;
        is_false_ = true;
        continue;
      }
      if (!part.schema->is_object()) {
        return usage_error("{}: expected a schema (an object or a boolean)", part.place);
      }
      FLOE_TRY_VOID(add(part));
    }
    if (is_false_) return Json(false);
    return std::move(joined_);
  }

 private:
  Result<void> add(const PlacedSchema& part) {
    FLOE_TRY_VOID(join_objects(part));
    for (const auto& [keyword, value] : part.schema->items()) {
      if (is_annotation(keyword)) continue;
      const std::string place = below(part.place, keyword);
      if (keyword == "$ref") {
        if (!value.is_string()) return usage_error("{}: expected a string", place);
        Result<PlacedSchema> target = resolve_reference(root_, value.get<std::string>());
        if (!target.ok()) return usage_error("{}: {}", place, target.error().message);
        waiting_.push_back(std::move(*target));
        continue;
      }
      if (keyword == "allOf") {
        if (!value.is_array() || value.empty()) {
          return usage_error("{}: expected an array of schemas", place);
        }
        for (size_t i = value.size(); i > 0; --i) {
          waiting_.push_back({&value[i - 1], below(place, std::to_string(i - 1))});
        }
        continue;
      }
      FLOE_TRY_VOID(join_keyword(keyword, value, place));
    }
    return {};
  }

  Result<void> join_keyword(const std::string& keyword, const Json& value,
                            const std::string& place) {
    if (keyword == "const" || keyword == "enum") {
      Json one = Json::object({{keyword, value}});
      const auto added = constants_of(one);
      if (!added) return usage_error("{}: expected an array", place);
      const auto present = constants_of(joined_);
      std::vector<Json> both = *added;
      if (present) {
        std::erase_if(both, [&](const Json& constant) {
          return std::find(present->begin(), present->end(), constant) == present->end();
        });
      }
      joined_.erase("const");
      joined_["enum"] = both;
      is_false_ = is_false_ || both.empty();
      return {};
    }
    const auto found = joined_.find(keyword);
    if (found == joined_.end()) {
      joined_[keyword] = value;
      return {};
    }
    Json& present = *found;
    if (present == value) return {};
    if (keyword == "type") {
      const std::set<std::string> types =
          common_types(*types_of(joined_), *types_of(Json::object({{"type", value}})));
      present = types;
      is_false_ = is_false_ || types.empty();
      return {};
    }
    if (keyword == "required" && present.is_array() && value.is_array()) {
      for (const Json& name : value) {
        if (std::find(present.begin(), present.end(), name) == present.end()) {
          present.push_back(name);
        }
      }
      return {};
    }
    if (keyword == "properties" && present.is_object() && value.is_object()) {
      for (const auto& [name, schema] : value.items()) {
        const auto property = present.find(name);
        if (property == present.end()) {
          present[name] = schema;
        } else if (*property != schema) {
          *property = Json::object({{"allOf", Json::array({*property, schema})}});
        }
      }
      return {};
    }
    if (keyword == "items") {
      present = Json::object({{"allOf", Json::array({present, value})}});
      return {};
    }
    if (present.is_number() && value.is_number()) {
      for (const char* bound : {"minimum", "exclusiveMinimum", "minLength", "minItems"}) {
        if (keyword == bound) {
          if (present < value) present = value;
          return {};
        }
      }
      for (const char* bound : {"maximum", "exclusiveMaximum", "maxLength", "maxItems"}) {
        if (keyword == bound) {
          if (value < present) present = value;
          return {};
        }
      }
    }
    if (keyword == "format") return {};  // says nothing that is checked
    return usage_error("{}: cannot be joined with another {} of the same value", place, keyword);
  }

  // additionalProperties looks at the properties beside it alone, so that it cannot stand beside
  // those of another part.
  Result<void> join_objects(const PlacedSchema& part) {
    const auto is_closed = [](const Json& schema) {
      const Json* additional = member(schema, "additionalProperties");
      return additional != nullptr && *additional != Json(true) && *additional != Json::object();
    };
    const auto names = [](const Json& schema) {
      std::set<std::string> found;
      const Json* properties = member(schema, "properties");
      if (properties == nullptr || !properties->is_object()) return found;
      for (const auto& [name, value] : properties->items()) found.insert(name);
      return found;
    };
    const bool is_object =
        member(*part.schema, "properties") || member(*part.schema, "additionalProperties");
    if (!is_object) return {};
    const bool had_objects = std::exchange(has_objects_, true);
    if (!had_objects || (!is_closed(*part.schema) && !is_closed(joined_))) return {};
    const std::set<std::string> added = names(*part.schema);
    const std::set<std::string> present = names(joined_);
    const auto within = [](const std::set<std::string>& a, const std::set<std::string>& b) {
      return std::includes(b.begin(), b.end(), a.begin(), a.end());
    };
    if ((is_closed(*part.schema) && !within(present, added)) ||
        (is_closed(joined_) && !within(added, present))) {
      return usage_error(
          "{}: additionalProperties cannot be joined with properties that another "
          "part of the same value has",
          part.place);
    }
    return {};
  }

  const Json& root_;
  std::vector<PlacedSchema> waiting_;  // the next one last
  Json joined_ = Json::object();
  bool is_false_ = false;
  bool has_objects_ = false;
};

// The schema behind references, as far as it is nothing else.
const Json& target_of(const Json& root, const Json& schema) {
  const Json* at = &schema;
  for (int i = 0; i < kMaxCompared; ++i) {
    const Json* reference = member(*at, "$ref");
    if (reference == nullptr || !reference->is_string()) return *at;
    const Result<PlacedSchema> target = resolve_reference(root, reference->get<std::string>());
    if (!target.ok()) return *at;
    at = target->schema;
  }
  return *at;
}

}  // namespace

std::string below(const std::string& place, std::string_view name) {
  std::string out = place + "/";
  for (const char c : name) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
    if (out.size() > 200) return out + "...";
  }
  return out;
}

bool is_annotation(std::string_view keyword) {
  static constexpr std::array kAnnotations = {
      "title",      "description", "default",     "examples", "example",
      "deprecated", "readOnly",    "writeOnly",   "$comment", "$schema",
      "$id",        "$defs",       "definitions", "$anchor",  "$vocabulary"};
  return std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end() ||
         keyword.starts_with("x-");
}

Result<PlacedSchema> resolve_reference(const Json& root, const std::string& pointer) {
  if (pointer.empty() || pointer[0] != '#' || (pointer.size() > 1 && pointer[1] != '/')) {
    return usage_error("only references within the schema (#/...) are supported");
  }
  const Json* at = &root;
  for (size_t i = 1; i < pointer.size();) {
    const size_t end = std::min(pointer.find('/', i + 1), pointer.size());
    std::string name;
    for (size_t j = i + 1; j < end; ++j) {
      const bool is_escape = pointer[j] == '~' && j + 1 < end;
      if (is_escape && pointer[j + 1] == '0') {
        name += '~';
        ++j;
      } else if (is_escape && pointer[j + 1] == '1') {
        name += '/';
        ++j;
      } else {
        name += pointer[j];
      }
    }
    const Json* next = nullptr;
    if (at->is_object()) {
      next = member(*at, name.c_str());
    } else if (at->is_array() && !name.empty() && name.size() < 7 &&
               std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      const size_t index = std::stoul(name);
      if (index < at->size()) next = &(*at)[index];
    }
    if (next == nullptr) return usage_error("refers to nothing");
    at = next;
    i = end;
  }
  return PlacedSchema{at, pointer.substr(0, 200)};
}

Result<Json> join_schemas(const Json& root, std::vector<PlacedSchema> parts) {
  return Joiner(root, std::move(parts)).run();
}

bool are_disjoint(const Json& root, const Json& a, const Json& b) {
  std::vector<std::pair<const Json*, const Json*>> waiting{{&a, &b}};
  for (int n = 0; n < kMaxCompared && !waiting.empty(); ++n) {
    const Json& left = target_of(root, *waiting.back().first);
    const Json& right = target_of(root, *waiting.back().second);
    waiting.pop_back();
    if (left == Json(false) || right == Json(false)) return true;
    const auto left_constants = constants_of(left);
    const auto right_constants = constants_of(right);
    if (left_constants && right_constants) {
      if (std::none_of(left_constants->begin(), left_constants->end(), [&](const Json& value) {
            return std::find(right_constants->begin(), right_constants->end(), value) !=
                   right_constants->end();
          })) {
        return true;
      }
      continue;
    }
    const auto types = [](const Json& schema, const auto& constants) {
      if (!constants) return types_of(schema);
      std::set<std::string> found;
      for (const Json& value : *constants) found.insert(type_of(value));
      return std::optional(found);
    };
    const auto left_types = types(left, left_constants);
    const auto right_types = types(right, right_constants);
    if (left_types && right_types && common_types(*left_types, *right_types).empty()) return true;
    // Objects: a property that both have to have, or that one has to have and the other may not.
    const Json* left_properties = member(left, "properties");
    const Json* right_properties = member(right, "properties");
    const auto only_objects = [](const auto& found) {
      return found && *found == std::set<std::string>{"object"};
    };
    if (!only_objects(left_types) || !only_objects(right_types)) continue;
    const auto forbids = [](const Json& schema, const std::string& name) {
      const Json* additional = member(schema, "additionalProperties");
      const Json* properties = member(schema, "properties");
      return additional != nullptr && *additional == Json(false) &&
             (properties == nullptr || !properties->contains(name));
    };
    for (const Json* schema : {&left, &right}) {
      const Json* required = member(*schema, "required");
      const Json& other = schema == &left ? right : left;
      if (required == nullptr || !required->is_array()) continue;
      for (const Json& name : *required) {
        if (name.is_string() && forbids(other, name.get<std::string>())) return true;
      }
    }
    if (left_properties == nullptr || right_properties == nullptr ||
        !left_properties->is_object() || !right_properties->is_object()) {
      continue;
    }
    for (const auto& [name, schema] : left_properties->items()) {
      const auto other = right_properties->find(name);
      if (other == right_properties->end() || !requires_member(left, name) ||
          !requires_member(right, name)) {
        continue;
      }
      waiting.emplace_back(&schema, &*other);
    }
  }
  return false;
}

}  // namespace floe

#include "grammar/json_schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "grammar/expression.h"
#include "grammar/numbers.h"
#include "grammar/regex.h"

namespace floe {

namespace {

constexpr std::array kTypes = {"object", "array", "string", "number", "integer", "boolean", "null"};

struct TypedKeyword {
  std::string_view keyword;
  std::string_view type;
};
// Done, for one type each.
constexpr std::array kTypedKeywords = {
    TypedKeyword{"properties", "object"},
    TypedKeyword{"required", "object"},
    TypedKeyword{"additionalProperties", "object"},
    TypedKeyword{"items", "array"},
    TypedKeyword{"prefixItems", "array"},
    TypedKeyword{"minItems", "array"},
    TypedKeyword{"maxItems", "array"},
    TypedKeyword{"minLength", "string"},
    TypedKeyword{"maxLength", "string"},
    TypedKeyword{"pattern", "string"},
    TypedKeyword{"format", "string"},
    TypedKeyword{"minimum", "number"},
    TypedKeyword{"maximum", "number"},
    TypedKeyword{"exclusiveMinimum", "number"},
    TypedKeyword{"exclusiveMaximum", "number"},
};

// Would change which values are valid. A value that says nothing is let through.
constexpr std::array kRefusedKeywords = {"not",
                                         "if",
                                         "then",
                                         "else",
                                         "dependentRequired",
                                         "dependentSchemas",
                                         "dependencies",
                                         "patternProperties",
                                         "propertyNames",
                                         "minProperties",
                                         "maxProperties",
                                         "uniqueItems",
                                         "contains",
                                         "minContains",
                                         "maxContains",
                                         "unevaluatedProperties",
                                         "unevaluatedItems",
                                         "multipleOf",
                                         "additionalItems",
                                         "$dynamicRef",
                                         "$recursiveRef"};

bool says_nothing(const std::string& keyword, const Json& value, const Json& schema) {
  if (keyword == "then" || keyword == "else") return !schema.contains("if");
  if (keyword == "minContains" || keyword == "maxContains") return !schema.contains("contains");
  if (keyword == "uniqueItems") return value == Json(false);
  if (keyword == "minProperties") return value == Json(0);
  if (keyword == "multipleOf") {
    return value == Json(1) && schema.contains("type") && schema["type"] == Json("integer");
  }
  if (keyword == "unevaluatedProperties" || keyword == "unevaluatedItems" ||
      keyword == "additionalItems" || keyword == "propertyNames") {
    return value == Json(true) || value == Json::object();
  }
  if (keyword == "patternProperties" || keyword == "dependentRequired" ||
      keyword == "dependentSchemas" || keyword == "dependencies") {
    return value == Json::object();
  }
  return false;
}

// Formats whose texts are easily said. Others are annotations, as the draft has them all.
const char* pattern_of_format(const std::string& format) {
  struct Row {
    const char* format;
    const char* pattern;
  };
  static constexpr char kTime[] =
      "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]"
      ")";
  static constexpr char kDate[] =
      "[0-9]{3}[1-9]-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
      "02-(0[1-9]|1[0-9]|2[0-8]))";
  static const std::string date_time = std::string(kDate) + "T" + kTime;
  static constexpr char kOctet[] = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
  static const std::string ipv4 = std::string(kOctet) + "(\\." + kOctet + "){3}";
  const Row rows[] = {
      {"date", kDate},
      {"time", kTime},
      {"date-time", date_time.c_str()},
      {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
      {"ipv4", ipv4.c_str()},
      {"email",
       "[A-Za-z0-9_%+-]+(\\.[A-Za-z0-9_%+-]+)*@[A-Za-z0-9]+([.-][A-Za-z0-9]+)*\\.[A-Za-z]{2,}"},
  };
  for (const Row& row : rows) {
    if (format == row.format) return row.pattern;
  }
  return nullptr;
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  return value.is_number_integer() ||
         (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
}

}  // namespace

SchemaReader::SchemaReader(Nfa& nfa, JsonTerminals& terminals, const Json& root,
                           std::string place_of_root)
    : nfa_(nfa), json_(terminals), root_(root), place_of_root_(std::move(place_of_root)) {}

Result<Nfa::Rule> SchemaReader::read() {
  return read(PlacedSchema{&root_, "#"});
}

Result<Nfa::Rule> SchemaReader::read(const PlacedSchema& schema) {
  const Nfa::Rule rule = rule_of(schema);
  FLOE_TRY_VOID(read_rules());
  return rule;
}

Nfa::Rule SchemaReader::rule_of(const PlacedSchema& schema) {
  const auto [found, is_new] = rules_.try_emplace(schema.schema, 0);
  if (is_new) {
    found->second = nfa_.add_rule(place_of_root_ + schema.place);
    waiting_.push_back({schema, found->second});
  }
  return found->second;
}

Result<Nfa::Rule> SchemaReader::rule_of_joined(std::vector<PlacedSchema> parts,
                                               const std::string& place) {
  Result<Json> joined = join_schemas(root_, std::move(parts));
  if (!joined.ok()) return usage_error("{}{}", place_of_root_, joined.error().message);
  std::string text = dump_json(*joined);
  // Documents take much more memory than their text.
  if (!nfa_.work().spend(1000 + 40 * text.size())) return limit(place);
  const auto [found, is_new] = joined_rules_.try_emplace(std::move(text), 0);
  if (is_new) {
    joined_.push_back(std::move(*joined));
    found->second = rule_of({&joined_.back(), place});
  }
  return found->second;
}

Result<void> SchemaReader::read_rules() {
  while (!waiting_.empty()) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    if (!nfa_.work().spend(1)) return limit(next.schema.place);
    const Nfa::RuleStates rule = nfa_.rule(next.rule);
    FLOE_TRY_VOID(read_schema(rule.start, rule.end, next.schema));
    if (nfa_.work().failed()) return limit(next.schema.place);
  }
  return {};
}

Result<void> SchemaReader::read_schema(Nfa::State from, Nfa::State to, const PlacedSchema& placed) {
  const Json& schema = *placed.schema;
  if (schema.is_boolean()) {
    if (schema.get<bool>()) nfa_.add_call(from, to, json_.value());
    return {};
  }
  if (!schema.is_object()) {
    return fault(placed.place, "expected a schema (an object or a boolean)");
  }
  bool has_joined = false;  // something beside $ref, anyOf and oneOf
  for (const auto& [keyword, value] : schema.items()) {
    if (is_annotation(keyword)) continue;
    if (std::find(kRefusedKeywords.begin(), kRefusedKeywords.end(), keyword) !=
            kRefusedKeywords.end() &&
        !says_nothing(keyword, value, schema)) {
      return fault(below(placed.place, keyword), "the keyword is not supported");
    }
    const bool is_typed =
        std::any_of(kTypedKeywords.begin(), kTypedKeywords.end(),
                    [&name = keyword](const TypedKeyword& row) { return row.keyword == name; });
    if (is_typed || keyword == "type" || keyword == "enum" || keyword == "const") {
      has_joined = true;
    }
  }
  const bool has_reference = schema.contains("$ref");
  const bool has_any = schema.contains("anyOf");
  const bool has_one = schema.contains("oneOf");
  if (schema.contains("allOf") || (has_reference && (has_joined || has_any || has_one))) {
    FLOE_TRY(const Nfa::Rule rule, rule_of_joined({placed}, placed.place));
    nfa_.add_call(from, to, rule);
    return {};
  }
  if (has_reference) {
    const std::string place = below(placed.place, "$ref");
    if (!schema["$ref"].is_string()) return fault(place, "expected a string");
    const Result<PlacedSchema> target = resolve_reference(root_, schema["$ref"].get<std::string>());
    if (!target.ok()) return fault(place, "{}", target.error().message);
    nfa_.add_call(from, to, rule_of(*target));
    return {};
  }
  if (has_any) return read_alternatives(from, to, placed, "anyOf", has_joined || has_one);
  if (has_one) return read_alternatives(from, to, placed, "oneOf", has_joined);
  if (schema.contains("enum") || schema.contains("const")) return read_constants(from, to, placed);

  std::vector<std::string> types;
  if (schema.contains("type")) {
    const Json& type = schema["type"];
    const std::string place = below(placed.place, "type");
    if (type.is_string()) {
      types.push_back(type.get<std::string>());
    } else if (type.is_array() && !type.empty()) {
      for (const Json& name : type) {
        if (!name.is_string()) return fault(place, "expected names of types");
        types.push_back(name.get<std::string>());
      }
    } else {
      return fault(place, "expected the name of a type or an array of some");
    }
    for (const std::string& name : types) {
      if (std::find(kTypes.begin(), kTypes.end(), name) == kTypes.end()) {
        return fault(place, "unknown type {}", json_string(name.substr(0, 40)));
      }
    }
  } else {
    for (const TypedKeyword& row : kTypedKeywords) {
      if (schema.contains(std::string(row.keyword))) types.emplace_back(row.type);
    }
    if (types.empty()) {
      nfa_.add_call(from, to, json_.value());
      return {};
    }
  }
  std::sort(types.begin(), types.end());
  types.erase(std::unique(types.begin(), types.end()), types.end());
  for (const std::string& type : types) FLOE_TRY_VOID(read_type(from, to, placed, type));
  return {};
}

Result<void> SchemaReader::read_alternatives(Nfa::State from, Nfa::State to,
                                             const PlacedSchema& placed, const std::string& keyword,
                                             bool has_more) {
  const Json& alternatives = (*placed.schema)[keyword];
  const std::string place = below(placed.place, keyword);
  if (!alternatives.is_array() || alternatives.empty()) {
    return fault(place, "expected an array of schemas");
  }
  if (keyword == "oneOf") {
    for (size_t i = 0; i < alternatives.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (!nfa_.work().spend(100)) return limit(place);
        if (!are_disjoint(root_, alternatives[j], alternatives[i])) {
          return fault(below(place, std::to_string(i)),
                       "may hold for the same value as number {}: say anyOf, or tell them apart by "
                       "type, const, or a required property",
                       j);
        }
      }
    }
  }
  // What stands beside holds for each of them.
  Json beside = has_more ? *placed.schema : Json();
  if (has_more) beside.erase(keyword);
  for (size_t i = 0; i < alternatives.size(); ++i) {
    const PlacedSchema alternative{&alternatives[i], below(place, std::to_string(i))};
    if (!has_more) {
      nfa_.add_call(from, to, rule_of(alternative));
      continue;
    }
    FLOE_TRY(const Nfa::Rule rule,
             rule_of_joined({PlacedSchema{&beside, placed.place}, alternative}, alternative.place));
    nfa_.add_call(from, to, rule);
  }
  return {};
}

Result<void> SchemaReader::read_constants(Nfa::State from, Nfa::State to,
                                          const PlacedSchema& placed) {
  const Json& schema = *placed.schema;
  const bool is_list = schema.contains("enum");
  const std::string place = below(placed.place, is_list ? "enum" : "const");
  if (is_list && (!schema["enum"].is_array() || schema["enum"].empty())) {
    return fault(place, "expected an array of values");
  }
  for (const TypedKeyword& row : kTypedKeywords) {
    if (row.keyword != "format" && schema.contains(std::string(row.keyword))) {
      return fault(below(placed.place, row.keyword), "is not supported beside {}",
                   is_list ? "enum" : "const");
    }
  }
  std::set<std::string> types;
  if (schema.contains("type")) {
    const Json& type = schema["type"];
    const auto add = [&](const Json& name) {
      if (name.is_string()) types.insert(name.get<std::string>());
    };
    if (type.is_array()) {
      for (const Json& name : type) add(name);
    } else {
      add(type);
    }
    for (const std::string& name : types) {
      if (std::find(kTypes.begin(), kTypes.end(), name) == kTypes.end()) {
        return fault(below(placed.place, "type"), "unknown type {}",
                     json_string(name.substr(0, 40)));
      }
    }
  }
  std::vector<Json> values;
  if (is_list) values.assign(schema["enum"].begin(), schema["enum"].end());
  if (schema.contains("const")) {
    const Json& only = schema["const"];
    if (is_list && std::find(values.begin(), values.end(), only) == values.end()) return {};
    values.assign(1, only);
  }
  for (const Json& value : values) {
    const bool fits = types.empty() ||
                      std::any_of(types.begin(), types.end(),
                                  [&](const std::string& type) { return has_type(value, type); });
    if (!fits) continue;
    nfa_.add_text(from, to, dump_json(value));
    if (nfa_.work().failed()) return limit(place);
  }
  return {};
}

Result<void> SchemaReader::read_type(Nfa::State from, Nfa::State to, const PlacedSchema& schema,
                                     const std::string& type) {
  if (type == "object") return read_object(from, to, schema);
  if (type == "array") return read_array(from, to, schema);
  if (type == "string") return read_string(from, to, schema);
  if (type == "number" || type == "integer") {
    return read_number(from, to, schema, type == "integer");
  }
  if (type == "boolean") {
    nfa_.add_text(from, to, "true");
    nfa_.add_text(from, to, "false");
  } else {
    nfa_.add_text(from, to, "null");
  }
  return {};
}

Result<void> SchemaReader::read_object(Nfa::State from, Nfa::State to, const PlacedSchema& placed) {
  const Json& schema = *placed.schema;
  struct Property {
    std::string name;
    PlacedSchema schema;
    bool is_required = false;
  };
  static const Json kAnything(true);
  std::vector<Property> properties;
  std::unordered_map<std::string, size_t> places;
  if (schema.contains("properties")) {
    const std::string place = below(placed.place, "properties");
    if (!schema["properties"].is_object()) return fault(place, "expected an object");
    for (const auto& [name, value] : schema["properties"].items()) {
      places[name] = properties.size();
      properties.push_back({name, {&value, below(place, name)}, false});
    }
  }
  PlacedSchema additional{&kAnything, placed.place};
  bool has_additional = properties.empty();
  bool is_closed = false;
  if (schema.contains("additionalProperties")) {
    additional = {&schema["additionalProperties"], below(placed.place, "additionalProperties")};
    is_closed = *additional.schema == Json(false);
    has_additional = !is_closed;
  }
  if (schema.contains("required")) {
    const std::string place = below(placed.place, "required");
    if (!schema["required"].is_array()) return fault(place, "expected an array of names");
    for (const Json& name : schema["required"]) {
      if (!name.is_string()) return fault(place, "expected an array of names");
      const auto [found, is_new] = places.try_emplace(name.get<std::string>(), properties.size());
      if (is_new) {
        if (is_closed) {
          return fault(place, "{} is required, and additionalProperties forbids it",
                       json_string(name.get<std::string>().substr(0, 80)));
        }
        properties.push_back({name.get<std::string>(), additional, true});
      }
      properties[found->second].is_required = true;
    }
  }
  // first: no property has been written yet. next: some has.
  Nfa::State first = nfa_.add_state();
  Nfa::State next = nfa_.add_state();
  json_.add_mark_blank(from, first, "{");
  for (const Property& property : properties) {
    if (nfa_.work().failed()) return limit(placed.place);
    const Nfa::State key = nfa_.add_state();
    nfa_.add_nothing(first, key);
    json_.add_mark_blank(next, key, ",");
    const Nfa::State behind_key = nfa_.text_after(key, json_string(property.name));
    const Nfa::State value = nfa_.add_state();
    json_.add_mark_blank(behind_key, value, ":");
    const Nfa::State behind_first = nfa_.add_state();
    const Nfa::State behind_next = nfa_.add_state();
    nfa_.add_call(value, behind_next, rule_of(property.schema));
    if (!property.is_required) {
      nfa_.add_nothing(first, behind_first);
      nfa_.add_nothing(next, behind_next);
    }
    first = behind_first;
    next = behind_next;
  }
  if (has_additional) {
    const Nfa::State key = nfa_.add_state();
    nfa_.add_nothing(first, key);
    json_.add_mark_blank(next, key, ",");
    const Nfa::State behind_key = nfa_.add_state();
    if (properties.empty()) {
      nfa_.add_call(key, behind_key, json_.string());
    } else {
      std::vector<std::string> names;
      for (const Property& property : properties) names.push_back(property.name);
      json_.add_other_string(key, behind_key, names);
    }
    const Nfa::State value = nfa_.add_state();
    json_.add_mark_blank(behind_key, value, ":");
    nfa_.add_call(value, next, rule_of(additional));
  }
  nfa_.add_text(first, to, "}");
  json_.add_blank_mark(next, to, "}");
  return {};
}

Result<uint32_t> SchemaReader::read_count(const PlacedSchema& placed, const char* keyword,
                                          uint32_t fallback) {
  if (!placed.schema->contains(keyword)) return fallback;
  const Json& value = (*placed.schema)[keyword];
  const bool is_whole = value.is_number() && has_type(value, "integer");
  if (!is_whole || value < Json(0)) {
    return fault(below(placed.place, keyword), "expected a whole number of at least 0");
  }
  if (value >= Json(ExpressionBuilder::kUnbounded)) return ExpressionBuilder::kUnbounded - 1;
  return static_cast<uint32_t>(value.get<double>());
}

Result<void> SchemaReader::read_array(Nfa::State from, Nfa::State to, const PlacedSchema& placed) {
  const Json& schema = *placed.schema;
  FLOE_TRY(const uint32_t least, read_count(placed, "minItems", 0));
  FLOE_TRY(const uint32_t most, read_count(placed, "maxItems", ExpressionBuilder::kUnbounded));
  if (least > most) return fault(below(placed.place, "minItems"), "is above maxItems");
  if (!nfa_.work().has_room(least)) return limit(below(placed.place, "minItems"));
  const Json* prefix = nullptr;
  if (schema.contains("prefixItems")) {
    prefix = &schema["prefixItems"];
    if (!prefix->is_array()) {
      return fault(below(placed.place, "prefixItems"), "expected an array of schemas");
    }
  }
  static const Json kAnything(true);
  PlacedSchema rest{&kAnything, placed.place};
  if (schema.contains("items")) {
    rest = {&schema["items"], below(placed.place, "items")};
    if (rest.schema->is_array()) {
      return fault(rest.place, "an array of schemas is called prefixItems in this draft");
    }
  }
  const size_t n_prefix = prefix == nullptr ? 0 : prefix->size();
  // Items that are not alike: those of the prefix, and those that are counted.
  const size_t n_counted = std::max<size_t>(
      {n_prefix, least, most == ExpressionBuilder::kUnbounded ? size_t{0} : size_t{most}});
  const Nfa::State open = nfa_.add_state();
  json_.add_mark_blank(from, open, "[");
  if (least == 0) nfa_.add_text(open, to, "]");
  Nfa::State at = nfa_.add_state();  // where an item begins
  nfa_.add_nothing(open, at);
  for (size_t i = 0; i < n_counted && i < most; ++i) {
    if (nfa_.work().failed()) {
      return limit(below(placed.place, schema.contains("maxItems") ? "maxItems" : "minItems"));
    }
    const PlacedSchema item =
        i < n_prefix ? PlacedSchema{&(*prefix)[i],
                                    below(below(placed.place, "prefixItems"), std::to_string(i))}
                     : rest;
    const Nfa::State behind = nfa_.add_state();
    nfa_.add_call(at, behind, rule_of(item));
    if (i + 1 >= least) json_.add_blank_mark(behind, to, "]");
    at = nfa_.add_state();
    json_.add_mark_blank(behind, at, ",");
  }
  if (most == ExpressionBuilder::kUnbounded) {
    const Nfa::State behind = nfa_.add_state();
    nfa_.add_call(at, behind, rule_of(rest));
    json_.add_blank_mark(behind, to, "]");
    json_.add_mark_blank(behind, at, ",");
  }
  return {};
}

Result<void> SchemaReader::read_string(Nfa::State from, Nfa::State to, const PlacedSchema& placed) {
  const Json& schema = *placed.schema;
  FLOE_TRY(const uint32_t least, read_count(placed, "minLength", 0));
  FLOE_TRY(const uint32_t most, read_count(placed, "maxLength", ExpressionBuilder::kUnbounded));
  const char* limited = schema.contains("maxLength") ? "maxLength" : "minLength";
  if (least > most) return fault(below(placed.place, "minLength"), "is above maxLength");
  const bool has_pattern = schema.contains("pattern");
  const bool has_length = least > 0 || most != ExpressionBuilder::kUnbounded;
  std::string pattern;
  std::string place = placed.place;
  RegexMatch match = RegexMatch::search;
  if (has_pattern) {
    place = below(place, "pattern");
    if (!schema["pattern"].is_string()) return fault(place, "expected a string");
    pattern = schema["pattern"].get<std::string>();
  } else if (schema.contains("format") && !has_length) {
    const Json& format = schema["format"];
    place = below(place, "format");
    if (!format.is_string()) return fault(place, "expected a string");
    if (const char* known = pattern_of_format(format.get<std::string>())) {
      pattern = known;
      match = RegexMatch::whole;
    }
  }
  if (!has_pattern && pattern.empty()) {
    if (!has_length) {
      nfa_.add_call(from, to, json_.string());
    } else {
      json_.add_string(from, to, least, most);
      if (nfa_.work().failed()) return limit(below(placed.place, limited));
    }
    return {};
  }
  Nfa text(nfa_.work());
  const Nfa::State text_from = text.add_state();
  const Nfa::State text_to = text.add_state();
  if (const Result<void> read = read_regex(pattern, match, text, text_from, text_to); !read.ok()) {
    return fault(place, "{}", read.error().message);
  }
  json_.add_string_of(from, to, text, text_from, text_to, least, most);
  if (nfa_.work().failed()) return limit(place);
  return {};
}

Result<void> SchemaReader::read_number(Nfa::State from, Nfa::State to, const PlacedSchema& placed,
                                       bool is_whole) {
  const Json& schema = *placed.schema;
  struct Bound {
    const char* keyword;
    bool is_least;
    bool is_exclusive;
  };
  static constexpr Bound kBounds[] = {{"minimum", true, false},
                                      {"maximum", false, false},
                                      {"exclusiveMinimum", true, true},
                                      {"exclusiveMaximum", false, true}};
  // Beyond these a bound changes nothing.
  constexpr double kFar = 9e18;
  int64_t least = -kLargestWhole;
  int64_t most = kLargestWhole;
  bool with_least = true;
  bool with_most = true;
  bool is_bounded = false;
  for (const Bound& bound : kBounds) {
    if (!schema.contains(bound.keyword)) continue;
    const Json& value = schema[bound.keyword];
    const std::string place = below(placed.place, bound.keyword);
    if (!value.is_number()) return fault(place, "expected a number");
    const double number = value.get<double>();
    if (std::abs(number) > kFar) {
      const bool is_far_away = (number < 0) == bound.is_least;
      if (is_far_away) continue;
      return fault(place, "is out of range");
    }
    int64_t whole = 0;
    bool is_exclusive = bound.is_exclusive;
    if (has_type(value, "integer")) {
      whole = value.get<int64_t>();
    } else if (is_whole) {
      whole = static_cast<int64_t>(bound.is_least ? std::ceil(number) : std::floor(number));
      is_exclusive = false;
    } else {
      return fault(place, "for numbers only whole bounds are supported");
    }
    if (is_whole && is_exclusive) {
      whole += bound.is_least ? 1 : -1;
      is_exclusive = false;
    }
    is_bounded = true;
    if (bound.is_least) {
      const bool is_first = least == -kLargestWhole && !schema.contains("minimum");
      if (is_first || bound.keyword == std::string_view("minimum") || whole > least ||
          (whole == least && is_exclusive)) {
        least = whole;
        with_least = !is_exclusive;
      }
    } else {
      const bool is_first = most == kLargestWhole && !schema.contains("maximum");
      if (is_first || bound.keyword == std::string_view("maximum") || whole < most ||
          (whole == most && is_exclusive)) {
        most = whole;
        with_most = !is_exclusive;
      }
    }
  }
  if (is_whole) {
    // A bound beyond what is written otherwise moves the other end along.
    if (least > kLargestWhole && most == kLargestWhole) most = std::numeric_limits<int64_t>::max();
    if (most < -kLargestWhole && least == -kLargestWhole) {
      least = std::numeric_limits<int64_t>::min() + 1;
    }
    add_whole_numbers(nfa_, from, to, least, most);
  } else if (!is_bounded) {
    nfa_.add_call(from, to, json_.number());
  } else {
    add_numbers_between(nfa_, from, to, least, with_least, most, with_most);
  }
  return {};
}

}  // namespace floe

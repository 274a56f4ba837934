#include "chat/call_literals.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "chat/call_markup.h"
#include "grammar/code_points.h"

namespace floe {
namespace {

// Of objects and arrays within the arguments of a schema; a schema that refers to itself ends here.
constexpr uint32_t kMaxDepth = 16;
// Of those that no schema describes.
constexpr uint32_t kMaxFreeDepth = 6;
constexpr uint32_t kMaxFreeKey = 64;  // characters

CodePointSet word_begin() {
  return CodePointSet({{'A', 'Z'}, {'a', 'z'}, {'_', '_'}});
}
CodePointSet word_rest() {
  return CodePointSet({{'A', 'Z'}, {'a', 'z'}, {'_', '_'}, {'0', '9'}});
}

// Whether a key can stand without quotes, or between single ones.
bool is_plain(const std::string& key, std::string_view forbidden) {
  return !key.empty() && std::none_of(key.begin(), key.end(), [&](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f ||
           forbidden.find(c) != std::string_view::npos;
  });
}

// The texts of values that stand as they are between double quotes.
bool is_plain_string(const std::string& text) {
  return text.empty() || is_plain(text, "\"\\");
}

}  // namespace

Result<void> CallLiterals::add_arguments(Nfa::State from, Nfa::State to, const Json& schema,
                                         bool is_strict, const std::string& place) {
  SchemaReader& numbers = readers_.emplace_back(nfa_, terminals_, schema, place);
  const Reading reading{schema, is_strict, place, numbers};
  static const Json kObject = {{"type", "object"}};
  Result<Json> joined = join_schemas(schema, {{&schema, "#"}, {&kObject, "#"}});
  if (!joined.ok()) return usage_error("{}{}", place, joined.error().message);
  return add_members(from, to, schemas_.emplace_back(std::move(*joined)), true, reading, "#", 0);
}

Result<void> CallLiterals::add_members(Nfa::State from, Nfa::State to, const Json& object,
                                       bool is_top, const Reading& reading, const std::string& at,
                                       uint32_t depth) {
  static const Json kAnything(true);
  struct Member {
    std::string key;
    PlacedSchema value;
    bool is_required;
  };
  std::vector<Member> members;
  std::set<std::string> required;
  if (object.contains("required") && object["required"].is_array()) {
    for (const Json& key : object["required"]) {
      if (key.is_string()) required.insert(key.get<std::string>());
    }
  }
  if (object.contains("properties") && object["properties"].is_object()) {
    for (const auto& [key, value] : object["properties"].items()) {
      members.push_back(
          {key, {&value, below(below(at, "properties"), key)}, required.erase(key) > 0});
    }
  }
  for (const std::string& key : required) members.push_back({key, {&kAnything, at}, true});
  if (members.empty()) {
    const bool is_closed =
        object.contains("additionalProperties") && object["additionalProperties"] == Json(false);
    if (!is_closed) nfa_.add_call(from, to, any_members(is_top, kMaxFreeDepth));
    nfa_.add_nothing(from, to);
    return {};
  }
  // Where nothing has been written yet, and where a comma is due.
  Nfa::State first = from;
  std::optional<Nfa::State> later;
  for (const Member& member : members) {
    if (!nfa_.work().spend(1000)) {
      return usage_error("{}: {}", reading.place, nfa_.work().reason());
    }
    const Nfa::Rule rule = nfa_.add_rule("argument");
    const Nfa::RuleStates states = nfa_.rule(rule);
    const Nfa::State value = nfa_.add_state();
    if (!add_key(states.start, value, member.key, is_top)) {
      if (!member.is_required && !reading.is_strict) continue;
      return usage_error("{}{}: is not supported as a name for calls in this model's format",
                         reading.place, member.value.place);
    }
    FLOE_TRY_VOID(add_value(value, states.end, member.value, reading, depth));
    const Nfa::State behind = nfa_.add_state();
    nfa_.add_call(first, behind, rule);
    if (later) {
      nfa_.add_call(nfa_.text_after(*later, comma()), behind, rule);
      if (!member.is_required) nfa_.add_nothing(*later, behind);
    }
    later = behind;
    if (member.is_required) {
      // From here on there is something before.
      first = nfa_.add_state();
    }
  }
  nfa_.add_nothing(first, to);
  if (later) nfa_.add_nothing(*later, to);
  return {};
}

Result<void> CallLiterals::add_value(Nfa::State from, Nfa::State to, const PlacedSchema& schema,
                                     const Reading& reading, uint32_t depth) {
  std::vector<PlacedSchema> waiting{schema};
  while (!waiting.empty()) {
    if (!nfa_.work().spend(1000)) {
      return usage_error("{}: {}", reading.place, nfa_.work().reason());
    }
    const PlacedSchema next = std::move(waiting.back());
    waiting.pop_back();
    Result<Json> joined = join_schemas(reading.root, {next});
    if (!joined.ok()) {
      if (reading.is_strict) return usage_error("{}{}", reading.place, joined.error().message);
      nfa_.add_call(from, to, any_value(kMaxFreeDepth));
      continue;
    }
    const Json& one = schemas_.emplace_back(std::move(*joined));
    if (one.is_boolean()) {
      if (one.get<bool>()) nfa_.add_call(from, to, any_value(kMaxFreeDepth));
      continue;
    }
    const char* alternatives = one.contains("anyOf") ? "anyOf" : "oneOf";
    if (one.contains(alternatives) && one[alternatives].is_array()) {
      Json& beside = schemas_.emplace_back(one);
      beside.erase(alternatives);
      for (const Json& alternative : one[alternatives]) {
        const std::string at = below(next.place, alternatives);
        Result<Json> both = join_schemas(reading.root, {{&beside, next.place}, {&alternative, at}});
        if (!both.ok()) return usage_error("{}{}", reading.place, both.error().message);
        waiting.push_back({&schemas_.emplace_back(std::move(*both)), at});
      }
      continue;
    }
    if (one.contains("enum") || one.contains("const")) {
      const Json values = one.contains("enum") ? one["enum"] : Json::array({one["const"]});
      for (const Json& value : values) add_constant(from, to, value);
      continue;
    }
    std::vector<std::string> types;
    if (one.contains("type")) {
      const Json type = one["type"].is_array() ? one["type"] : Json::array({one["type"]});
      for (const Json& name : type) {
        if (name.is_string()) types.push_back(name.get<std::string>());
      }
    } else if (one.contains("properties")) {
      types = {"object"};
    } else if (one.contains("items")) {
      types = {"array"};
    }
    if (types.empty()) {
      nfa_.add_call(from, to, any_value(kMaxFreeDepth));
      continue;
    }
    for (const std::string& type : types) {
      FLOE_TRY_VOID(add_typed(from, to, one, type, reading, next.place, depth));
    }
  }
  return {};
}

Result<void> CallLiterals::add_typed(Nfa::State from, Nfa::State to, const Json& schema,
                                     const std::string& type, const Reading& reading,
                                     const std::string& at, uint32_t depth) {
  const auto refuse = [&](const char* keyword) {
    return usage_error("{}{}/{}: is not supported for calls in this model's format", reading.place,
                       at, keyword);
  };
  if (reading.is_strict) {
    for (const char* keyword :
         {"minLength", "maxLength", "pattern", "minItems", "maxItems", "prefixItems"}) {
      if (schema.contains(keyword)) return refuse(keyword);
    }
  }
  if (type == "string") {
    add_string(from, to);
  } else if (type == "boolean") {
    add_boolean(from, to);
  } else if (type == "null") {
    nfa_.add_text(from, to, "None");
  } else if (type == "integer" || type == "number") {
    Json& number = schemas_.emplace_back(schema);
    number["type"] = type;
    FLOE_TRY(const Nfa::Rule rule, reading.numbers.read({&number, at}));
    nfa_.add_call(from, to, rule);
  } else if (type == "array") {
    return add_array(from, to, schema, reading, at, depth);
  } else if (type == "object") {
    const Nfa::State inside = nfa_.text_after(from, "{");
    const Nfa::State behind = nfa_.add_state();
    if (depth < kMaxDepth) {
      FLOE_TRY_VOID(add_members(inside, behind, schema, false, reading, at, depth + 1));
    } else if (reading.is_strict) {
      return usage_error("{}{}: nests deeper than {} for calls in this model's format",
                         reading.place, at, kMaxDepth);
    } else {
      nfa_.add_call(inside, behind, any_members(false, kMaxFreeDepth));
      nfa_.add_nothing(inside, behind);
    }
    nfa_.add_text(behind, to, "}");
  } else {
    return usage_error("{}{}/type: '{}' is no type", reading.place, at, type.substr(0, 40));
  }
  return {};
}

Result<void> CallLiterals::add_array(Nfa::State from, Nfa::State to, const Json& schema,
                                     const Reading& reading, const std::string& at,
                                     uint32_t depth) {
  static const Json kAnything(true);
  const Json* items = schema.contains("items") ? &schema["items"] : &kAnything;
  if (depth >= kMaxDepth) {
    if (reading.is_strict) {
      return usage_error("{}{}: nests deeper than {} for calls in this model's format",
                         reading.place, at, kMaxDepth);
    }
    items = &kAnything;
  }
  const Nfa::Rule item = nfa_.add_rule("item");
  const Nfa::RuleStates states = nfa_.rule(item);
  FLOE_TRY_VOID(
      add_value(states.start, states.end, {items, below(at, "items")}, reading, depth + 1));
  const Nfa::State open = nfa_.text_after(from, "[");
  const Nfa::State behind = nfa_.add_state();
  nfa_.add_call(open, behind, item);
  nfa_.add_call(nfa_.text_after(behind, comma()), behind, item);
  nfa_.add_text(open, to, "]");
  nfa_.add_text(behind, to, "]");
  return {};
}

void CallLiterals::add_constant(Nfa::State from, Nfa::State to, const Json& value) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (is_python()) {
      if (is_plain_string(text)) nfa_.add_text(from, to, "\"" + text + "\"");
      return;
    }
    const std::string& quote = format_.calls.before_value;
    if (text.find(quote) != std::string::npos) return;
    const Nfa::State begin = add_markup(format_, nfa_, from, quote);
    nfa_.add_nothing(
        add_markup(format_, nfa_, nfa_.text_after(begin, text), format_.calls.after_value), to);
  } else if (value.is_boolean()) {
    nfa_.add_text(from, to,
                  is_python() ? (value.get<bool>() ? "True" : "False")
                              : (value.get<bool>() ? "true" : "false"));
  } else if (value.is_null()) {
    nfa_.add_text(from, to, "None");
  } else if (value.is_number()) {
    nfa_.add_text(from, to, dump_json(value));
  }
}

void CallLiterals::add_string(Nfa::State from, Nfa::State to) {
  if (!is_python()) {
    // Between quotes of its own, which no text has: a token, or else a text that must not come.
    const std::string& quote = format_.calls.after_value;
    const Nfa::State inside = add_markup(format_, nfa_, from, format_.calls.before_value);
    const CodePointSet all = marker_at(format_, quote) != nullptr
                                 ? CodePointSet::all()
                                 : CodePointSet({{'<', '<'}}).complement();
    nfa_.add_characters(inside, inside, all);
    nfa_.add_nothing(add_markup(format_, nfa_, inside, quote), to);
    return;
  }
  const Nfa::State inside = nfa_.add_state();
  nfa_.add_text(from, inside, "\"");
  nfa_.add_characters(
      inside, inside,
      CodePointSet({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {0x7f, 0x7f}}).complement());
  const Nfa::State escape = nfa_.text_after(inside, "\\");
  nfa_.add_characters(escape, inside,
                      CodePointSet({{'"', '"'}, {'\\', '\\'}, {'n', 'n'}, {'t', 't'}, {'r', 'r'}}));
  nfa_.add_text(inside, to, "\"");
}

void CallLiterals::add_boolean(Nfa::State from, Nfa::State to) {
  add_constant(from, to, true);
  add_constant(from, to, false);
}

bool CallLiterals::add_key(Nfa::State from, Nfa::State to, const std::string& key, bool is_top) {
  if (is_python() && is_top) {
    if (!is_plain(key, " ,=()[]{}\"'\\")) return false;
    nfa_.add_text(from, to, key + "=");
  } else if (is_python()) {
    if (!is_plain(key, "'\\")) return false;
    nfa_.add_text(from, to, "'" + key + "': ");
  } else {
    if (!is_plain(key, " ,:()[]{}\"'\\<")) return false;
    nfa_.add_text(from, to, key + ":");
  }
  return true;
}

Nfa::Rule CallLiterals::any_value(uint32_t depth) {
  if (const auto found = any_values_.find(depth); found != any_values_.end()) return found->second;
  const Nfa::Rule rule = nfa_.add_rule("literal");
  any_values_[depth] = rule;
  const Nfa::RuleStates states = nfa_.rule(rule);
  add_string(states.start, states.end);
  add_boolean(states.start, states.end);
  nfa_.add_text(states.start, states.end, "None");
  nfa_.add_call(states.start, states.end, terminals_.number());
  if (depth == 0) return rule;
  const Nfa::State list = nfa_.text_after(states.start, "[");
  const Nfa::State behind = nfa_.add_state();
  nfa_.add_call(list, behind, any_value(depth - 1));
  nfa_.add_call(nfa_.text_after(behind, comma()), behind, any_value(depth - 1));
  nfa_.add_text(list, states.end, "]");
  nfa_.add_text(behind, states.end, "]");
  const Nfa::State object = nfa_.text_after(states.start, "{");
  const Nfa::State end = nfa_.add_state();
  nfa_.add_nothing(object, end);
  nfa_.add_call(object, end, any_members(false, depth - 1));
  nfa_.add_text(end, states.end, "}");
  return rule;
}

Nfa::Rule CallLiterals::any_members(bool is_top, uint32_t depth) {
  const std::pair<bool, uint32_t> kind{is_top, depth};
  if (const auto found = any_members_.find(kind); found != any_members_.end()) {
    return found->second;
  }
  const Nfa::Rule rule = nfa_.add_rule("members");
  any_members_[kind] = rule;
  const Nfa::RuleStates states = nfa_.rule(rule);
  const bool is_quoted = is_python() && !is_top;
  const Nfa::State begin = nfa_.add_state();
  nfa_.add_nothing(states.start, begin);
  Nfa::State word = is_quoted ? nfa_.text_after(begin, "'") : begin;
  const Nfa::State behind_word = nfa_.add_state();
  for (uint32_t i = 0; i < kMaxFreeKey; ++i) {
    const Nfa::State next = nfa_.add_state();
    nfa_.add_characters(word, next, i == 0 ? word_begin() : word_rest());
    nfa_.add_nothing(next, behind_word);
    word = next;
  }
  const Nfa::State value = nfa_.text_after(behind_word, is_quoted     ? "': "
                                                        : is_python() ? "="
                                                                      : ":");
  nfa_.add_call(value, states.end, any_value(depth));
  nfa_.add_text(states.end, begin, comma());
  return rule;
}

}  // namespace floe

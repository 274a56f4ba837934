#include "chat/call_grammar.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/json.h"
#include "chat/call_literals.h"
#include "chat/call_markup.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace floe {

namespace {

std::string_view without_blanks(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\n'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

class CallGrammar {
  static constexpr uint64_t kMaxFailedTrials = 256;

 public:
  CallGrammar(const AnswerFormat& format, const CallGrammarOptions& options, Nfa& nfa)
      : format_(format),
        syntax_(format.calls),
        options_(options),
        nfa_(nfa),
        terminals_(nfa),
        literals_(format, nfa, terminals_) {}

  Result<Nfa::Rule> run(std::span<const CallableFunction> functions) {
    const bool in_channels = syntax_.layout == CallLayout::harmony;
    if (!syntax_.exists()) {
      return usage_error("calls in this model's format ({}) cannot be forced", format_.name);
    }
    const Nfa::Rule root = nfa_.add_rule("calls");
    const Nfa::RuleStates states = nfa_.rule(root);
    Nfa::State call = 0;
    if (options_.begins_behind_token) {
      const AnswerFormat::Marker* marker = marker_at(format_, syntax_.begin);
      FLOE_CHECK(marker != nullptr);
      call = add_markup(states.start, std::string_view(syntax_.begin).substr(marker->text.size()));
    } else {
      const Nfa::State start = in_channels ? add_messages(states.start) : states.start;
      call = add_markup(start, syntax_.begin);
      if (options_.or_text) add_text(start, call, states.end);
    }
    const Nfa::State behind = nfa_.add_state();
    for (size_t i = 0; i < functions.size(); ++i) {
      FLOE_TRY_VOID(add_call(call, behind, functions[i], "tools[" + std::to_string(i) + "]"));
    }
    const Nfa::State end = add_markup(behind, syntax_.end);
    nfa_.add_nothing(end, states.end);
    // Further calls stand in the block where something separates them, else in blocks of their own.
    const bool in_block =
        !syntax_.between.empty() || marker_at(format_, syntax_.before_name) != nullptr;
    if (options_.several && !syntax_.end.empty()) {
      if (in_block) {
        nfa_.add_nothing(add_markup(behind, syntax_.between), call);
      } else if (!options_.begins_behind_token) {
        nfa_.add_text(end, states.start, "\n");
      }
    }
    if (nfa_.work().failed()) return usage_error("{}", nfa_.work().reason());
    return root;
  }

 private:
  Nfa::State add_markup(Nfa::State at, std::string_view text) {
    return floe::add_markup(format_, nfa_, at, text);
  }

  // What the model thinks and says before its call: any number of messages of their own.
  Nfa::State add_messages(Nfa::State from) {
    const Nfa::State behind = nfa_.add_state();
    nfa_.add_nothing(from, behind);
    for (const char* channel : {"analysis", "commentary"}) {
      const Nfa::State text =
          add_markup(behind, std::string("<|channel|>") + channel + "<|message|>");
      nfa_.add_characters(text, text, CodePointSet::all());
      nfa_.add_nothing(add_markup(text, "<|end|><|start|>assistant"), behind);
    }
    return behind;
  }

  // An answer in text instead of calls, or before them.
  void add_text(Nfa::State from, Nfa::State call, Nfa::State end) {
    const CodePointSet all = CodePointSet::all();
    if (syntax_.layout == CallLayout::harmony) {
      const Nfa::State text = add_markup(from, "<|channel|>final<|message|>");
      nfa_.add_characters(text, text, all);
      nfa_.add_nothing(text, end);
    } else if (syntax_.may_be_bare) {
      nfa_.add_nothing(from, call);
      nfa_.add_nothing(from, end);
      const Nfa::State text = nfa_.add_state();
      nfa_.add_characters(
          from, text,
          CodePointSet({{'{', '{'}, {'[', '['}, {' ', ' '}, {'\t', '\r'}}).complement());
      nfa_.add_characters(text, text, all);
      nfa_.add_nothing(text, end);
    } else {
      add_text_without(syntax_.begin, from, call, end);
    }
  }

  Result<void> add_call(Nfa::State from, Nfa::State to, const CallableFunction& function,
                        const std::string& place) {
    Nfa::State at = add_markup(from, syntax_.before_name);
    at = nfa_.text_after(at, syntax_.name_prefix + function.name);
    if (syntax_.numbered) {
      at = nfa_.text_after(at, ":");
      const Nfa::State digits = nfa_.add_state();
      nfa_.add_characters(at, digits, CodePointSet({{'0', '9'}}));
      nfa_.add_characters(digits, digits, CodePointSet({{'0', '9'}}));
      at = digits;
    }
    at = add_markup(at, syntax_.after_name);
    const Nfa::State behind = nfa_.add_state();
    FLOE_TRY_VOID(add_arguments(at, behind, function, place + ".function.parameters"));
    nfa_.add_nothing(add_markup(behind, syntax_.after_arguments), to);
    return {};
  }

  Result<void> add_arguments(Nfa::State from, Nfa::State to, const CallableFunction& function,
                             const std::string& place) {
    static const std::string kAnyObject = R"({"type":"object"})";
    const std::string& text = function.parameters.empty() ? kAnyObject : function.parameters;
    Result<Json> parsed = parse_json(text);
    if (!parsed.ok()) return usage_error("{}: {}", place, parsed.error().message);
    const Json& schema = schemas_.emplace_back(std::move(*parsed));
    if (syntax_.layout == CallLayout::tagged) {
      return add_tagged(from, to, schema, function.is_strict, place);
    }
    if (syntax_.layout == CallLayout::braces || syntax_.layout == CallLayout::python) {
      return literals_.add_arguments(from, to, schema, function.is_strict, place);
    }
    if (!function.is_strict && !can_be_done(schema)) {
      nfa_.add_call(from, to, terminals_.object());
      return {};
    }
    FLOE_TRY(const Json object, object_of(schema, place));
    const Json& kept = schemas_.emplace_back(object);
    SchemaReader& reader = readers_.emplace_back(nfa_, terminals_, schema, place);
    FLOE_TRY(const Nfa::Rule rule, reader.read({&kept, "#"}));
    nfa_.add_call(from, to, rule);
    return {};
  }

  // Whether the schema alone makes a grammar. Tried apart, so that a fault leaves nothing behind.
  bool can_be_done(const Json& schema) {
    CompileLimits limits = nfa_.work().limits();
    limits.max_steps /= kMaxFailedTrials;
    if (compile_json_schema(schema, limits).ok()) return true;
    nfa_.work().spend(limits.max_steps);
    return false;
  }

  // Arguments are an object, whatever else the schema would let them be.
  Result<Json> object_of(const Json& schema, const std::string& place) const {
    static const Json kObject = {{"type", "object"}};
    Result<Json> joined = join_schemas(schema, {{&schema, "#"}, {&kObject, "#"}});
    if (!joined.ok()) return usage_error("{}{}", place, joined.error().message);
    return joined;
  }

  // Each argument between its tags, in the order of the schema, optional ones or not.
  Result<void> add_tagged(Nfa::State from, Nfa::State to, const Json& schema, bool is_strict,
                          const std::string& place) {
    FLOE_TRY(const Json object, object_of(schema, place));
    const Json& joined = schemas_.emplace_back(object);
    static const Json kAnything(true);
    std::vector<std::pair<std::string, PlacedSchema>> arguments;
    std::set<std::string> required;
    std::set<std::string> listed;
    if (joined.is_object() && joined.contains("properties") && joined["properties"].is_object()) {
      for (const auto& [name, value] : joined["properties"].items()) {
        arguments.push_back({name, {&value, "#/properties/" + name}});
        listed.insert(name);
      }
    }
    if (joined.is_object() && joined.contains("required") && joined["required"].is_array()) {
      for (const Json& name : joined["required"]) {
        if (!name.is_string()) continue;
        required.insert(name.get<std::string>());
        if (listed.insert(name.get<std::string>()).second) {
          arguments.push_back({name.get<std::string>(), {&kAnything, "#"}});
        }
      }
    }
    SchemaReader& reader = readers_.emplace_back(nfa_, terminals_, schema, place);
    Nfa::State at = from;
    for (const auto& [name, argument] : arguments) {
      const Nfa::State key = add_markup(at, syntax_.before_key);
      const Nfa::State value = add_markup(nfa_.text_after(key, name), syntax_.after_key);
      const Nfa::State behind = nfa_.add_state();
      const PlacedSchema bound =
          is_strict || can_be_done(*argument.schema) ? argument : PlacedSchema{&kAnything, "#"};
      FLOE_TRY_VOID(add_value(value, behind, reader, schema, bound, place));
      const Nfa::State next = add_markup(behind, syntax_.after_value);
      if (!required.contains(name)) nfa_.add_nothing(at, next);
      at = next;
    }
    nfa_.add_nothing(at, to);
    return {};
  }

  // A value between tags: strings as they are, all else as JSON.
  Result<void> add_value(Nfa::State from, Nfa::State to, SchemaReader& reader, const Json& root,
                         const PlacedSchema& argument, const std::string& place) {
    const Nfa::State plain = add_markup(from, syntax_.before_value);
    const Nfa::State json =
        syntax_.before_json_value.empty() ? plain : add_markup(from, syntax_.before_json_value);
    std::vector<PlacedSchema> waiting{argument};
    while (!waiting.empty()) {
      if (!nfa_.work().spend(1000)) return usage_error("{}: {}", place, nfa_.work().reason());
      const PlacedSchema next = std::move(waiting.back());
      waiting.pop_back();
      Result<Json> joined = join_schemas(root, {next});
      if (!joined.ok()) return usage_error("{}{}", place, joined.error().message);
      const Json& schema = schemas_.emplace_back(std::move(*joined));
      if (schema.is_boolean()) {
        if (schema.get<bool>()) add_string(plain, to);
        continue;
      }
      const char* alternatives = schema.contains("anyOf") ? "anyOf" : "oneOf";
      if (schema.contains(alternatives) && schema[alternatives].is_array()) {
        Json& beside = schemas_.emplace_back(schema);
        beside.erase(alternatives);
        for (const Json& one : schema[alternatives]) {
          const std::string at = next.place + "/" + alternatives;
          Result<Json> both = join_schemas(root, {{&beside, next.place}, {&one, at}});
          if (!both.ok()) return usage_error("{}{}", place, both.error().message);
          waiting.push_back({&schemas_.emplace_back(std::move(*both)), at});
        }
        continue;
      }
      FLOE_TRY_VOID(add_typed_value(plain, json, to, reader, {&schema, next.place}, place));
    }
    return {};
  }

  Result<void> add_typed_value(Nfa::State plain, Nfa::State json, Nfa::State to,
                               SchemaReader& reader, const PlacedSchema& placed,
                               const std::string& place) {
    const Json& schema = *placed.schema;
    if (schema.contains("enum") || schema.contains("const")) {
      Json values = schema.contains("enum") ? schema["enum"] : Json::array({schema["const"]});
      if (!values.is_array())
        return usage_error("{}{}/enum: expected an array", place, placed.place);
      Json others = Json::array();
      for (const Json& value : values) {
        if (!value.is_string()) {
          others.push_back(value);
        } else if (is_kept_apart(value.get_ref<const std::string&>())) {
          nfa_.add_text(plain, to, value.get_ref<const std::string&>());
        }
      }
      if (others.empty()) return {};
      Json& rest = schemas_.emplace_back(schema);
      rest.erase("const");
      rest["enum"] = others;
      FLOE_TRY(const Nfa::Rule rule, reader.read({&rest, placed.place}));
      nfa_.add_call(json, to, rule);
      return {};
    }
    std::vector<std::string> types;
    if (schema.contains("type")) {
      const Json& type = schema["type"];
      for (const Json& name : type.is_array() ? type : Json::array({type})) {
        if (name.is_string()) types.push_back(name.get<std::string>());
      }
    }
    const auto string = std::find(types.begin(), types.end(), "string");
    const bool says_string = schema.contains("pattern") || schema.contains("minLength") ||
                             schema.contains("maxLength") || schema.contains("format");
    if (string != types.end() || (types.empty() && says_string)) {
      FLOE_TRY_VOID(add_bound_string(plain, to, placed, place));
    }
    if (types.empty()) {
      if (schema.empty() ||
          std::all_of(schema.items().begin(), schema.items().end(),
                      [](const auto& entry) { return is_annotation(entry.key()); })) {
        add_string(plain, to);
        return {};
      }
      if (says_string) return {};
    } else {
      std::erase(types, "string");
      if (types.empty()) return {};
    }
    Json& rest = schemas_.emplace_back(schema);
    if (!types.empty()) rest["type"] = types;
    FLOE_TRY(const Nfa::Rule rule, reader.read({&rest, placed.place}));
    nfa_.add_call(json, to, rule);
    return {};
  }

  Result<void> add_bound_string(Nfa::State from, Nfa::State to, const PlacedSchema& placed,
                                const std::string& place) {
    const Json& schema = *placed.schema;
    for (const char* keyword : {"minLength", "maxLength", "pattern"}) {
      if (!schema.contains(keyword)) continue;
      // Where tags end a text, counting and matching would have to know of them.
      return usage_error("{}{}/{}: is not supported for calls in this model's format", place,
                         placed.place, keyword);
    }
    add_string(from, to);
    return {};
  }

  // Any text that does not end itself.
  void add_string(Nfa::State from, Nfa::State to) {
    const std::string_view end = end_of_value();
    const Nfa::State begin = nfa_.add_state();
    nfa_.add_nothing(from, begin);
    if (end.empty()) {
      nfa_.add_characters(begin, begin, CodePointSet::all());
      nfa_.add_nothing(begin, to);
      return;
    }
    add_text_without(end, begin, std::nullopt, to);
  }

  // Any text in which `end` does not come, up to `to`; where it has come, `behind` follows.
  void add_text_without(std::string_view end, Nfa::State begin, std::optional<Nfa::State> behind,
                        Nfa::State to) {
    // How much of the end has been written, in characters.
    std::vector<uint32_t> characters;
    uint32_t code_point = 0;
    for (size_t i = 0; next_code_point(end, i, code_point);) characters.push_back(code_point);
    std::vector<Nfa::State> states{begin};
    while (states.size() < characters.size()) states.push_back(nfa_.add_state());
    for (size_t n = 0; n < states.size(); ++n) {
      nfa_.add_nothing(states[n], to);
      std::map<size_t, std::vector<CodePointRange>> targets;
      std::vector<CodePointRange> named;
      for (const uint32_t c : std::set<uint32_t>(characters.begin(), characters.end())) {
        named.push_back({c, c});
        std::vector<uint32_t> written(characters.begin(),
                                      characters.begin() + static_cast<ptrdiff_t>(n));
        written.push_back(c);
        size_t matched = written.size();
        while (matched > 0 && !std::equal(written.end() - static_cast<ptrdiff_t>(matched),
                                          written.end(), characters.begin())) {
          --matched;
        }
        targets[matched].push_back({c, c});
      }
      nfa_.add_characters(states[n], begin, CodePointSet(std::move(named)).complement());
      for (auto& [matched, ranges] : targets) {
        if (matched == characters.size() && !behind) continue;
        nfa_.add_characters(states[n], matched == characters.size() ? *behind : states[matched],
                            CodePointSet(std::move(ranges)));
      }
    }
  }

  // What ends a value, where it is text; empty where it is a token, which no text has.
  std::string_view end_of_value() const {
    const std::string_view end = without_blanks(syntax_.after_value);
    return marker_at(format_, end) != nullptr ? std::string_view() : end;
  }
  bool is_kept_apart(const std::string& text) const {
    const std::string_view end = end_of_value();
    return end.empty() || text.find(end) == std::string::npos;
  }

  const AnswerFormat& format_;
  const CallSyntax& syntax_;
  const CallGrammarOptions& options_;
  Nfa& nfa_;
  JsonTerminals terminals_;
  CallLiterals literals_;
  std::deque<Json> schemas_;  // what readers refer to
  std::deque<SchemaReader> readers_;
};

}  // namespace

int32_t call_begin_token(const AnswerFormat& format) {
  // The first token of a message tells nothing, and bare calls have none.
  if (format.calls.layout == CallLayout::harmony || format.calls.may_be_bare) return -1;
  const AnswerFormat::Marker* marker = marker_at(format, format.calls.begin);
  return marker == nullptr ? -1 : marker->id;
}

Result<Automaton> make_call_grammar(const AnswerFormat& format,
                                    std::span<const CallableFunction> functions,
                                    const CallGrammarOptions& options,
                                    const CompileLimits& limits) {
  size_t n_bytes = 0;
  for (const CallableFunction& function : functions) n_bytes += function.parameters.size();
  if (n_bytes > limits.max_source_bytes) {
    return usage_error("schemas of {} bytes are over the limit of {}", n_bytes,
                       limits.max_source_bytes);
  }
  CompileWork work(limits);
  Nfa nfa(work);
  CallGrammar grammar(format, options, nfa);
  FLOE_TRY(const Nfa::Rule root, grammar.run(functions));
  return make_automaton(nfa, root, work);
}

}  // namespace floe

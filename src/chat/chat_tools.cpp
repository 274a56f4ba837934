#include "chat/chat_tools.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/json.h"

namespace floe {
namespace {

// Steps and bytes of all schemas of one request together.
constexpr size_t kMaxSchemaWork = size_t{1} << 22;

const Json* member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// Walks from schemas to their alternatives. One for all tools of a request, since the limit is
// theirs together.
class SchemaReader {
 public:
  // Calls visit(schema) for `schema` and every alternative of it, each once.
  template <typename Visit>
  void for_alternatives(const Json& root, const Json& schema, Visit&& visit) {
    std::vector<const Json*> open = {&schema};
    std::set<const Json*> seen;
    while (!open.empty()) {
      const Json& current = *open.back();
      open.pop_back();
      if (!current.is_object() || !seen.insert(&current).second) continue;
      if (!spend(current.size() + 1)) return;
      visit(current);
      for (const char* key : {"anyOf", "oneOf", "allOf"}) {
        const Json* list = member(current, key);
        if (list == nullptr || !list->is_array() || !spend(list->size())) continue;
        for (const Json& one : *list) open.push_back(&one);
      }
      for (const char* key : {"then", "else"}) {
        if (const Json* one = member(current, key)) open.push_back(one);
      }
      const Json* reference = member(current, "$ref");
      if (reference == nullptr || !reference->is_string()) continue;
      const std::string& text = reference->get_ref<const std::string&>();
      if (!spend(text.size())) continue;
      if (const Json* target = resolve(root, text)) open.push_back(target);
    }
  }

  void read(const Json& root, const Json& schema, ArgumentType& out) {
    for_alternatives(root, schema, [&](const Json& s) { read_one(s, out); });
  }

  bool spend(size_t work) {
    if (work > left_) left_ = 0;
    left_ -= std::min(work, left_);
    return left_ > 0;
  }

 private:
  // The target of "#/a/b" inside `root`; nullptr where there is none, or for any other reference.
  const Json* resolve(const Json& root, std::string_view reference) {
    if (reference.empty() || reference.front() != '#') return nullptr;
    reference.remove_prefix(1);
    const Json* at = &root;
    while (!reference.empty()) {
      if (reference.front() != '/' || !spend(at->size() + 1)) return nullptr;
      reference.remove_prefix(1);
      const size_t end = std::min(reference.find('/'), reference.size());
      std::string key;
      for (size_t i = 0; i < end; ++i) {
        const bool escape = reference[i] == '~' && i + 1 < end;
        if (escape && (reference[i + 1] == '0' || reference[i + 1] == '1')) {
          key += reference[++i] == '0' ? '~' : '/';
        } else {
          key += reference[i];
        }
      }
      reference.remove_prefix(end);
      if (at->is_object()) {
        at = member(*at, key.c_str());
        if (at == nullptr) return nullptr;
      } else if (at->is_array() && !key.empty() && key.size() < 7 &&
                 std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; })) {
        const size_t index = std::stoul(key);
        if (index >= at->size()) return nullptr;
        at = &(*at)[index];
      } else {
        return nullptr;
      }
    }
    return at;
  }

  void read_one(const Json& schema, ArgumentType& out) {
    const auto allow = [&](const Json& type) {
      if (type == "string") out.allows_strings = true;
      if (type == "null") out.allows_null = true;
    };
    const auto list = [&](const Json& value) {
      if (value.is_null()) out.allows_null = true;
      if (value.is_string()) out.allows_strings = true;
      const std::string text = value.is_string() ? value.get<std::string>() : dump_json(value);
      if (spend(text.size() + 1)) (value.is_string() ? out.strings : out.others).push_back(text);
    };
    const Json* type = member(schema, "type");
    if (type != nullptr && type->is_array()) {
      if (spend(type->size())) std::for_each(type->begin(), type->end(), allow);
    } else if (type != nullptr) {
      allow(*type);
    } else {
      // Rules for strings alone, where no type was named.
      for (const char* key : {"pattern", "format", "minLength", "maxLength", "contentEncoding"}) {
        if (member(schema, key) != nullptr) out.allows_strings = true;
      }
    }
    if (const Json* nullable = member(schema, "nullable"); nullable != nullptr) {
      if (*nullable == true) out.allows_null = true;
    }
    if (const Json* one = member(schema, "const")) list(*one);
    if (const Json* all = member(schema, "enum"); all != nullptr && all->is_array()) {
      if (spend(all->size())) std::for_each(all->begin(), all->end(), list);
    }
  }

  size_t left_ = kMaxSchemaWork;
};

Result<ChatTool> make_tool(const Json& definition, SchemaReader& reader) {
  if (!definition.is_object()) return usage_error("expected an object");
  const Json* function = member(definition, "function");
  if (function == nullptr) function = &definition;
  const Json* name = function->is_object() ? member(*function, "name") : nullptr;
  if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().empty()) {
    return usage_error("expected a function with a name");
  }
  const Json* parameters = member(*function, "parameters");
  if (parameters != nullptr && !parameters->is_object()) parameters = nullptr;
  ChatTool tool;
  tool.name = name->get<std::string>();
  tool.definition = std::make_shared<const Json>(
      function == &definition ? Json{{"type", "function"}, {"function", definition}} : definition);
  if (parameters == nullptr) return tool;
  const Json& root = *parameters;
  reader.for_alternatives(root, root, [&](const Json& schema) {
    const Json* properties = member(schema, "properties");
    if (properties != nullptr && properties->is_object()) {
      for (const auto& [key, value] : properties->items()) {
        if (!reader.spend(key.size() + 1)) return;
        reader.read(root, value, tool.arguments[key]);
      }
    }
    if (const Json* others = member(schema, "additionalProperties")) {
      reader.read(root, *others, tool.other_arguments);
    }
    const Json* patterns = member(schema, "patternProperties");
    if (patterns == nullptr || !patterns->is_object()) return;
    for (const auto& [pattern, value] : patterns->items()) {
      reader.read(root, value, tool.other_arguments);
    }
  });
  return tool;
}

// The JSON value that `text` spells, in one line, unless it is a string or no JSON at all.
std::optional<std::string> other_value(std::string_view text) {
  const Result<Json> parsed = parse_json(text);
  if (!parsed.ok() || parsed->is_string()) return std::nullopt;
  return dump_json(*parsed);
}

}  // namespace

bool ArgumentType::is_string(std::string_view text) const {
  if (is_always_string()) return true;
  if (std::find(strings.begin(), strings.end(), text) != strings.end()) return true;
  const std::optional<std::string> other = other_value(text);
  if (!other) return true;
  if (!allows_strings) return false;
  if (*other == "null" && allows_null) return false;
  return std::find(others.begin(), others.end(), *other) == others.end();
}

const ArgumentType& ChatTool::argument(std::string_view argument_name) const {
  const auto found = arguments.find(argument_name);
  return found == arguments.end() ? other_arguments : found->second;
}

Result<ChatTools> make_chat_tools(const Json& definitions) {
  if (!definitions.is_array()) return usage_error("tools: expected an array");
  SchemaReader reader;
  std::vector<ChatTool> tools;
  tools.reserve(definitions.size());
  for (const Json& definition : definitions) {
    Result<ChatTool> tool = make_tool(definition, reader);
    if (!tool.ok()) return usage_error("tools[{}]: {}", tools.size(), tool.error().message);
    tools.push_back(std::move(tool).value());
  }
  return ChatTools(std::make_shared<const std::vector<ChatTool>>(std::move(tools)));
}

const ChatTool* find_tool(const ChatTools& tools, std::string_view name) {
  if (tools == nullptr) return nullptr;
  const auto found = std::find_if(tools->begin(), tools->end(),
                                  [&](const ChatTool& tool) { return tool.name == name; });
  return found == tools->end() ? nullptr : &*found;
}

std::string python_json(const Json& value) {
  // dump_json puts no blanks outside strings, so those behind , and : are all that is missing.
  const std::string compact = dump_json(value);
  std::string out;
  out.reserve(compact.size() + compact.size() / 8);
  bool in_string = false;
  for (size_t i = 0; i < compact.size(); ++i) {
    const char c = compact[i];
    out.push_back(c);
    if (in_string && c == '\\') {
      out.push_back(compact[++i]);
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == ',' || c == ':')) {
      out.push_back(' ');
    }
  }
  return out;
}

}  // namespace floe

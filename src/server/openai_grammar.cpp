#include "server/openai_grammar.h"

#include <fmt/format.h>

#include <utility>

#include "base/json.h"
#include "server/openai_json.h"

namespace floe {

namespace {

class GrammarFields {
 public:
  explicit GrammarFields(std::optional<GrammarAsk>& out) : out_(out) {}

  std::optional<ApiError> take(GrammarKind kind, std::string text, const std::string& field) {
    if (out_ && (out_->kind != kind || out_->text != text)) {
      return ApiError::invalid(
          field,
          fmt::format("{} and {} ask for different things of one answer", out_->field, field));
    }
    if (!out_) out_ = GrammarAsk{kind, std::move(text), field};
    return std::nullopt;
  }

  // A schema, or one as text: vLLM takes both.
  std::optional<ApiError> schema(const Json& value, const std::string& field) {
    if (value.is_string()) {
      if (value.get_ref<const std::string&>().empty()) return std::nullopt;
      return take(GrammarKind::json_schema, value.get<std::string>(), field);
    }
    if (!value.is_object() && !value.is_boolean()) {
      return ApiError::invalid(field, field + " must be a JSON schema");
    }
    return take(GrammarKind::json_schema, dump_json(value), field);
  }

  std::optional<ApiError> text(GrammarKind kind, const Json& value, const std::string& field) {
    if (!value.is_string()) return ApiError::invalid(field, field + " must be a string");
    if (value.get_ref<const std::string&>().empty()) return std::nullopt;
    return take(kind, value.get<std::string>(), field);
  }

  std::optional<ApiError> choice(const Json& value, const std::string& field) {
    if (!value.is_array()) return ApiError::invalid(field, field + " must be an array of strings");
    if (value.empty()) return std::nullopt;
    return take(GrammarKind::choice, dump_json(value), field);
  }

  std::optional<ApiError> object(const Json& value, const std::string& field) {
    if (!value.is_boolean()) return ApiError::invalid(field, field + " must be true or false");
    if (!value.get<bool>()) return std::nullopt;
    return take(GrammarKind::json_object, "", field);
  }

 private:
  std::optional<GrammarAsk>& out_;
};

std::optional<ApiError> read_response_format(const Json& format, GrammarFields& fields) {
  const std::string field = "response_format";
  if (!format.is_object()) {
    return ApiError::invalid(field, "response_format must be an object with a type");
  }
  if (format.empty()) return std::nullopt;
  const Json* type = find_member(format, "type");
  if (type != nullptr && *type == "text") return std::nullopt;
  if (type != nullptr && *type == "json_object") {
    // llama.cpp's short form.
    if (const Json* schema = find_member(format, "schema")) return fields.schema(*schema, field);
    return fields.take(GrammarKind::json_object, "", field);
  }
  if (type != nullptr && *type == "json_schema") {
    const Json* inner = find_member(format, "json_schema");
    const Json* schema = inner != nullptr && inner->is_object() ? find_member(*inner, "schema")
                                                                : find_member(format, "schema");
    if (schema == nullptr) {
      return ApiError::invalid(field,
                               "response_format.json_schema must be an object with a schema");
    }
    return fields.schema(*schema, field);
  }
  return ApiError::invalid(field,
                           "response_format must have the type text, json_object or json_schema");
}

std::optional<ApiError> read_structured_outputs(const Json& value, GrammarFields& fields) {
  const std::string field = "structured_outputs";
  if (!value.is_object()) return ApiError::invalid(field, field + " must be an object");
  for (const auto& [name, member] : value.items()) {
    if (member.is_null()) continue;
    const std::string place = field + "." + name;
    std::optional<ApiError> fault;
    if (name == "json") {
      fault = fields.schema(member, place);
    } else if (name == "regex") {
      fault = fields.text(GrammarKind::regex, member, place);
    } else if (name == "choice") {
      fault = fields.choice(member, place);
    } else if (name == "grammar") {
      fault = fields.text(GrammarKind::gbnf, member, place);
    } else if (name == "json_object") {
      fault = fields.object(member, place);
    } else {
      return ApiError::invalid(
          field, "structured_outputs may hold json, regex, choice, grammar and json_object");
    }
    if (fault) return fault;
  }
  return std::nullopt;
}

}  // namespace

std::optional<ApiError> read_output_grammar(const Json& body, std::optional<GrammarAsk>& out) {
  GrammarFields fields(out);
  if (const Json* format = find_member(body, "response_format")) {
    if (auto fault = read_response_format(*format, fields)) return fault;
  }
  for (const char* name : {"json_schema", "guided_json"}) {
    const Json* value = find_member(body, name);
    if (value == nullptr) continue;
    if (auto fault = fields.schema(*value, name)) return fault;
  }
  const std::pair<const char*, GrammarKind> texts[] = {{"grammar", GrammarKind::gbnf},
                                                       {"guided_grammar", GrammarKind::gbnf},
                                                       {"guided_regex", GrammarKind::regex},
                                                       {"regex", GrammarKind::regex}};
  for (const auto& [name, kind] : texts) {
    const Json* value = find_member(body, name);
    if (value == nullptr) continue;
    if (auto fault = fields.text(kind, *value, name)) return fault;
  }
  if (const Json* value = find_member(body, "guided_choice")) {
    if (auto fault = fields.choice(*value, "guided_choice")) return fault;
  }
  if (const Json* value = find_member(body, "guided_json_object")) {
    if (auto fault = fields.object(*value, "guided_json_object")) return fault;
  }
  if (const Json* value = find_member(body, "structured_outputs")) {
    return read_structured_outputs(*value, fields);
  }
  return std::nullopt;
}

}  // namespace floe

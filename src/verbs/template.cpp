#include "template/template.h"

#include <fmt/format.h>

#include <chrono>

#include "base/json.h"
#include "store/gguf.h"
#include "text/tokenizer.h"
#include "verbs/model_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

// Roles that chat bodies have; templates may spell them into markers.
const std::vector<std::string> kRoles = {"system",    "developer", "user",
                                         "assistant", "tool",      "function"};

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? "" : std::string(tokenizer.token_bytes(id));
}

// What a chat body becomes for the template: its members, and those of chat_template_kwargs.
Json variables_of(const Json& body) {
  Json variables = body;
  if (const auto kwargs = body.find("chat_template_kwargs");
      kwargs != body.end() && kwargs->is_object()) {
    variables.erase("chat_template_kwargs");
    for (const auto& [name, value] : kwargs->items()) variables[name] = value;
  }
  if (!variables.contains("add_generation_prompt")) variables["add_generation_prompt"] = true;
  return variables;
}

std::vector<TextPart> parts_of(const jinja::MarkedText& text) {
  std::vector<TextPart> parts;
  size_t begin = 0;
  for (const jinja::MarkedText::Run& run : text.runs()) {
    parts.push_back(
        {text.bytes().substr(begin, run.end - begin), run.origin == jinja::Origin::author});
    begin = run.end;
  }
  return parts;
}

}  // namespace

Result<int> run_template(std::span<const std::string> arguments) {
  std::string model_path;
  std::string template_path;
  std::string messages_path;
  std::string format = "text";
  OptionTable table("template", "(-m FILE | --template FILE) --messages FILE [options]",
                    "Prints the prompt that a chat template makes of a conversation, byte for "
                    "byte, with no line break added.");
  table.add("-m,--model", "FILE", &model_path,
            "GGUF model or vocabulary: its template, and the words it names as bos_token and "
            "eos_token");
  table.add("--template", "FILE", &template_path,
            "Jinja template; with -m it takes the place of the model's own");
  table.add("--messages", "FILE", &messages_path,
            "JSON body of a chat request: messages, tools, chat_template_kwargs, "
            "add_generation_prompt");
  table.add("-o,--output", "FORMAT", &format,
            "text, or json: {\"prompt\", and with -m \"tokens\"}. Tokens are special only where "
            "the template wrote them");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (model_path.empty() && template_path.empty()) {
    return usage_error("expected -m or --template");
  }
  if (messages_path.empty()) return usage_error("--messages: expected a file");
  if (format != "text" && format != "json") {
    return usage_error("-o: expected text or json, found '{}'", format);
  }
  std::string source;
  std::unique_ptr<const Tokenizer> tokenizer;
  Json constants = Json::object();
  if (!model_path.empty()) {
    FLOE_TRY(const GgufFile gguf, GgufFile::open(model_path, NoTensors::allow));
    FLOE_TRY(tokenizer, Tokenizer::load(gguf));
    source = tokenizer->chat_template();
    constants["bos_token"] = token_text(*tokenizer, tokenizer->bos_id());
    constants["eos_token"] = token_text(*tokenizer, tokenizer->eos_id());
  }
  if (!template_path.empty()) {
    FLOE_TRY(source, read_text_file(template_path));
  } else if (source.empty()) {
    return model_error("{}: tokenizer.chat_template: expected a template, found none", model_path);
  }
  FLOE_TRY(const auto chat_template, jinja::Template::parse(source));
  FLOE_TRY(const std::string body_text, read_text_file(messages_path));
  auto body = parse_json(body_text);
  if (!body.ok()) return usage_error("{}: {}", messages_path, body.error().message);
  if (!body->is_object() || !body->contains("messages") || !(*body)["messages"].is_array()) {
    return usage_error("{}: expected an object with an array \"messages\"", messages_path);
  }
  const Json variables = variables_of(*body);
  jinja::TemplateInput input;
  input.variables = &variables;
  input.constants = &constants;
  input.roles = kRoles;
  input.now_unix_seconds = std::chrono::duration_cast<std::chrono::seconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  FLOE_TRY(const jinja::MarkedText prompt, chat_template.render(input));
  if (format == "text") {
    std::fwrite(prompt.bytes().data(), 1, prompt.size(), stdout);
    return 0;
  }
  Json json;
  json["prompt"] = prompt.bytes();
  if (tokenizer != nullptr) json["tokens"] = tokenizer->encode_parts(parts_of(prompt));
  fmt::print("{}\n", dump_json(json));
  return 0;
}

}  // namespace floe

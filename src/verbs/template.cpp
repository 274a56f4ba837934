#include "template/template.h"

#include <fmt/format.h>

#include "base/json.h"
#include "chat/chat_template.h"
#include "chat/template_rendering.h"
#include "store/gguf.h"
#include "text/tokenizer.h"
#include "verbs/model_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

// What a chat body becomes for the template: its members as they stand, and those of
// chat_template_kwargs.
Json variables_of(const Json& body) {
  Json variables = body;
  if (const auto kwargs = body.find("chat_template_kwargs");
      kwargs != body.end() && kwargs->is_object()) {
    variables.erase("chat_template_kwargs");
    for (const auto& [name, value] : kwargs->items()) variables[name] = value;
  }
  variables.erase("continue_final_message");
  if (!variables.contains("add_generation_prompt")) variables["add_generation_prompt"] = true;
  return variables;
}

bool continues(const Json& body) {
  const auto found = body.find("continue_final_message");
  return found != body.end() && *found == true && !body["messages"].empty();
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
  ChatTemplateSource source;
  std::unique_ptr<const Tokenizer> tokenizer;
  Json constants = Json::object();
  if (!model_path.empty()) {
    FLOE_TRY(const GgufFile gguf, GgufFile::open(model_path, NoTensors::allow));
    FLOE_TRY(tokenizer, Tokenizer::load(gguf));
    constants = template_constants(*tokenizer);
    if (template_path.empty()) {
      FLOE_TRY(source, find_chat_template({}, *tokenizer, &gguf));
    }
  }
  if (!template_path.empty()) {
    FLOE_TRY(source.text, read_text_file(template_path));
  }
  FLOE_TRY(const std::string body_text, read_text_file(messages_path));
  auto body = parse_json(body_text);
  if (!body.ok()) return usage_error("{}: {}", messages_path, body.error().message);
  if (!body->is_object() || !body->contains("messages") || !(*body)["messages"].is_array()) {
    return usage_error("{}: expected an object with an array \"messages\"", messages_path);
  }
  const Json variables = variables_of(*body);
  const auto tools = variables.find("tools");
  const bool with_tools = tools != variables.end() && !tools->empty() && !source.tool_use.empty();
  FLOE_TRY(const auto program, jinja::Template::parse(with_tools ? source.tool_use : source.text));
  TemplateRendering rendering;
  rendering.constants = &constants;
  rendering.now_unix_seconds = unix_seconds_now();
  jinja::MarkedText prompt;
  if (continues(*body)) {
    FLOE_TRY(auto open, render_open(program, variables, "content", rendering));
    if (!open) {
      return usage_error("{}: messages: the template leaves out the content that is to go on",
                         messages_path);
    }
    prompt = std::move(*open);
  } else {
    FLOE_TRY(prompt, render_template(program, variables, rendering));
  }
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

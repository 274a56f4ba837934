#include "chat/chat_template.h"

#include <algorithm>

#include "base/json.h"
#include "chat/answer_format.h"
#include "chat/template_probe.h"
#include "chat/template_rendering.h"
#include "chat/template_variables.h"

namespace floe {
namespace {

// Of what a template says about a conversation: it may quote a message.
constexpr size_t kMaxFaultBytes = 500;

Error shortened(Error error) {
  std::string& text = error.message;
  if (text.size() <= kMaxFaultBytes) return error;
  size_t end = kMaxFaultBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
  text += "...";
  return error;
}

Result<void> check_roles(std::span<const ChatMessage> messages) {
  if (messages.empty()) return usage_error("messages: expected at least one message, found none");
  constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};
  for (size_t i = 0; i < messages.size(); ++i) {
    if (std::find(std::begin(kRoles), std::end(kRoles), messages[i].role) != std::end(kRoles)) {
      continue;
    }
    return usage_error(
        "messages[{}].role: expected system, developer, user, assistant or tool, found another "
        "value",
        i);
  }
  return {};
}

// The request's variables over those of every conversation.
ChatOptions with_kwargs(const ChatOptions& request, const std::shared_ptr<const Json>& kwargs) {
  ChatOptions options = request;
  if (kwargs == nullptr) return options;
  Json all = *kwargs;
  if (!options.reasoning_effort.empty()) all.erase("reasoning_effort");
  if (request.template_kwargs != nullptr) {
    for (const auto& [name, value] : request.template_kwargs->items()) all[name] = value;
  }
  for (const char* name : {"thinking", "enable_thinking"}) {
    if (request.enable_thinking || !kwargs->contains(name)) continue;
    options.enable_thinking = kwargs->at(name).get<bool>();
  }
  options.template_kwargs = std::make_shared<const Json>(std::move(all));
  return options;
}

}  // namespace

struct ChatTemplate::Loaded {
  struct Variant {
    jinja::Template program;
    TemplateTraits traits;
  };
  ChatTemplateSource source;
  Json constants = Json::object();
  std::string reasoning_open;
  Variant plain;
  std::optional<Variant> with_tools;
  const Tokenizer* tokenizer;

  const Variant& variant(const ChatOptions& options) const {
    const bool tools = options.tools != nullptr && !options.tools->empty();
    return tools && with_tools ? *with_tools : plain;
  }
};

struct ChatTemplate::Prompt {
  jinja::MarkedText text;
  bool inside_reasoning = false;
  bool continues = false;
};

Result<ChatTemplate> ChatTemplate::create(ChatTemplateSource source, const Tokenizer& tokenizer) {
  const Json constants = template_constants(tokenizer);
  std::string open = detect_answer_format(source.text, tokenizer).reasoning.open;
  const auto variant = [&](const std::string& text) -> Result<Loaded::Variant> {
    auto program = jinja::Template::parse(text);
    if (!program.ok()) return model_error("{}: {}", source.name, program.error().message);
    TemplateTraits traits = probe_template(*program, text, constants, open);
    return Loaded::Variant{std::move(*program), std::move(traits)};
  };
  FLOE_TRY(Loaded::Variant plain, variant(source.text));
  std::optional<Loaded::Variant> with_tools;
  if (!source.tool_use.empty()) {
    FLOE_TRY(with_tools, variant(source.tool_use));
  }
  return ChatTemplate(
      std::make_shared<const Loaded>(Loaded{std::move(source), constants, std::move(open),
                                            std::move(plain), std::move(with_tools), &tokenizer}));
}

Result<ChatTemplate> ChatTemplate::load(const ChatTemplateChoice& choice,
                                        const Tokenizer& tokenizer, const GgufMetadata* metadata) {
  FLOE_TRY(ChatTemplateSource source, find_chat_template(choice, tokenizer, metadata));
  auto made = create(std::move(source), tokenizer);
  // Whoever chose a template wants that one.
  if (!made.ok() && choice.is_made()) return usage_error("{}", made.error().message);
  return made;
}

Result<ChatTemplate::Prompt> ChatTemplate::make(std::span<const ChatMessage> messages,
                                                const ChatOptions& request,
                                                const std::function<bool()>& cancelled) const {
  FLOE_TRY_VOID(check_roles(messages));
  const ChatOptions options = with_kwargs(request, loaded_->source.kwargs);
  const Loaded::Variant& variant = loaded_->variant(options);
  const TemplateShapes& shapes = variant.traits.shapes;
  if (options.tools != nullptr && !options.tools->empty() && variant.traits.fault.empty() &&
      !variant.traits.supports_tools) {
    return usage_error("tools: this model's chat template has no place for them");
  }
  TemplateRendering rendering;
  rendering.constants = &loaded_->constants;
  rendering.now_unix_seconds = options.now_unix_seconds.value_or(unix_seconds_now());
  rendering.cancelled = cancelled;
  Prompt prompt;
  const auto finish = [&](const ChatOptions& how) -> Result<Prompt> {
    auto text =
        render_template(variant.program, template_variables(messages, how, shapes), rendering);
    if (!text.ok()) return shortened(text.error());
    prompt.text = std::move(*text);
    prompt.inside_reasoning = ends_with_marker(prompt.text, loaded_->reasoning_open);
    return std::move(prompt);
  };
  if (!options.continue_final_message) return finish(options);
  const ChatMessage& last = messages.back();
  if (last.role != "assistant" || !last.tool_calls.empty()) {
    return usage_error(
        "messages[{}]: expected a message of the assistant without tool calls, since the final "
        "message is to go on; found another one",
        messages.size() - 1);
  }
  const bool has_reasoning = last.reasoning_content && !last.reasoning_content->empty();
  if (!last.content.empty() || has_reasoning) {
    const bool reasoning = last.content.empty();
    auto open = render_open(variant.program, template_variables(messages, options, shapes),
                            reasoning ? shapes.reasoning_field : "content", rendering);
    if (!open.ok()) return shortened(open.error());
    if (*open) {
      prompt.text = std::move(**open);
      prompt.inside_reasoning = reasoning;
      prompt.continues = true;
      return prompt;
    }
    if (!reasoning) {
      return usage_error(
          "messages[{}]: expected a final message that can go on, but this model's chat template "
          "leaves its content out",
          messages.size() - 1);
    }
  }
  // A message in which nothing was said yet begins as any other; so does one whose reasoning the
  // template leaves out, with that reasoning.
  messages = messages.first(messages.size() - 1);
  ChatOptions how = options;
  how.add_generation_prompt = true;
  if (has_reasoning && last.content.empty()) how.enable_thinking = true;
  FLOE_TRY(prompt, finish(how));
  if (!has_reasoning || !last.content.empty()) return prompt;
  if (!prompt.inside_reasoning) {
    if (!variant.traits.has_reasoning) return prompt;
    prompt.text.append(loaded_->reasoning_open, jinja::Origin::author);
  }
  prompt.text.append(*last.reasoning_content, jinja::Origin::data);
  prompt.inside_reasoning = true;
  prompt.continues = true;
  return prompt;
}

Result<ChatPrompt> ChatTemplate::prompt(std::span<const ChatMessage> messages,
                                        const ChatOptions& options,
                                        const EncodeLimits& limits) const {
  ChatPrompt prompt;
  auto made = make(messages, options, limits.cancelled);
  if (!made.ok()) {
    if (!limits.cancelled || !limits.cancelled()) return made.error();
    prompt.end = Encoded::End::cancelled;
    return prompt;
  }
  const Tokenizer& tokenizer = *loaded_->tokenizer;
  Encoded encoded = tokenizer.encode_parts_within(parts_of(made->text), limits);
  prompt.ids = std::move(encoded.ids);
  prompt.end = encoded.end;
  prompt.n_tokens_at_least = encoded.n_tokens_at_least;
  // Most templates write it themselves.
  if (tokenizer.adds_bos() && (prompt.ids.empty() || prompt.ids.front() != tokenizer.bos_id())) {
    prompt.ids.insert(prompt.ids.begin(), tokenizer.bos_id());
  }
  prompt.inside_reasoning = made->inside_reasoning;
  prompt.continues = made->continues;
  return prompt;
}

Result<std::string> ChatTemplate::render(std::span<const ChatMessage> messages,
                                         const ChatOptions& options,
                                         const std::function<bool()>& cancelled) const {
  FLOE_TRY(const Prompt prompt, make(messages, options, cancelled));
  return std::string(prompt.text.bytes());
}

const ChatTemplateSource& ChatTemplate::source() const {
  return loaded_->source;
}

const TemplateTraits& ChatTemplate::traits() const {
  return loaded_->plain.traits;
}

bool ChatTemplate::thinks(const ChatOptions& request) const {
  const ChatOptions options = with_kwargs(request, loaded_->source.kwargs);
  return options.enable_thinking.value_or(loaded_->variant(options).traits.thinks_by_default);
}

bool ChatTemplate::supports_tools() const {
  return (loaded_->with_tools ? *loaded_->with_tools : loaded_->plain).traits.supports_tools;
}

}  // namespace floe

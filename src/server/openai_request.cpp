#include "server/openai_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"
#include "chat/chat_template.h"
#include "server/known_fields.h"
#include "server/openai_grammar.h"
#include "server/openai_json.h"
#include "server/openai_messages.h"
#include "server/openai_sampling.h"

namespace floe {
namespace {

std::optional<ApiError> read_stream_options(const Json& body, GenerationRequest& request) {
  const Json* value = find_member(body, "stream_options");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    return ApiError::invalid("stream_options", "stream_options must be an object");
  }
  bool usage_in_every_chunk = false;
  const std::pair<const char*, bool*> flags[] = {{"include_usage", &request.include_usage},
                                                 {"continuous_usage_stats", &usage_in_every_chunk}};
  for (const auto& [name, out] : flags) {
    const Json* flag = find_member(*value, name);
    if (flag == nullptr) continue;
    if (!flag->is_boolean()) {
      return ApiError::invalid("stream_options",
                               fmt::format("stream_options.{} must be true or false", name));
    }
    *out = flag->get<bool>();
  }
  if (usage_in_every_chunk) {
    return ApiError::invalid("stream_options",
                             "stream_options.continuous_usage_stats is not supported: usage comes "
                             "in the last chunk");
  }
  return std::nullopt;
}

// {"type": "content", "content": ...}, the content a string or an array of text parts.
// Of vLLM and SGLang. Both may be there: prompts share where both are the same.
std::optional<ApiError> read_cache_salt(const Json& body, GenerationRequest& request) {
  for (const char* name : {"cache_salt", "extra_key"}) {
    const Json* value = find_member(body, name);
    if (value == nullptr) continue;
    if (!value->is_string())
      return ApiError::invalid(name, fmt::format("{} must be a string", name));
    const std::string& salt = value->get_ref<const std::string&>();
    request.cache_salt += fmt::format("{} {}:{}", name, salt.size(), salt);
  }
  return std::nullopt;
}

std::optional<ApiError> read_prediction(const Json& body, GenerationRequest& request) {
  const Json* value = find_member(body, "prediction");
  if (value == nullptr) return std::nullopt;
  const auto fault = [] {
    return ApiError::invalid(
        "prediction",
        "prediction must be an object of type \"content\" whose content is a string or an array of "
        "text parts");
  };
  const Json* type = value->is_object() ? find_member(*value, "type") : nullptr;
  if (type == nullptr || *type != "content") return fault();
  const Json* content = find_member(*value, "content");
  if (content == nullptr) return fault();
  if (content->is_string()) {
    request.prediction = content->get<std::string>();
    return std::nullopt;
  }
  if (!content->is_array()) return fault();
  for (const Json& part : *content) {
    const Json* kind = part.is_object() ? find_member(part, "type") : nullptr;
    const Json* text = kind != nullptr && *kind == "text" ? find_member(part, "text") : nullptr;
    if (text == nullptr || !text->is_string()) return fault();
    request.prediction += text->get_ref<const std::string&>();
  }
  return std::nullopt;
}

std::optional<ApiError> read_common(const Json& body, const RequestContext& context,
                                    GenerationRequest& request) {
  request.sampling = context.default_sampling;
  request.max_tokens = context.default_max_tokens;
  request.cache_prompt = context.default_cache_prompt;
  if (const Json* model = find_member(body, "model")) {
    if (!model->is_string()) return ApiError::invalid("model", "model must be a string");
    request.model = model->get<std::string>();
  }
  if (auto fault = refuse_fields(body, request.chat ? kChatEndpoint : kCompletionsEndpoint)) {
    return fault;
  }
  if (auto fault = read_sampling(body, context, request)) return fault;
  if (auto fault = read_stream_options(body, request)) return fault;
  if (auto fault = read_prediction(body, request)) return fault;
  if (auto fault = read_cache_salt(body, request)) return fault;
  const Json* best_of = find_member(body, "best_of");
  if (best_of != nullptr && *best_of != request.n) {
    return ApiError::invalid("best_of", "best_of must equal n");
  }
  return read_output_grammar(body, request.grammar_ask);
}

constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                      "high", "xhigh",   "max"};

// How hard to think, as a word: whether to think at all, and what some templates tell the model.
std::optional<ApiError> read_effort(const Json* value, const char* param, ChatOptions& options) {
  if (value == nullptr || *value == "" || *value == "auto" || *value == "default") {
    return std::nullopt;
  }
  const bool known = value->is_string() && std::find(kEfforts.begin(), kEfforts.end(),
                                                     value->get<std::string>()) != kEfforts.end();
  if (!known) {
    return ApiError::invalid(
        param, fmt::format("{} must be none, minimal, low, medium, high, xhigh or max", param));
  }
  options.enable_thinking = *value != "none";
  options.reasoning_effort = *value == "none" ? "" : value->get<std::string>();
  return std::nullopt;
}

std::optional<ApiError> read_flag(const Json* value, const char* param, std::optional<bool>& out) {
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    return ApiError::invalid(param, fmt::format("{} must be true or false", param));
  }
  out = value->get<bool>();
  return std::nullopt;
}

// OpenRouter's object.
std::optional<ApiError> read_reasoning(const Json& body, ChatOptions& options) {
  const Json* reasoning = find_member(body, "reasoning");
  if (reasoning == nullptr) return std::nullopt;
  if (!reasoning->is_object()) {
    return ApiError::invalid("reasoning", "reasoning must be an object");
  }
  if (const Json* exclude = find_member(*reasoning, "exclude");
      find_member(*reasoning, "max_tokens") != nullptr ||
      (exclude != nullptr && *exclude != false)) {
    return ApiError::invalid("reasoning",
                             "reasoning can be switched on and off; max_tokens and exclude are not "
                             "supported");
  }
  if (auto fault = read_flag(find_member(*reasoning, "enabled"), "reasoning.enabled",
                             options.enable_thinking)) {
    return fault;
  }
  return read_effort(find_member(*reasoning, "effort"), "reasoning.effort", options);
}

// Variables of the chat template. Nulls ask for nothing.
std::optional<ApiError> read_template_kwargs(const Json& body, ChatOptions& options) {
  const Json* kwargs = find_member(body, "chat_template_kwargs");
  if (kwargs == nullptr) return std::nullopt;
  Json given = *kwargs;
  if (given.is_object()) {
    for (const auto& [name, value] : kwargs->items()) {
      if (value.is_null()) given.erase(name);
    }
  }
  if (const auto checked = check_template_kwargs(given); !checked.ok()) {
    return ApiError::invalid("chat_template_kwargs",
                             "chat_template_kwargs: " + checked.error().message);
  }
  for (const char* name : {"thinking", "enable_thinking"}) {
    if (const Json* value = find_member(given, name)) options.enable_thinking = value->get<bool>();
  }
  // Templates have words of their own for this; those of the APIs mean what they mean there.
  if (const Json* effort = find_member(given, "reasoning_effort")) {
    const auto& word = effort->get_ref<const std::string&>();
    const bool known = std::find(kEfforts.begin(), kEfforts.end(), word) != kEfforts.end();
    if (known) options.enable_thinking = word != "none";
  }
  if (!given.empty()) options.template_kwargs = std::make_shared<const Json>(std::move(given));
  return std::nullopt;
}

// {"type": "enabled"}, "disabled", or a bare boolean.
std::optional<ApiError> read_thinking_object(const Json& body, std::optional<bool>& thinking) {
  const Json* object = find_member(body, "thinking");
  if (object == nullptr) return std::nullopt;
  if (object->is_boolean()) return read_flag(object, "thinking", thinking);
  const auto fault = [] {
    return ApiError::invalid("thinking",
                             "thinking must be an object whose type is enabled or disabled");
  };
  if (!object->is_object()) return fault();
  if (find_member(*object, "budget_tokens") != nullptr) {
    return ApiError::invalid(
        "thinking",
        "thinking.budget_tokens is not supported: reasoning can be switched on "
        "and off, but not be given a budget");
  }
  const Json* type = find_member(*object, "type");
  if (object->empty() || (type != nullptr && *type == "auto")) return std::nullopt;
  if (type == nullptr || (*type != "enabled" && *type != "disabled" && *type != "adaptive")) {
    return fault();
  }
  thinking = *type != "disabled";
  return std::nullopt;
}

// The many ways to switch thinking off, and back on.
std::optional<ApiError> read_thinking(const Json& body, ChatOptions& options) {
  std::optional<bool>& thinking = options.enable_thinking;
  if (auto fault =
          read_effort(find_member(body, "reasoning_effort"), "reasoning_effort", options)) {
    return fault;
  }
  if (auto fault = read_reasoning(body, options)) return fault;
  if (auto fault = read_template_kwargs(body, options)) return fault;
  if (auto fault = read_thinking_object(body, thinking)) return fault;
  if (auto fault = read_flag(find_member(body, "enable_thinking"), "enable_thinking", thinking)) {
    return fault;
  }
  const Json* think = find_member(body, "think");
  // Ollama also takes a level.
  if (think != nullptr && think->is_string()) return read_effort(think, "think", options);
  return read_flag(think, "think", thinking);
}

ApiError body_not_an_object() {
  return ApiError::of(400, "The body must be a JSON object");
}

// A string, an array of ids, or an array of those.
std::optional<ApiError> read_prompts(const Json& body, const RequestContext& context,
                                     GenerationRequest& request) {
  const Json* prompt = find_member(body, "prompt");
  const auto fault = [] {
    return ApiError::invalid(
        "prompt", fmt::format("prompt must be a string, an array of token ids, or an array "
                              "of 1 to {} of those, none of them empty",
                              kMaxPrompts));
  };
  const auto add = [&](const Json& one) -> std::optional<ApiError> {
    if (one.is_string()) {
      if (one.get_ref<const std::string&>().empty()) return fault();
      request.prompts.emplace_back(one.get<std::string>());
      return std::nullopt;
    }
    if (!one.is_array() || one.empty()) return fault();
    std::vector<int32_t> ids;
    if (auto bad = read_token_ids(one, "prompt", context.n_vocab, ids)) return bad;
    request.prompts.emplace_back(std::move(ids));
    return std::nullopt;
  };
  if (prompt == nullptr) return fault();
  const bool single = prompt->is_string() ||
                      (prompt->is_array() && !prompt->empty() && prompt->front().is_number());
  if (single) return add(*prompt);
  if (!prompt->is_array() || prompt->empty() || prompt->size() > kMaxPrompts) return fault();
  for (const Json& one : *prompt) {
    if (auto bad = add(one)) return bad;
  }
  return std::nullopt;
}

}  // namespace

ApiResult<GenerationRequest> parse_chat_request(const Json& body, const RequestContext& context) {
  if (!body.is_object()) return body_not_an_object();
  GenerationRequest request;
  request.chat = true;
  if (auto fault = read_common(body, context, request)) return *fault;
  if (auto fault = read_messages(body, request.messages)) return *fault;
  if (auto fault = read_prompt_end(body, request.messages, request.chat_options)) return *fault;
  if (auto fault = read_tools(body, request.chat_options.tools)) return *fault;
  if (auto fault = read_call_ask(body, request.call_ask)) return *fault;
  if (auto fault = read_thinking(body, request.chat_options)) return *fault;
  return request;
}

ApiResult<GenerationRequest> parse_completion_request(const Json& body,
                                                      const RequestContext& context) {
  if (!body.is_object()) return body_not_an_object();
  GenerationRequest request;
  if (auto fault = read_common(body, context, request)) return *fault;
  if (auto fault = read_prompts(body, context, request)) return *fault;
  if (request.echo && request.sampling.logprobs && request.stream && request.n > 1) {
    // The choices share the prompt, and the first of them brings its probabilities.
    return ApiError::invalid("echo", "echo with logprobs cannot be streamed with n above 1");
  }
  return request;
}

ApiResult<GenerationRequest> parse_template_request(const Json& body) {
  if (!body.is_object()) return body_not_an_object();
  GenerationRequest request;
  request.chat = true;
  if (auto fault = refuse_fields(body, kPromptEndpoint)) return *fault;
  if (auto fault = read_messages(body, request.messages)) return *fault;
  if (auto fault = read_prompt_end(body, request.messages, request.chat_options)) return *fault;
  if (auto fault = read_tools(body, request.chat_options.tools)) return *fault;
  if (auto fault = read_thinking(body, request.chat_options)) return *fault;
  return request;
}

ApiResult<TokenizeRequest> parse_tokenize_request(const Json& body) {
  if (!body.is_object()) return body_not_an_object();
  TokenizeRequest request;
  const auto flag = [&](const char* name, bool& out) -> std::optional<ApiError> {
    const Json* value = find_member(body, name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_boolean())
      return ApiError::invalid(name, fmt::format("{} must be true or false", name));
    out = value->get<bool>();
    return std::nullopt;
  };
  if (auto fault = flag("add_special", request.add_special)) return *fault;
  if (find_member(body, "messages") == nullptr) {
    if (auto fault = flag("add_special_tokens", request.add_special)) return *fault;
  }
  if (auto fault = flag("parse_special", request.parse_special)) return *fault;
  if (auto fault = flag("with_pieces", request.with_pieces)) return *fault;
  if (find_member(body, "messages") != nullptr) {
    ApiResult<GenerationRequest> chat = parse_template_request(body);
    if (!chat.ok()) return chat.error();
    request.chat = std::move(*chat);
    return request;
  }
  const Json* content = find_member(body, "content");
  if (content == nullptr) content = find_member(body, "prompt");
  if (content == nullptr || !content->is_string()) {
    return ApiError::invalid("content", "content must be a string");
  }
  request.content = content->get<std::string>();
  return request;
}

ApiResult<std::vector<int32_t>> parse_detokenize_request(const Json& body,
                                                         const RequestContext& context) {
  if (!body.is_object()) return body_not_an_object();
  const Json* tokens = find_member(body, "tokens");
  if (tokens == nullptr || !tokens->is_array()) {
    return ApiError::invalid("tokens", "tokens must be an array of token ids");
  }
  std::vector<int32_t> ids;
  if (auto fault = read_token_ids(*tokens, "tokens", context.n_vocab, ids)) return *fault;
  return ids;
}

}  // namespace floe

#include "server/openai_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "server/openai_json.h"
#include "server/openai_messages.h"
#include "text/detokenizer.h"

namespace floe {
namespace {

using Type = RequestField::Type;

constexpr double kMaxExactInteger = 9007199254740992.0;  // 2^53
constexpr double kInt32Max = 2147483647.0;

uint32_t to_count(double value) {
  return value >= 4294967295.0 ? UINT32_MAX : static_cast<uint32_t>(value);
}

constexpr std::array kFields = {
    RequestField{"stream", Type::boolean, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.stream = v != 0; }},
    RequestField{"n", Type::integer, 1, kMaxChoices, true, true,
                 [](GenerationRequest& r, double v) { r.n = to_count(v); }},
    RequestField{"max_tokens", Type::integer, 1, kMaxExactInteger, true, true,
                 [](GenerationRequest& r, double v) { r.max_tokens = to_count(v); }},
    RequestField{"max_completion_tokens", Type::integer, 1, kMaxExactInteger, true, true,
                 [](GenerationRequest& r, double v) { r.max_tokens = to_count(v); }},
    RequestField{
        "n_predict", Type::integer, -1, kMaxExactInteger, true, true,
        [](GenerationRequest& r, double v) { r.max_tokens = v < 0 ? UINT32_MAX : to_count(v); }},
    RequestField{
        "temperature", Type::number, 0, 100, true, true,
        [](GenerationRequest& r, double v) { r.sampling.temperature = static_cast<float>(v); }},
    RequestField{"top_p", Type::number, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.sampling.top_p = static_cast<float>(v); }},
    RequestField{"min_p", Type::number, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.sampling.min_p = static_cast<float>(v); }},
    RequestField{
        "top_k", Type::integer, -1, kInt32Max, true, true,
        [](GenerationRequest& r, double v) { r.sampling.top_k = v < 0 ? 0 : to_count(v); }},
    RequestField{"frequency_penalty", Type::number, -2, 2, true, true,
                 [](GenerationRequest& r, double v) {
                   r.sampling.frequency_penalty = static_cast<float>(v);
                 }},
    RequestField{"presence_penalty", Type::number, -2, 2, true, true,
                 [](GenerationRequest& r, double v) {
                   r.sampling.presence_penalty = static_cast<float>(v);
                 }},
    RequestField{"repeat_penalty", Type::number, 0.01, 100, true, true,
                 [](GenerationRequest& r, double v) {
                   r.sampling.repetition_penalty = static_cast<float>(v);
                 }},
    RequestField{"repetition_penalty", Type::number, 0.01, 100, true, true,
                 [](GenerationRequest& r, double v) {
                   r.sampling.repetition_penalty = static_cast<float>(v);
                 }},
    RequestField{
        "repeat_last_n", Type::integer, -1, kInt32Max, true, true,
        [](GenerationRequest& r, double v) { r.sampling.repeat_last_n = static_cast<int32_t>(v); }},
    RequestField{"top_logprobs", Type::integer, 0, kMaxTopLogprobs, true, false,
                 [](GenerationRequest& r, double v) { r.sampling.top_logprobs = to_count(v); }},
    // As llama.cpp and ik_llama.cpp have it: one name with a dot. 0: no speculation.
    RequestField{"speculative.n_max", Type::integer, 0, kInt32Max, true, true,
                 [](GenerationRequest& r, double v) {
                   r.max_draft_tokens = std::min(to_count(v), kMaxDraftTokens);
                 }},
    RequestField{"ignore_eos", Type::boolean, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.ignore_eos = v != 0; }},
    RequestField{"timings_per_token", Type::boolean, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.timings_per_token = v != 0; }},
    RequestField{"parallel_tool_calls", Type::boolean, 0, 1, true, false,
                 [](GenerationRequest& r, double v) { r.parallel_tool_calls = v != 0; }},
    RequestField{
        "add_generation_prompt", Type::boolean, 0, 1, true, false,
        [](GenerationRequest& r, double v) { r.chat_options.add_generation_prompt = v != 0; }},
    RequestField{"echo", Type::boolean, 0, 1, false, true,
                 [](GenerationRequest& r, double v) { r.echo = v != 0; }},
};

std::string number_text(double value) {
  return std::abs(value) < 1e15 && value == std::floor(value) ? fmt::format("{:.0f}", value)
                                                              : fmt::format("{}", value);
}

// One scalar by its row. An empty message means that the value is fine.
std::string check_scalar(const RequestField& field, const Json& value, double& out) {
  if (field.type == Type::boolean) {
    if (!value.is_boolean()) return fmt::format("{} must be true or false", field.name);
    out = value.get<bool>() ? 1 : 0;
    return {};
  }
  const bool integer = field.type == Type::integer;
  const char* kind = integer ? "an integer" : "a number";
  if (!value.is_number()) return fmt::format("{} must be {}", field.name, kind);
  out = value.get<double>();
  if (!std::isfinite(out) || (integer && out != std::floor(out))) {
    return fmt::format("{} must be {}", field.name, kind);
  }
  if (out < field.min || out > field.max) {
    return fmt::format("{} must be between {} and {}", field.name, number_text(field.min),
                       number_text(field.max));
  }
  return {};
}

std::optional<ApiError> read_scalars(const Json& body, GenerationRequest& request) {
  for (const RequestField& field : kFields) {
    if (!(request.chat ? field.chat : field.completions)) continue;
    const Json* value = find_member(body, std::string(field.name).c_str());
    if (value == nullptr) continue;
    double number = 0;
    if (std::string fault = check_scalar(field, *value, number); !fault.empty()) {
      return ApiError::invalid(std::string(field.name), std::move(fault));
    }
    field.store(request, number);
  }
  if (request.max_tokens == 0) {
    return ApiError::invalid("n_predict", "n_predict must be -1 or at least 1");
  }
  return std::nullopt;
}

std::optional<ApiError> read_seed(const Json& body, GenerationRequest& request) {
  const Json* value = find_member(body, "seed");
  if (value == nullptr) return std::nullopt;
  if (value->is_number_unsigned()) {
    request.sampling.seed = value->get<uint64_t>();
  } else if (value->is_number_integer()) {
    // -1 asks for a random seed, as elsewhere in this field.
    if (value->get<int64_t>() == -1) return std::nullopt;
    request.sampling.seed = static_cast<uint64_t>(value->get<int64_t>());
  } else {
    return ApiError::invalid("seed", "seed must be an integer of at most 64 bits");
  }
  request.seed_given = true;
  return std::nullopt;
}

std::optional<ApiError> read_stop(const Json& body, GenerationRequest& request) {
  const Json* value = find_member(body, "stop");
  if (value == nullptr) return std::nullopt;
  const auto fault = [] {
    return ApiError::invalid(
        "stop", fmt::format("stop must be a string or an array of at most {} strings of "
                            "1 to {} bytes",
                            kMaxStopStrings, kMaxStopStringBytes));
  };
  const auto add = [&](const Json& text) {
    if (!text.is_string()) return false;
    const std::string& stop = text.get_ref<const std::string&>();
    if (stop.empty() || stop.size() > kMaxStopStringBytes) return false;
    request.stop.push_back(stop);
    return true;
  };
  if (value->is_string()) return add(*value) ? std::nullopt : std::optional(fault());
  if (!value->is_array() || value->size() > kMaxStopStrings) return fault();
  for (const Json& text : *value) {
    if (!add(text)) return fault();
  }
  return std::nullopt;
}

bool read_id(std::string_view text, int64_t limit, int64_t& out) {
  if (text.empty() || text.size() > 10) return false;
  out = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    out = out * 10 + (c - '0');
  }
  return out < limit;
}

// {"id": bias} as OpenAI has it, or [[id, bias], ...].
std::optional<ApiError> read_logit_bias(const Json& body, const RequestContext& context,
                                        GenerationRequest& request) {
  const Json* value = find_member(body, "logit_bias");
  if (value == nullptr) return std::nullopt;
  const auto fault = [&] {
    return ApiError::invalid(
        "logit_bias",
        fmt::format("logit_bias must map at most {} token ids below {} to numbers between "
                    "-100 and 100",
                    kMaxLogitBias, context.n_vocab));
  };
  if (!value->is_structured() || value->size() > kMaxLogitBias) return fault();
  const auto add = [&](int64_t id, const Json& bias) {
    if (id < 0 || id >= context.n_vocab || !bias.is_number()) return false;
    const double number = bias.get<double>();
    if (!(number >= -100 && number <= 100)) return false;
    request.sampling.logit_bias.emplace_back(static_cast<int32_t>(id), static_cast<float>(number));
    return true;
  };
  if (value->is_object()) {
    for (const auto& [key, bias] : value->items()) {
      int64_t id = 0;
      if (!read_id(key, context.n_vocab, id) || !add(id, bias)) return fault();
    }
    return std::nullopt;
  }
  for (const Json& pair : *value) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_unsigned() ||
        pair[0].get<uint64_t>() >= static_cast<uint64_t>(context.n_vocab) ||
        !add(static_cast<int64_t>(pair[0].get<uint64_t>()), pair[1])) {
      return fault();
    }
  }
  return std::nullopt;
}

std::optional<ApiError> read_logprobs(const Json& body, GenerationRequest& request) {
  const Json* value = find_member(body, "logprobs");
  if (request.chat) {
    if (value != nullptr && !value->is_boolean()) {
      return ApiError::invalid("logprobs", "logprobs must be true or false");
    }
    request.sampling.logprobs = value != nullptr && value->get<bool>();
    if (!request.sampling.logprobs && request.sampling.top_logprobs > 0) {
      return ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true");
    }
    return std::nullopt;
  }
  if (value == nullptr) return std::nullopt;
  const RequestField rule{"logprobs", Type::integer, 0, kMaxTopLogprobs, false, true, nullptr};
  double number = 0;
  if (std::string fault = check_scalar(rule, *value, number); !fault.empty()) {
    return ApiError::invalid("logprobs", std::move(fault));
  }
  request.sampling.logprobs = true;
  request.sampling.top_logprobs = to_count(number);
  return std::nullopt;
}

std::optional<ApiError> read_stream_options(const Json& body, GenerationRequest& request) {
  const Json* value = find_member(body, "stream_options");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object())
    return ApiError::invalid("stream_options", "stream_options must be an object");
  if (const Json* include = find_member(*value, "include_usage")) {
    if (!include->is_boolean()) {
      return ApiError::invalid("stream_options",
                               "stream_options.include_usage must be true or false");
    }
    request.include_usage = include->get<bool>();
  }
  return std::nullopt;
}

// {"type": "content", "content": ...}, the content a string or an array of text parts.
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

// What would change the answer and is not there yet is refused, never quietly dropped.
std::optional<ApiError> refuse_unsupported(const Json& body, const GenerationRequest& request) {
  if (const Json* format = find_member(body, "response_format")) {
    const Json* type = format->is_object() ? find_member(*format, "type") : nullptr;
    if (type == nullptr || !type->is_string()) {
      return ApiError::invalid("response_format", "response_format must be an object with a type");
    }
    if (type->get_ref<const std::string&>() != "text") {
      return ApiError::invalid("response_format",
                               "Only the response_format type \"text\" is supported");
    }
  }
  for (const char* name :
       {"grammar", "json_schema", "guided_json", "guided_regex", "structured_outputs"}) {
    if (find_member(body, name) != nullptr) {
      return ApiError::invalid(name, fmt::format("{} is not supported", name));
    }
  }
  if (const Json* best_of = find_member(body, "best_of")) {
    if (!best_of->is_number_integer() || best_of->get<double>() != request.n) {
      return ApiError::invalid("best_of", "best_of must equal n");
    }
  }
  if (find_member(body, "chat_template") != nullptr) {
    return ApiError::invalid("chat_template", "chat_template is not accepted from requests");
  }
  return std::nullopt;
}

std::optional<ApiError> read_common(const Json& body, const RequestContext& context,
                                    GenerationRequest& request) {
  request.sampling = context.default_sampling;
  request.max_tokens = context.default_max_tokens;
  if (const Json* model = find_member(body, "model")) {
    if (!model->is_string()) return ApiError::invalid("model", "model must be a string");
    request.model = model->get<std::string>();
  }
  if (auto fault = read_scalars(body, request)) return fault;
  if (auto fault = read_seed(body, request)) return fault;
  if (auto fault = read_stop(body, request)) return fault;
  if (auto fault = read_logit_bias(body, context, request)) return fault;
  if (auto fault = read_logprobs(body, request)) return fault;
  if (auto fault = read_stream_options(body, request)) return fault;
  if (auto fault = read_prediction(body, request)) return fault;
  return refuse_unsupported(body, request);
}

// The many ways to switch thinking off, and back on.
std::optional<ApiError> read_thinking(const Json& body, GenerationRequest& request) {
  std::optional<bool>& thinking = request.chat_options.enable_thinking;
  if (const Json* effort = find_member(body, "reasoning_effort")) {
    static constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                                 "high", "xhigh",   "max"};
    const bool known =
        effort->is_string() &&
        std::find(kEfforts.begin(), kEfforts.end(), effort->get<std::string>()) != kEfforts.end();
    if (!known) {
      return ApiError::invalid(
          "reasoning_effort",
          "reasoning_effort must be none, minimal, low, medium, high, xhigh or max");
    }
    thinking = *effort != "none";
  }
  const auto flag = [&](const Json* value, const char* param) -> std::optional<ApiError> {
    if (value == nullptr) return std::nullopt;
    if (!value->is_boolean()) {
      return ApiError::invalid(param, fmt::format("{} must be true or false", param));
    }
    thinking = value->get<bool>();
    return std::nullopt;
  };
  if (const Json* kwargs = find_member(body, "chat_template_kwargs")) {
    if (!kwargs->is_object()) {
      return ApiError::invalid("chat_template_kwargs", "chat_template_kwargs must be an object");
    }
    if (auto fault = flag(find_member(*kwargs, "thinking"), "chat_template_kwargs.thinking"))
      return fault;
    if (auto fault =
            flag(find_member(*kwargs, "enable_thinking"), "chat_template_kwargs.enable_thinking")) {
      return fault;
    }
  }
  if (const Json* object = find_member(body, "thinking")) {
    const Json* type = object->is_object() ? find_member(*object, "type") : nullptr;
    if (type == nullptr || !type->is_string() ||
        (*type != "enabled" && *type != "disabled" && *type != "adaptive")) {
      return ApiError::invalid("thinking",
                               "thinking must be an object whose type is enabled or disabled");
    }
    thinking = *type != "disabled";
  }
  return flag(find_member(body, "think"), "think");
}

ApiError body_not_an_object() {
  return ApiError::of(400, "The body must be a JSON object");
}

std::optional<ApiError> read_token_ids(const Json& array, const RequestContext& context,
                                       std::vector<int32_t>& out) {
  out.reserve(array.size());
  for (const Json& id : array) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(context.n_vocab)) {
      return ApiError::of(
          400, fmt::format("Token ids must be integers between 0 and {}", context.n_vocab - 1));
    }
    out.push_back(static_cast<int32_t>(id.get<uint64_t>()));
  }
  return std::nullopt;
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
    if (auto bad = read_token_ids(one, context, ids)) {
      bad->param = "prompt";
      return bad;
    }
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

std::span<const RequestField> request_fields() {
  return kFields;
}

ApiResult<GenerationRequest> parse_chat_request(const Json& body, const RequestContext& context) {
  if (!body.is_object()) return body_not_an_object();
  GenerationRequest request;
  request.chat = true;
  if (auto fault = read_common(body, context, request)) return *fault;
  if (auto fault = read_messages(body, request.messages)) return *fault;
  if (auto fault = read_tools(body, request.chat_options.tools)) return *fault;
  if (auto fault = read_thinking(body, request)) return *fault;
  return request;
}

ApiResult<GenerationRequest> parse_completion_request(const Json& body,
                                                      const RequestContext& context) {
  if (!body.is_object()) return body_not_an_object();
  GenerationRequest request;
  if (auto fault = read_common(body, context, request)) return *fault;
  if (find_member(body, "suffix") != nullptr) {
    return ApiError::invalid("suffix", "suffix is not supported");
  }
  if (auto fault = read_prompts(body, context, request)) return *fault;
  if (request.echo && request.sampling.logprobs) {
    return ApiError::invalid("echo", "echo together with logprobs is not supported");
  }
  return request;
}

ApiResult<GenerationRequest> parse_template_request(const Json& body) {
  if (!body.is_object()) return body_not_an_object();
  GenerationRequest request;
  request.chat = true;
  if (auto fault = read_messages(body, request.messages)) return *fault;
  if (auto fault = read_tools(body, request.chat_options.tools)) return *fault;
  if (auto fault = read_thinking(body, request)) return *fault;
  if (const Json* add = find_member(body, "add_generation_prompt")) {
    if (!add->is_boolean()) {
      return ApiError::invalid("add_generation_prompt",
                               "add_generation_prompt must be true or false");
    }
    request.chat_options.add_generation_prompt = add->get<bool>();
  }
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
  if (auto fault = read_token_ids(*tokens, context, ids)) {
    fault->param = "tokens";
    return *fault;
  }
  return ids;
}

}  // namespace floe

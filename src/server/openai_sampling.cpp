#include "server/openai_sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "server/openai_json.h"
#include "text/detokenizer.h"

namespace floe {
namespace {

using Type = RequestField::Type;

constexpr double kMaxExactInteger = 9007199254740992.0;  // 2^53
constexpr double kInt32Max = 2147483647.0;

uint32_t to_count(double value) {
  return value >= 4294967295.0 ? UINT32_MAX : static_cast<uint32_t>(value);
}

constexpr RequestField max_tokens_field(std::string_view name) {
  return {name,
          Type::integer,
          -1,
          kMaxExactInteger,
          true,
          true,
          [](GenerationRequest& r, double v) { r.max_tokens = to_count(v); },
          -1};
}

// Of several fields that set the same, the one that stands last here wins.
constexpr std::array kFields = {
    RequestField{"stream", Type::boolean, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.stream = v != 0; }},
    RequestField{"n", Type::integer, 1, kMaxChoices, true, true,
                 [](GenerationRequest& r, double v) { r.n = to_count(v); }},
    RequestField{"n_cmpl", Type::integer, 1, kMaxChoices, true, true,
                 [](GenerationRequest& r, double v) { r.n = to_count(v); }},
    max_tokens_field("max_tokens"),
    max_tokens_field("max_new_tokens"),
    max_tokens_field("n_predict"),
    max_tokens_field("num_predict"),
    max_tokens_field("max_output_tokens"),
    max_tokens_field("max_completion_tokens"),
    RequestField{"min_tokens", Type::integer, 0, kMaxExactInteger, true, true,
                 [](GenerationRequest& r, double v) { r.sampling.min_tokens = to_count(v); }},
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
    RequestField{"speculative.n_max", Type::integer, -1, kInt32Max, true, true,
                 [](GenerationRequest& r, double v) {
                   r.max_draft_tokens = std::min(to_count(v), kMaxDraftTokens);
                 },
                 -1},
    RequestField{"cache_prompt", Type::boolean, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.cache_prompt = v != 0; }},
    RequestField{"ignore_eos", Type::boolean, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.ignore_eos = v != 0; }},
    RequestField{"timings_per_token", Type::boolean, 0, 1, true, true,
                 [](GenerationRequest& r, double v) { r.timings_per_token = v != 0; }},
    RequestField{"parallel_tool_calls", Type::boolean, 0, 1, true, false,
                 [](GenerationRequest& r, double v) { r.parallel_tool_calls = v != 0; }},
    RequestField{"add_special_tokens", Type::boolean, 0, 1, false, true,
                 [](GenerationRequest& r, double v) { r.add_special_tokens = v != 0; }},
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
    if (number != field.absent) field.store(request, number);
  }
  if (request.sampling.min_tokens > request.max_tokens) {
    return ApiError::invalid("min_tokens", "min_tokens must not be above max_tokens");
  }
  return std::nullopt;
}

// Any integer of 64 bits, signed or not; -1 asks for a random seed.
std::optional<ApiError> read_seed(const Json& body, GenerationRequest& request) {
  const Json* value = find_member(body, "seed");
  if (value == nullptr) return std::nullopt;
  const bool whole_float = value->is_number_float() &&
                           std::abs(value->get<double>()) <= kMaxExactInteger &&
                           value->get<double>() == std::floor(value->get<double>());
  if (value->is_number_unsigned()) {
    request.sampling.seed = value->get<uint64_t>();
  } else if (value->is_number_integer() || whole_float) {
    const auto seed =
        whole_float ? static_cast<int64_t>(value->get<double>()) : value->get<int64_t>();
    if (seed == -1) return std::nullopt;
    request.sampling.seed = static_cast<uint64_t>(seed);
  } else {
    return ApiError::invalid("seed", "seed must be an integer of at most 64 bits");
  }
  request.seed_given = true;
  return std::nullopt;
}

// A string or an array of strings to `out`. Empty ones ask for nothing.
std::optional<ApiError> read_texts(const Json& body, const char* name, size_t max_texts,
                                   size_t max_bytes, std::vector<std::string>& out) {
  const Json* value = find_member(body, name);
  if (value == nullptr) return std::nullopt;
  const auto fault = [&] {
    return ApiError::invalid(
        name, fmt::format("{} must be a string or an array of at most {} strings of at most {} "
                          "bytes",
                          name, max_texts, max_bytes));
  };
  const auto add = [&](const Json& text) {
    if (text.is_null()) return true;
    if (!text.is_string()) return false;
    const std::string& bytes = text.get_ref<const std::string&>();
    if (bytes.empty()) return true;
    if (bytes.size() > max_bytes || out.size() == max_texts) return false;
    out.push_back(bytes);
    return true;
  };
  if (value->is_string()) return add(*value) ? std::nullopt : std::optional(fault());
  if (!value->is_array()) return fault();
  for (const Json& text : *value) {
    if (!add(text)) return fault();
  }
  return std::nullopt;
}

std::optional<ApiError> read_stop_token_ids(const Json& body, const RequestContext& context,
                                            GenerationRequest& request) {
  const Json* value = find_member(body, "stop_token_ids");
  if (value == nullptr) return std::nullopt;
  if (!value->is_array() || value->size() > kMaxStopTokens) {
    return ApiError::invalid(
        "stop_token_ids",
        fmt::format("stop_token_ids must be an array of at most {} token ids", kMaxStopTokens));
  }
  return read_token_ids(*value, "stop_token_ids", context.n_vocab, request.stop_token_ids);
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

// How many alternatives of a token are asked for; nothing for null and false.
std::optional<ApiError> read_n_top(const Json& body, const char* name,
                                   std::optional<uint32_t>& out) {
  const Json* value = find_member(body, name);
  if (value == nullptr || *value == false) return std::nullopt;
  const RequestField rule{name, Type::integer, 0, kMaxTopLogprobs, true, true, nullptr};
  double number = 0;
  if (std::string fault = check_scalar(rule, *value, number); !fault.empty()) {
    return ApiError::invalid(name, std::move(fault));
  }
  out = to_count(number);
  return std::nullopt;
}

std::optional<ApiError> read_logprobs(const Json& body, GenerationRequest& request) {
  if (auto fault = read_n_top(body, "prompt_logprobs", request.prompt_logprobs)) return fault;
  if (request.prompt_logprobs && request.stream) {
    return ApiError::invalid("prompt_logprobs", "prompt_logprobs cannot be streamed");
  }
  if (!request.chat) {
    std::optional<uint32_t> n_top;
    if (auto fault = read_n_top(body, "logprobs", n_top)) return fault;
    request.sampling.logprobs = n_top.has_value();
    request.sampling.top_logprobs = n_top.value_or(0);
    return std::nullopt;
  }
  const Json* value = find_member(body, "logprobs");
  if (value != nullptr && !value->is_boolean() && *value != 0) {
    return ApiError::invalid("logprobs", "logprobs must be true or false");
  }
  request.sampling.logprobs = value != nullptr && *value == true;
  if (!request.sampling.logprobs && request.sampling.top_logprobs > 0) {
    return ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true");
  }
  return std::nullopt;
}

}  // namespace

std::span<const RequestField> request_fields() {
  return kFields;
}

std::optional<ApiError> read_token_ids(const Json& array, std::string_view param, int32_t n_vocab,
                                       std::vector<int32_t>& out) {
  out.reserve(array.size());
  for (const Json& id : array) {
    const double number = id.is_number() ? id.get<double>() : -1;
    if (!(number >= 0 && number < n_vocab) || number != std::floor(number)) {
      return ApiError::invalid(
          std::string(param),
          fmt::format("{}: token ids must be integers between 0 and {}", param, n_vocab - 1));
    }
    out.push_back(static_cast<int32_t>(number));
  }
  return std::nullopt;
}

std::optional<ApiError> read_sampling(const Json& body, const RequestContext& context,
                                      GenerationRequest& request) {
  if (auto fault = read_scalars(body, request)) return fault;
  if (auto fault = read_seed(body, request)) return fault;
  if (auto fault = read_texts(body, "stop", kMaxStopStrings, kMaxStopStringBytes, request.stop)) {
    return fault;
  }
  if (auto fault =
          read_texts(body, "bad_words", kMaxBadWords, kMaxBadWordBytes, request.bad_words)) {
    return fault;
  }
  if (auto fault = read_stop_token_ids(body, context, request)) return fault;
  if (auto fault = read_logit_bias(body, context, request)) return fault;
  return read_logprobs(body, request);
}

}  // namespace floe

#pragma once
// The part of an OpenAI request body that says how tokens are chosen and when an answer ends: one
// row of a table for every scalar field, and a function for each field of another shape.
//
// A value that asks for nothing (null, an empty string or list, max_tokens -1) is read as if the
// field were absent.
#include <optional>
#include <span>
#include <string_view>

#include "base/json.h"
#include "server/api_error.h"
#include "server/openai_request.h"

namespace floe {

// One scalar field of a generation request.
struct RequestField {
  enum class Type : uint8_t { boolean, integer, number };
  std::string_view name;
  Type type;
  double min = 0;  // of numbers
  double max = 0;
  bool chat = true;         // valid for /v1/chat/completions
  bool completions = true;  // valid for /v1/completions
  void (*store)(GenerationRequest& request, double value);
  std::optional<double> absent = std::nullopt;  // the number that means: as if left out
};
std::span<const RequestField> request_fields();

// The scalar fields, seed, stop, stop_token_ids, bad_words, logit_bias, logprobs and
// prompt_logprobs. request.chat says for which endpoint.
std::optional<ApiError> read_sampling(const Json& body, const RequestContext& context,
                                      GenerationRequest& request);

// Ids below n_vocab to `out`. An integer may be written as 1.0.
std::optional<ApiError> read_token_ids(const Json& array, std::string_view param, int32_t n_vocab,
                                       std::vector<int32_t>& out);

}  // namespace floe

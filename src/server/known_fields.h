#pragma once
// Every field that an API which clients may have been written for gives a meaning: OpenAI's (chat,
// completions, responses), vLLM, SGLang, llama.cpp's server, text-generation-inference, Ollama, and
// what front ends of those add. Each one is done, harmless, or refused with a reason, so that
// nobody gets an answer that quietly left out what was asked for. A field that no known API has is
// ignored.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/json.h"
#include "server/api_error.h"

namespace floe {

// What a body is for. Bits, so that a row can name several.
enum Endpoint : uint8_t {
  kChatEndpoint = 1,         // /v1/chat/completions
  kCompletionsEndpoint = 2,  // /v1/completions
  kPromptEndpoint = 4,       // /apply-template and the chat form of /tokenize
};

enum class FieldUse : uint8_t {
  done,      // read elsewhere
  harmless,  // no effect on the answer: ignored, whatever its value
  refused,   // 400, unless its value asks for nothing
};

// Values that ask for nothing. null always does. Bits.
enum NeutralValue : uint8_t {
  kNeutralFalse = 1,
  kNeutralTrue = 2,
  kNeutralZero = 4,
  kNeutralOne = 8,
  kNeutralNegative = 16,  // any number below zero
  kNeutralEmpty = 32,     // "", [] and {}
};

struct KnownField {
  std::string_view name;
  uint8_t endpoints = 0;
  FieldUse use = FieldUse::refused;
  uint8_t neutral = 0;         // NeutralValue
  std::string_view words;      // neutral strings, separated by blanks; also as items of an array
  std::string_view says = {};  // done: what it does. Refused: why, as the end of a sentence.
};

// A name occurs once for an endpoint.
std::span<const KnownField> known_fields();
// nullptr: no known API has the field there.
const KnownField* find_known_field(std::string_view name, Endpoint endpoint);

// Whether a value of the field asks for nothing.
bool is_neutral(const KnownField& field, const Json& value);

// The first member of body that would change the answer and cannot be done. body is an object.
std::optional<ApiError> refuse_fields(const Json& body, Endpoint endpoint);

}  // namespace floe

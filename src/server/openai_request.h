#pragma once
// OpenAI request bodies to checked parameters. Pure functions: no engine, no socket, no clock.
//
// Every scalar field is one row of a table (request_fields()): its name, type, range and where it
// is stored. Nothing reaches the engine without having passed a row. Unknown fields are ignored.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "engine/request.h"
#include "server/api_error.h"
#include "text/chat_format.h"

namespace floe {

inline constexpr uint32_t kMaxChoices = 8;
inline constexpr size_t kMaxLogitBias = 1024;
inline constexpr size_t kMaxPrompts = 64;

struct RequestContext {
  int32_t n_vocab = 0;
  SamplingParams default_sampling;  // for what a request leaves open
  uint32_t default_max_tokens = UINT32_MAX;
};

// A prompt of /v1/completions.
using PromptInput = std::variant<std::string, std::vector<int32_t>>;

struct GenerationRequest {
  bool chat = false;
  std::string model;  // as asked; empty: any

  std::vector<ChatMessage> messages;  // chat
  ChatOptions chat_options;
  std::vector<PromptInput> prompts;  // completions, at least one
  bool echo = false;

  SamplingParams sampling;
  bool seed_given = false;
  uint32_t max_tokens = UINT32_MAX;
  uint32_t n = 1;
  std::string prediction;  // text that the answer will probably be like; may be empty
  uint32_t max_draft_tokens = kMaxDraftTokens;
  std::vector<std::string> stop;
  bool ignore_eos = false;

  bool stream = false;
  bool include_usage = false;
  bool timings_per_token = false;
  bool parallel_tool_calls = true;
};

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
};
std::span<const RequestField> request_fields();

ApiResult<GenerationRequest> parse_chat_request(const Json& body, const RequestContext& context);
ApiResult<GenerationRequest> parse_completion_request(const Json& body,
                                                      const RequestContext& context);

// /apply-template, and the chat form of /tokenize: messages, tools and thinking only.
ApiResult<GenerationRequest> parse_template_request(const Json& body);

struct TokenizeRequest {
  std::string content;
  std::optional<GenerationRequest> chat;  // instead of content
  bool add_special = false;
  bool parse_special = true;
  bool with_pieces = false;
};
ApiResult<TokenizeRequest> parse_tokenize_request(const Json& body);
ApiResult<std::vector<int32_t>> parse_detokenize_request(const Json& body,
                                                         const RequestContext& context);

}  // namespace floe

#pragma once
// OpenAI request bodies to checked parameters. Pure functions: no engine, no socket, no clock.
//
// openai_sampling.h reads what says how tokens are chosen. known_fields.h has every field that an
// API known here gives a meaning, and refuses what cannot be done.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json_fwd.h"
#include "chat/chat_message.h"
#include "engine/request.h"
#include "server/api_error.h"
#include "server/openai_grammar.h"
#include "server/openai_tool_choice.h"

namespace floe {

struct ResponseContext;

inline constexpr uint32_t kMaxChoices = 8;
inline constexpr size_t kMaxLogitBias = 1024;
inline constexpr size_t kMaxStopTokens = 1024;
inline constexpr size_t kMaxBadWords = 256;
inline constexpr size_t kMaxBadWordBytes = 256;
inline constexpr size_t kMaxPrompts = 64;

struct RequestContext {
  int32_t n_vocab = 0;
  SamplingParams default_sampling;  // for what a request leaves open
  uint32_t default_max_tokens = UINT32_MAX;
  bool default_cache_prompt = true;
};

// A prompt of /v1/completions.
using PromptInput = std::variant<std::string, std::vector<int32_t>>;

struct GenerationRequest {
  bool chat = false;
  ApiKind api = ApiKind::openai;                    // whose objects the answer and its errors are
  std::shared_ptr<const ResponseContext> response;  // of ApiKind::responses
  std::string model;                                // as asked; empty: any

  std::vector<ChatMessage> messages;  // chat
  ChatOptions chat_options;
  std::vector<PromptInput> prompts;  // completions, at least one
  bool echo = false;
  bool add_special_tokens = true;  // completions: as the vocabulary has it

  SamplingParams sampling;
  bool seed_given = false;
  uint32_t max_tokens = UINT32_MAX;
  uint32_t n = 1;
  std::string prediction;  // text that the answer will probably be like; may be empty
  uint32_t max_draft_tokens = kMaxDraftTokens;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  std::vector<std::string> bad_words;
  bool ignore_eos = false;
  std::optional<GrammarAsk> grammar_ask;
  std::optional<CallAsk> call_ask;
  std::shared_ptr<const OutputGrammar> grammar;  // what came of them; null: the answers are free
  bool cache_prompt = true;             // start from what earlier requests left in the cache
  std::string cache_salt;               // only of those that had the same salt
  std::array<uint64_t, 2> cache_key{};  // made of the API key and the salt
  // How many alternatives to tell at each place of the prompt; nothing: none of it is told.
  std::optional<uint32_t> prompt_logprobs;

  bool stream = false;
  bool include_usage = false;
  bool timings_per_token = false;
  bool parallel_tool_calls = true;
};

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

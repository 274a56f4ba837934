#pragma once
// Generated text to OpenAI objects: whole answers, stream chunks, usage, timings. Pure functions.
//
// Everything here writes JSON text directly: building a document per token would cost more than the
// token. Strings are escaped and made valid UTF-8 on the way.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "server/api_error.h"

namespace floe {

// What every chunk of one answer repeats.
// In which field of a message its reasoning comes: servers and clients have two names for it.
enum class ReasoningField : uint8_t {
  reasoning_content,  // llama.cpp, DeepSeek
  reasoning,          // vLLM, OpenRouter
  both,
};

struct AnswerIdentity {
  bool chat = false;
  std::string id;  // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;
  std::string model;
  std::string fingerprint;
  ReasoningField reasoning_field = ReasoningField::reasoning_content;
};

struct TokenText {
  std::string bytes;  // raw, perhaps a part of a character
  float logprob = 0.0f;
};

struct TokenLogprobEntry {
  TokenText token;
  std::vector<TokenText> top;  // best first
  uint64_t text_offset = 0;    // in characters, of this choice's text
  bool is_first = false;       // of a prompt: nothing predicts it
};

// A token of a prompt with the tokens that were expected there, as vLLM tells it.
struct PromptTokenEntry {
  struct Alternative {
    int32_t id = 0;
    uint32_t rank = 0;  // 1: the most probable
    TokenText text;
  };
  std::vector<Alternative>
      alternatives;  // the prompt's own token first; empty: nothing predicts it
};

struct AnswerUsage {
  uint64_t prompt_tokens = 0;
  uint64_t completion_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t reasoning_tokens = 0;
  uint64_t accepted_prediction_tokens = 0;  // guesses taken from the request's prediction
  uint64_t rejected_prediction_tokens = 0;  // computed, and not part of the completion
};

// The figures beside an answer: timings of its slowest choice, telemetry of its steps.
struct AnswerFigures {
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t completion_tokens = 0;
  TokenTimings timings;
  ChoiceTelemetry telemetry;
  double floor_gb_s = 0.0;  // what this machine reads at best; 0: not measured
  bool thinking = false;
};

// `"timings":{...},"moe":{...}`, without a comma before it.
std::string figures_json(const AnswerFigures& figures);
std::string usage_json(const AnswerUsage& usage);

struct ToolCallText {
  std::string id;
  std::string name;
  std::string arguments_json;  // what there is of it, where the answer was cut
};

// One finished choice of an answer that was not streamed.
struct AnswerChoice {
  uint32_t index = 0;
  std::string reasoning_content;  // chat only
  std::string content;
  std::vector<ToolCallText> tool_calls;  // chat only
  std::vector<TokenLogprobEntry> logprobs;
  std::string_view finish_reason = "stop";
  // Where they were asked for: an array of objects by token id, as prompt_logprobs_json() writes
  // it. Empty: the answer has no such field.
  std::string prompt_logprobs;
};

// [null, {"ID": {"logprob", "rank", "decoded_token"}, ...}, ...], an item for every token.
std::string prompt_logprobs_json(std::span<const PromptTokenEntry> tokens);

// Prompt log probabilities stand in each choice of a completion, and once beside the choices of a
// chat: there is one prompt.
std::string answer_json(const AnswerIdentity& identity, std::span<const AnswerChoice> choices,
                        bool with_logprobs, const AnswerUsage& usage, std::string_view figures);

// Server-sent events of one streamed answer. Every call appends one or more whole frames to `out`.
class ChunkWriter {
 public:
  ChunkWriter(const AnswerIdentity& identity, bool usage_in_every_chunk);

  // figures: as figures_json() gives it, or empty.
  void role(uint32_t choice, std::string& out) const;
  void reasoning(uint32_t choice, std::string_view text,
                 std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                 std::string& out) const;
  void content(uint32_t choice, std::string_view text, std::span<const TokenLogprobEntry> logprobs,
               std::string_view figures, std::string& out) const;
  // The beginning of call number `call_index` of the choice, then its arguments in pieces.
  void tool_call(uint32_t choice, uint32_t call_index, std::string_view id, std::string_view name,
                 std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                 std::string& out) const;
  void tool_arguments(uint32_t choice, uint32_t call_index, std::string_view text,
                      std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                      std::string& out) const;
  void finish(uint32_t choice, std::string_view reason, std::span<const TokenLogprobEntry> logprobs,
              std::string_view figures, std::string& out) const;
  void usage(const AnswerUsage& usage, std::string_view figures, std::string& out) const;

  static void done(std::string& out);
  static void error(const ApiError& error, std::string& out);

 private:
  void open(uint32_t choice, std::string& out) const;
  void close(std::span<const TokenLogprobEntry> logprobs, std::string_view finish_reason,
             std::string_view figures, std::string& out) const;

  bool chat_;
  ReasoningField reasoning_field_;
  std::string head_;  // up to and with "choices":[
  std::string tail_;  // after the choices
};

}  // namespace floe

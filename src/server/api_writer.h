#pragma once
// What an answer is made of, and who writes it: one class for each API that clients speak.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "server/api_error.h"

namespace floe {

// In which field of a message its reasoning comes: servers and clients have two names for it.
enum class ReasoningField : uint8_t {
  reasoning_content,  // llama.cpp, DeepSeek
  reasoning,          // vLLM, OpenRouter
  both,
};

// What every chunk of one answer repeats.
struct AnswerIdentity {
  bool chat = false;
  std::string id;  // "chatcmpl-...", "cmpl-..." or "msg_..."
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
  std::string stop_string;  // the one that ended it; empty: none did
  // Where they were asked for: an array of objects by token id, as prompt_logprobs_json() writes
  // it. Empty: the answer has no such field.
  std::string prompt_logprobs;
};

// Writes one answer, as a whole or as server-sent events. Calls that append to `out` append whole
// frames, in the order of generation: begin() first for each choice, finish() last, then
// finish_stream() once.
class ApiWriter {
 public:
  virtual ~ApiWriter() = default;

  // usage: what is known of the prompt.
  virtual void begin(uint32_t choice, const AnswerUsage& usage, std::string& out) = 0;
  // logprobs: of the tokens since the last call, where they were asked for. figures: as
  // figures_json() gives it, or empty.
  virtual void reasoning(uint32_t choice, std::string_view text,
                         std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                         std::string& out) = 0;
  virtual void content(uint32_t choice, std::string_view text,
                       std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                       std::string& out) = 0;
  // The beginning of call number `call_index` of the choice, then its arguments in pieces.
  virtual void tool_call(uint32_t choice, uint32_t call_index, std::string_view id,
                         std::string_view name, std::span<const TokenLogprobEntry> logprobs,
                         std::string_view figures, std::string& out) = 0;
  virtual void tool_arguments(uint32_t choice, uint32_t call_index, std::string_view text,
                              std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                              std::string& out) = 0;
  // reason: "stop", "length" or "tool_calls". stop_string: the one that ended it, or empty.
  virtual void finish(uint32_t choice, std::string_view reason, std::string_view stop_string,
                      std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                      std::string& out) = 0;
  // figures: of the whole answer.
  virtual void finish_stream(const AnswerUsage& usage, std::string_view figures,
                             std::string& out) = 0;
  // Ends a stream that cannot go on.
  virtual void error(const ApiError& error, std::string& out) = 0;

  // An answer that was not streamed.
  virtual std::string whole(std::span<const AnswerChoice> choices, bool with_logprobs,
                            const AnswerUsage& usage, std::string_view figures) const = 0;
};

}  // namespace floe

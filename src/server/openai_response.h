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

#include "server/api_writer.h"

namespace floe {

// `"timings":{...},"moe":{...}`, without a comma before it.
std::string figures_json(const AnswerFigures& figures);
std::string usage_json(const AnswerUsage& usage);

// [null, {"ID": {"logprob", "rank", "decoded_token"}, ...}, ...], an item for every token.
std::string prompt_logprobs_json(std::span<const PromptTokenEntry> tokens);

// Prompt log probabilities stand in each choice of a completion, and once beside the choices of a
// chat: there is one prompt.
std::string answer_json(const AnswerIdentity& identity, std::span<const AnswerChoice> choices,
                        bool with_logprobs, const AnswerUsage& usage, std::string_view figures);

// Chat and text completions.
class OpenAiWriter final : public ApiWriter {
 public:
  // with_usage: a last chunk has the usage.
  OpenAiWriter(const AnswerIdentity& identity, bool with_usage);

  void begin(uint32_t choice, const AnswerUsage& usage, std::string& out) override;
  void reasoning(uint32_t choice, std::string_view text,
                 std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                 std::string& out) override;
  void content(uint32_t choice, std::string_view text, std::span<const TokenLogprobEntry> logprobs,
               std::string_view figures, std::string& out) override;
  void tool_call(uint32_t choice, uint32_t call_index, std::string_view id, std::string_view name,
                 std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                 std::string& out) override;
  void tool_arguments(uint32_t choice, uint32_t call_index, std::string_view text,
                      std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                      std::string& out) override;
  void finish(uint32_t choice, std::string_view reason, std::string_view stop_string,
              std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
              std::string& out) override;
  void finish_stream(const AnswerUsage& usage, std::string_view figures, std::string& out) override;
  void error(const ApiError& error, std::string& out) override;
  std::string whole(std::span<const AnswerChoice> choices, bool with_logprobs,
                    const AnswerUsage& usage, std::string_view figures) const override;

 private:
  void open(uint32_t choice, std::string& out) const;
  void close(std::span<const TokenLogprobEntry> logprobs, std::string_view finish_reason,
             std::string_view figures, std::string& out) const;

  const AnswerIdentity identity_;
  const bool with_usage_;
  std::string head_;  // up to and with "choices":[
  std::string tail_;  // after the choices
};

}  // namespace floe

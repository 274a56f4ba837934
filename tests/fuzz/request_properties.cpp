#include "fuzz/request_properties.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "server/openai_messages.h"
#include "server/openai_request.h"
#include "text/detokenizer.h"

namespace floe {
namespace {

const RequestContext kContext{.n_vocab = 300, .default_sampling = {}, .default_max_tokens = 4096};

std::string check_error(const ApiError& error) {
  if (error.status != 400) return "a refused body has another status than 400";
  if (error.message.empty() || error.message.size() > 300)
    return "an error's message is empty or long";
  for (const unsigned char c : error.message) {
    if (c < 0x20 || c >= 0x7F) return "an error's message echoes bytes";
  }
  const Result<Json> body = parse_json(error_body(error));
  if (!body.ok() || !body->contains("error")) return "an error's body is no error object";
  return {};
}

bool in_range(float value, double min, double max) {
  return std::isfinite(value) && static_cast<double>(value) >= min - 1e-6 &&
         static_cast<double>(value) <= max + 1e-6;
}

std::string check_accepted(const GenerationRequest& r) {
  const SamplingParams& s = r.sampling;
  if (r.n < 1 || r.n > kMaxChoices) return "n is out of range";
  if (s.min_tokens > r.max_tokens) return "min_tokens is above max_tokens";
  if (r.prompt_logprobs.value_or(0) > kMaxTopLogprobs) return "prompt_logprobs is out of range";
  if (r.stop_token_ids.size() > kMaxStopTokens) return "there are too many stop tokens";
  for (const int32_t id : r.stop_token_ids) {
    if (id < 0 || id >= kContext.n_vocab) return "a stop token is out of range";
  }
  if (r.bad_words.size() > kMaxBadWords) return "there are too many bad words";
  for (const std::string& word : r.bad_words) {
    if (word.empty() || word.size() > kMaxBadWordBytes) return "a bad word is out of range";
  }
  if (r.max_draft_tokens > kMaxDraftTokens) return "max_draft_tokens is out of range";
  if (!in_range(s.temperature, 0, 100) || !in_range(s.top_p, 0, 1) || !in_range(s.min_p, 0, 1) ||
      !in_range(s.frequency_penalty, -2, 2) || !in_range(s.presence_penalty, -2, 2) ||
      !in_range(s.repetition_penalty, 0.01, 100)) {
    return "a sampling parameter is out of range";
  }
  if (s.repeat_last_n < -1) return "repeat_last_n is out of range";
  if (s.top_logprobs > kMaxTopLogprobs || (s.top_logprobs > 0 && !s.logprobs)) {
    return "top_logprobs is out of range";
  }
  if (s.logit_bias.size() > kMaxLogitBias) return "there are too many biases";
  for (const auto& [id, bias] : s.logit_bias) {
    if (id < 0 || id >= kContext.n_vocab || !in_range(bias, -100, 100))
      return "a bias is out of range";
  }
  if (r.stop.size() > kMaxStopStrings) return "there are too many stop strings";
  for (const std::string& stop : r.stop) {
    if (stop.empty() || stop.size() > kMaxStopStringBytes) return "a stop string is out of range";
  }
  if (r.chat) {
    if (r.messages.empty() || r.messages.size() > kMaxMessages)
      return "the messages are out of range";
    if (const ChatTools& tools = r.chat_options.tools) {
      if (tools->empty() || tools->size() > kMaxTools) return "the tools are out of range";
      for (const ChatTool& tool : *tools) {
        if (tool.name.empty() || !tool.definition->is_object()) return "a tool is no object";
      }
    }
    for (const ChatMessage& message : r.messages) {
      for (const ChatToolCall& call : message.tool_calls) {
        if (call.name.empty()) return "a tool call has no name";
      }
    }
  } else {
    if (r.prompts.empty() || r.prompts.size() > kMaxPrompts) return "the prompts are out of range";
    for (const PromptInput& prompt : r.prompts) {
      if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
        if (ids->empty()) return "a prompt is empty";
        for (const int32_t id : *ids) {
          if (id < 0 || id >= kContext.n_vocab) return "a prompt's id is out of range";
        }
      } else if (std::get<std::string>(prompt).empty()) {
        return "a prompt is empty";
      }
    }
  }
  return {};
}

bool same_tools(const ChatTools& a, const ChatTools& b) {
  if (a == nullptr || b == nullptr) return a == b;
  return std::equal(
      a->begin(), a->end(), b->begin(), b->end(),
      [](const ChatTool& x, const ChatTool& y) { return *x.definition == *y.definition; });
}

bool same(const GenerationRequest& a, const GenerationRequest& b) {
  return a.n == b.n && a.max_tokens == b.max_tokens && a.sampling.seed == b.sampling.seed &&
         a.stop == b.stop && a.stop_token_ids == b.stop_token_ids && a.bad_words == b.bad_words &&
         a.prompt_logprobs == b.prompt_logprobs && a.prediction == b.prediction &&
         a.prompts == b.prompts && a.messages.size() == b.messages.size() && a.stream == b.stream &&
         a.sampling.logit_bias == b.sampling.logit_bias &&
         same_tools(a.chat_options.tools, b.chat_options.tools);
}

}  // namespace

std::string check_request_properties(std::string_view text) {
  const Result<Json> body = parse_json(text);
  if (!body.ok()) return check_error(ApiError::of(400, body.error().message));
  // Printing and reading again is the identity.
  const Result<Json> again = parse_json(dump_json(*body));
  if (!again.ok() || *again != *body) return "the body is not what it was after printing";
  for (const auto parse : {parse_chat_request, parse_completion_request}) {
    const ApiResult<GenerationRequest> first = parse(*body, kContext);
    const ApiResult<GenerationRequest> second = parse(*again, kContext);
    if (first.ok() != second.ok()) return "the same body is judged differently";
    std::string broken = first.ok() ? check_accepted(first.value()) : check_error(first.error());
    if (!broken.empty()) return broken;
    if (first.ok() && !same(first.value(), second.value()))
      return "the same body is read differently";
  }
  if (const auto r = parse_template_request(*body); !r.ok()) {
    if (std::string broken = check_error(r.error()); !broken.empty()) return broken;
  }
  if (const auto r = parse_tokenize_request(*body); !r.ok()) {
    if (std::string broken = check_error(r.error()); !broken.empty()) return broken;
  }
  const auto ids = parse_detokenize_request(*body, kContext);
  return ids.ok() ? std::string() : check_error(ids.error());
}

}  // namespace floe

#include "engine/admission.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"

namespace floe {

namespace {

SubmitOutcome invalid(const char* param, std::string message) {
  SubmitOutcome outcome;
  outcome.status = SubmitStatus::invalid;
  outcome.param = param;
  outcome.message = std::move(message);
  return outcome;
}

}  // namespace

SubmitOutcome RequestLimits::check(const Request& request) const {
  if (request.prompt.empty()) return invalid("prompt", "the prompt is empty");
  for (const int32_t token : request.prompt) {
    if (token < 0 || static_cast<uint32_t>(token) >= n_vocab_) {
      return invalid("prompt", fmt::format("token ids must be in 0..{}", n_vocab_ - 1));
    }
  }
  if (request.n == 0 || request.n > max_choices_) {
    return invalid("n", fmt::format("n must be in 1..{}", max_choices_));
  }
  if (request.sampling.top_logprobs > kMaxTopLogprobs) {
    return invalid("top_logprobs", fmt::format("top_logprobs must be in 0..{}", kMaxTopLogprobs));
  }
  if (request.top_prompt_logprobs > kMaxTopLogprobs) {
    return invalid("prompt_logprobs",
                   fmt::format("prompt_logprobs must be in 0..{}", kMaxTopLogprobs));
  }
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    if (token < 0 || static_cast<uint32_t>(token) >= n_vocab_) {
      return invalid("logit_bias", fmt::format("token ids must be in 0..{}", n_vocab_ - 1));
    }
  }
  for (const std::vector<int32_t>& word : request.sampling.bad_words) {
    if (word.empty()) return invalid("bad_words", "a bad word has no token");
    for (const int32_t token : word) {
      if (token < 0 || static_cast<uint32_t>(token) >= n_vocab_) {
        return invalid("bad_words", fmt::format("token ids must be in 0..{}", n_vocab_ - 1));
      }
    }
  }
  if (request.prediction.size() > n_context_) {
    return invalid("prediction", fmt::format("the prediction has {} tokens; it may have {}",
                                             request.prediction.size(), n_context_));
  }
  for (const int32_t token : request.prediction) {
    if (token < 0 || static_cast<uint32_t>(token) >= n_vocab_) {
      return invalid("prediction", fmt::format("token ids must be in 0..{}", n_vocab_ - 1));
    }
  }
  if (request.max_draft_tokens > kMaxDraftTokens) {
    return invalid("max_draft_tokens",
                   fmt::format("max_draft_tokens must be in 0..{}", kMaxDraftTokens));
  }
  SubmitOutcome outcome;
  outcome.n_prompt_tokens = static_cast<uint32_t>(
      std::min<size_t>(request.prompt.size(), std::numeric_limits<uint32_t>::max()));
  outcome.n_context = n_context_;
  // Where there is to be output, one token of it must fit behind the prompt.
  const size_t n_least = request.prompt.size() + (request.max_tokens == 0 ? 0 : 1);
  if (n_least > n_context_) {
    outcome.status = SubmitStatus::context_exceeded;
    outcome.message =
        fmt::format("the prompt has {} tokens; prompt and output together may have {}",
                    request.prompt.size(), n_context_);
  }
  return outcome;
}

SubmitOutcome Admission::decide(SubmitOutcome checked) {
  SubmitOutcome outcome = std::move(checked);
  if (outcome.status != SubmitStatus::accepted) {
    ++n_refused_invalid_;
    return outcome;
  }
  if (is_closed_) {
    outcome.status = SubmitStatus::draining;
    outcome.message = "the server is shutting down";
    return outcome;
  }
  const uint32_t n_free_sequences = max_sequences_ - load_.n_sequences;
  if (n_waiting() >= uint64_t{max_waiting_} + n_free_sequences) {
    ++n_refused_queue_full_;
    outcome.status = SubmitStatus::queue_full;
    outcome.message = "too many requests are waiting";
    outcome.wait_seconds = load_.wait_seconds;
    return outcome;
  }
  outcome.id = ++n_accepted_;
  return outcome;
}

void Admission::count(EngineStats& stats) const {
  stats.n_waiting = static_cast<uint32_t>(n_waiting());
  stats.n_refused_queue_full = n_refused_queue_full_;
  stats.n_refused_invalid = n_refused_invalid_;
}

}  // namespace floe

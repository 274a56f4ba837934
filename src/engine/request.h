#pragma once
// What comes in (Request), what goes out (TokenEvent), and the one path outward (TokenSink).
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "draft/decision.h"
#include "draft/drafter.h"

namespace floe {

using RequestId = uint64_t;  // unique for the life of the engine; 0 is never used

inline constexpr uint32_t kMaxTopLogprobs = 20;

// How the next token is chosen. Every combination of values yields a token; NaN counts as the
// default.
struct SamplingParams {
  float temperature = 1.0f;  // <= 0: greedy
  uint32_t top_k = 0;        // 0: all
  float top_p = 1.0f;        // keeps the smallest set whose mass reaches it, at least one token
  float min_p = 0.0f;        // drops tokens below min_p times the best one's probability
  float repetition_penalty =
      1.0f;                        // divides positive and multiplies negative logits of seen tokens
  float frequency_penalty = 0.0f;  // subtracted once per occurrence
  float presence_penalty = 0.0f;   // subtracted once if seen
  int32_t repeat_last_n = 64;  // tokens of prompt and output that count as seen; -1: all, 0: none
  uint64_t seed = 0;           // choice 0 uses it as it is, choice i uses choice_seed(seed, i)
  std::vector<std::pair<int32_t, float>> logit_bias;  // (token id, added to its logit)
  bool logprobs = false;
  uint32_t top_logprobs = 0;  // 0..kMaxTopLogprobs; needs logprobs

  // What the output may not hold. Both look at output alone: n_prompt, which the engine sets, says
  // how many tokens at the beginning of the history are none.
  // Token sequences, none of them empty: the last token of one is not chosen behind its others.
  std::vector<std::vector<int32_t>> bad_words;
  // Until there are min_tokens of output, none of held_tokens is chosen. The engine sets them to
  // the tokens that would end the choice.
  uint32_t min_tokens = 0;
  std::vector<int32_t> held_tokens;
  uint32_t n_prompt = 0;
};

// The seed of choice i of a request with n > 1: that choice equals a solo request with this seed.
uint64_t choice_seed(uint64_t seed, uint32_t choice);

class TokenSink;
struct OutputGrammar;

struct Request {
  std::vector<int32_t> prompt;  // token ids, at least one
  // Per choice; cut to what the context leaves. 0: the prompt is computed, and there is no output.
  uint32_t max_tokens = UINT32_MAX;
  uint32_t n = 1;  // choices
  SamplingParams sampling;
  std::vector<int32_t> stop_tokens;  // end a choice; never part of its output
  // How probable each token of the prompt was, told once: with the first event of choice 0 that is
  // no failure.
  bool prompt_logprobs = false;
  uint32_t top_prompt_logprobs = 0;  // 0..kMaxTopLogprobs; needs prompt_logprobs
  // What the output will probably be, for drafters to guess from; may be empty.
  std::vector<int32_t> prediction;
  uint32_t max_draft_tokens = kMaxDraftTokens;  // of one step; 0: no speculation
  // What each choice is bound to; null: nothing. Over the model's vocabulary. stop_tokens may be
  // chosen where the grammar can end, and what nothing can follow ends by itself.
  std::shared_ptr<const OutputGrammar> grammar;
  // Prompts of the same key alone start from each other's cached keys and values.
  std::array<uint64_t, 2> cache_key{};
  bool cache_prompt = true;  // false: nothing is taken from other requests nor left to them
  std::shared_ptr<TokenSink> sink;
};

enum class FinishReason : uint8_t {
  none,       // not finished yet
  stop,       // a stop token, the end of a grammar, or finish() after a stop string
  length,     // max_tokens, the end of the context, or no token for what the grammar wants next
  cancelled,  // cancel()
  error,      // see TokenEvent::error
};
const char* to_string(FinishReason reason);  // "stop", "length", ...

enum class EndError : uint8_t {
  none,
  numeric,   // the model's logits were not finite
  shutdown,  // the engine was drained or stopped before the request could finish
  memory,    // an allocation failed, here or on the device that the model runs on
  device,    // the device that the model runs on failed
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob =
      0.0f;  // natural logarithm, of the model's own distribution (before penalties, bias, T)
};

// A token of the prompt among what the model expected at its place.
struct PromptLogprob {
  float logprob = 0.0f;
  uint32_t rank = 1;              // 1: no token was more probable
  std::vector<TokenLogprob> top;  // best first
};

// What one step (one forward) did, as the ledger counted it.
struct StepTelemetry {
  uint32_t n_rows = 0;
  uint32_t n_sequences = 0;
  double experts_union_mean =
      0.0;  // distinct routed experts, mean over MoE layers; 0 for dense models
  uint64_t total_bytes = 0;
  uint64_t routed_bytes = 0;
  double seconds = 0.0;
  double gb_s = 0.0;               // total_bytes / seconds / 1e9
  uint32_t n_draft_rows = 0;       // of the rows: guesses
  double predicted_seconds = 0.0;  // what the model of a step's time said; 0: it said nothing
};

// Means and sums over the decode steps that a choice took part in.
struct ChoiceTelemetry {
  uint64_t n_steps = 0;
  double batch_mean = 0.0;  // rows per step
  double experts_union_mean = 0.0;
  uint64_t total_bytes = 0;  // of whole steps, shared with the rest of the batch
  uint64_t routed_bytes = 0;
  double seconds = 0.0;
  double gb_s = 0.0;
  uint64_t n_drafted = 0;             // guesses that became rows
  uint64_t n_accepted = 0;            // of those
  uint64_t n_predicted_accepted = 0;  // the same, of guesses taken from Request::prediction
  uint64_t n_predicted_rejected = 0;
  const char* spec_state = "off";  // of the last step, as SpecDecision has them; a static text
  SpecReason spec_reason = SpecReason::no_drafter;
  uint64_t n_predicted_steps = 0;  // steps whose time was predicted
  double predicted_seconds = 0.0;  // summed over those
};

struct TokenCounts {
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;      // of the prompt, not computed for this choice
  uint32_t completion_tokens = 0;  // of this choice so far: the tokens sent out
};

struct TokenTimings {
  double queue_ms = 0.0;    // submit to first admission
  double prefill_ms = 0.0;  // first admission to first token
  double decode_ms = 0.0;   // first token to this event
};

// A choice's events arrive in order: zero or more with a token, the last one with a finish reason
// (with the last token when it ends by length, without a token otherwise and for max_tokens 0).
// Exactly one event per choice has finish != none, whatever happens.
struct TokenEvent {
  RequestId request = 0;
  uint32_t choice = 0;
  uint32_t index = 0;  // of the token within the choice, gapless from 0
  int32_t token = -1;  // -1: no token in this event
  float logprob = 0.0f;
  std::vector<TokenLogprob> top_logprobs;  // best first; empty unless asked for
  // [n_prompt - 1] of the prompt's second token on: nothing predicts the first. Empty unless asked
  // for, and in all events but one.
  std::vector<PromptLogprob> prompt_logprobs;
  FinishReason finish = FinishReason::none;
  EndError error = EndError::none;
  bool request_done = false;  // no further event of any choice of this request
  TokenCounts counts;
  TokenTimings timings;
  StepTelemetry step;
  ChoiceTelemetry telemetry;
};

// The only way out of the engine. on_event runs on the thread that steps the engine and must
// neither block nor call back into the engine; it hands the event on.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void on_event(TokenEvent&& event) noexcept = 0;
};

// A sink that keeps events until a reader takes them. wakeup runs on the engine's thread, outside
// the lock, whenever the queue turns from empty to non-empty: post a read there, nothing more.
class EventQueue final : public TokenSink {
 public:
  explicit EventQueue(std::function<void()> wakeup = {});
  void on_event(TokenEvent&& event) noexcept override;
  // Moves all waiting events behind those in out; returns how many. Any thread.
  size_t take(std::vector<TokenEvent>& out);
  // No wakeup runs after this returns, and none is running: for a reader that goes away early. Must
  // not be called from inside the wakeup.
  void close();

 private:
  std::mutex mutex_;
  std::mutex wakeup_mutex_;
  std::vector<TokenEvent> events_;
  std::function<void()> wakeup_;
};

}  // namespace floe

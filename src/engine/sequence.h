#pragma once
// A request and its choices while they are in the engine.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "draft/sequence_rows.h"
#include "engine/request.h"
#include "grammar/grammar.h"
#include "kv/block_table.h"
#include "kv/prefix_cache.h"

namespace floe {

struct RequestState;

// One choice: its tokens and how far they are cached. Positions 0 .. n_cached - 1 are in the cache;
// the tokens after them still have to go through the model. A sequence that decodes has one such
// token.
struct Sequence {
  enum class State : uint8_t { waiting, running, ended };

  RequestState* request = nullptr;
  uint32_t choice = 0;
  uint64_t age = 0;  // position in the queue for its whole life; smaller is older
  uint64_t seed = 0;
  State state = State::waiting;
  SequenceId id = 0;  // while it runs: small, and another sequence's afterwards

  std::vector<int32_t> tokens;  // prompt and output
  uint32_t n_prompt = 0;
  uint32_t max_tokens = 0;  // of output
  uint32_t n_cached = 0;
  uint32_t n_highest_cached = 0;  // before the last preemption: rows below are computed again
  std::optional<KvBlockTable> table;
  PrefixChain prefix;     // of the table: how far others can find its blocks
  uint32_t n_reused = 0;  // positions that it found cached when it last started to run

  // Of a choice that tells how probable the prompt was. n_scored: tokens of the prompt, from the
  // second on, of which that is known; a preemption leaves them known.
  uint32_t n_scored = 0;
  std::vector<PromptLogprob> prompt_logprobs;  // [n_scored] until an event takes them along

  // Where the output stands in the request's grammar; nothing without one. Tokens that are guessed
  // are tried on a copy: what it has read is what was sent out, whatever was rejected or preempted.
  std::optional<GrammarMatcher> matcher;

  bool was_admitted = false;
  bool known_to_drafters = false;
  bool drafting = false;         // its last step verified guesses
  uint32_t n_prompt_cached = 0;  // prompt tokens that the first admission found in the cache
  int64_t admit_ns = 0;
  int64_t first_token_ns = 0;
  int64_t last_token_ns = 0;
  ChoiceTelemetry telemetry;
  uint64_t n_telemetry_rows = 0;
  double sum_telemetry_union = 0.0;

  uint32_t n_tokens() const { return static_cast<uint32_t>(tokens.size()); }
  uint32_t n_output() const { return n_tokens() - n_prompt; }
  uint32_t n_pending() const { return n_tokens() - n_cached; }
  uint32_t longest() const { return n_prompt + max_tokens; }
  bool is_scoring() const;  // logits of prompt rows are still wanted
  bool paused() const;      // its request is
};

struct RequestState {
  RequestId id = 0;
  Request request;  // the prompt has moved into the sequences
  int64_t arrival_ns = 0;
  int64_t admit_ns = 0;
  bool was_admitted = false;
  bool paused = false;  // Engine::pause: its choices get no rows
  uint32_t n_open = 0;  // choices that have not ended
  std::vector<std::unique_ptr<Sequence>> choices;
};

inline bool Sequence::is_scoring() const {
  return request->request.prompt_logprobs && choice == 0 && n_scored + 1 < n_prompt;
}

inline bool Sequence::paused() const {
  return request->paused;
}

}  // namespace floe

#pragma once
// The door of the engine room: requests in, token events out.
//
// Engine is single-threaded: whoever steps it also submits and cancels (the simulator, floe run).
// EngineThread (engine_thread.h) owns a thread that steps an Engine and is what a server talks to.
//
// One step is one forward over rows of many sequences: a row for every sequence that decodes, and
// chunks of prompts in the room that is left. A request's output depends on its own prompt,
// parameters and seed only, never on its neighbours, on chunk sizes, or on being preempted and
// computed again.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "draft/economics.h"
#include "draft/factory.h"
#include "draft/time_model.h"
#include "engine/admission.h"
#include "engine/request.h"
#include "engine/stats.h"
#include "kernels/kernel_table.h"
#include "model/model.h"

namespace floe {

class ScheduleHooks;

struct EngineOptions {
  uint32_t max_context = 4096;  // positions of one sequence; cut to the model's context length
  uint32_t n_kv_tokens = 0;     // size of the KV cache in tokens; 0: max_context * max_sequences
  // What sequences leave in the KV cache stays for others whose prompts begin alike, until somebody
  // needs its blocks. n_prefix_tokens: room for that beside n_kv_tokens.
  bool cache_prefixes = false;
  uint32_t n_prefix_tokens = 0;
  uint32_t max_sequences = 4;  // choices that run at the same time
  uint32_t max_waiting = 64;   // requests that may wait; one more is refused
  uint32_t max_choices = 8;    // largest n of a request
  // Both row budgets are raised to max_sequences + 1 where they are lower.
  uint32_t max_step_rows = 512;   // rows of one forward
  uint32_t max_mixed_rows = 128;  // the same while a sequence decodes: bounds its wait
  // Rows of one forward whose logits say how probable the prompt was (Request::prompt_logprobs):
  // bounds the memory for them, f32 [max_prompt_logit_rows][n_vocab].
  uint32_t max_prompt_logit_rows = 32;
  // Output that admission sets aside per choice; what goes beyond may preempt.
  uint32_t reserve_output_tokens = 512;
  // Speculation. Without drafters, or with the policy off, there is none.
  SpecPolicy spec;
  std::optional<MachineRates> rates;    // what forwards are predicted from before they were timed
  DrafterMaker drafters;                // may be empty
  std::optional<TapLayers> tap_layers;  // whose hidden states the drafters read
  uint32_t max_draft_tokens =
      kMaxDraftTokens;           // of a sequence in one step; a request may want fewer
  uint32_t max_draft_rows = 64;  // guesses that one forward verifies, of all sequences together
  KvTypes kv_types = KvType::F16;
  bool poison_freed_blocks = false;  // tests: freed cache slots become NaN
  ScheduleHooks* hooks = nullptr;    // tests: bends the scheduler's decisions; outlives the engine
};

class Engine {
 public:
  // model and clock outlive the engine. Fails with ErrorKind::memory when the cache or the
  // workspace does not fit, ErrorKind::usage when the options contradict each other.
  static Result<std::unique_ptr<Engine>> create(const EngineOptions& options, Model& model,
                                                const Clock& clock);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a request. Once accepted, every choice gets exactly one event with a finish reason.
  SubmitOutcome submit(Request request);
  // Ends a request in whatever state it is, with FinishReason::cancelled. Unknown or ended: no
  // effect.
  void cancel(RequestId id);
  // Ends one choice with FinishReason::stop because the reader found a stop string in it. The final
  // event counts n_completion_tokens. Unknown or ended: no effect.
  void finish(RequestId id, uint32_t choice, uint32_t n_completion_tokens);

  // The request's reader is behind: its choices make no tokens until resume(). They keep their
  // slots and cache blocks until somebody else needs them; then they are preempted and computed
  // again later, with the same output. Unknown or ended: no effect.
  void pause(RequestId id);
  void resume(RequestId id);

  // Starts what waits and fits, as the next step() would do first: for figures that are right while
  // that step runs.
  void admit();
  // One forward and everything around it. False when there was nothing to do: no request, or all of
  // them are paused.
  //
  // A forward that fails ends the requests that had rows in it, with EndError::device or
  // EndError::memory; the others go on.
  bool step();
  // Why the last forward failed; nothing where it did not.
  const std::optional<Error>& failure() const;

  // Ends what waits (shutdown error) and refuses new requests; what runs may finish.
  void begin_drain();
  // Ends everything with a shutdown error and refuses new requests.
  void abort_all();
  // Ends everything with this error and goes on: after a step that threw for want of memory.
  void end_all(EndError error);
  bool idle() const;      // no request in any state
  bool has_work() const;  // a request that is not paused

  EngineStats stats() const;
  // The choices that run, by age. Allocates nothing where there is room for max_sequences of them.
  void list_running(std::vector<SequenceStats>& out) const;
  const RequestLimits& limits() const;

  // Checks every invariant of block ownership and request state; stops the process when one is
  // broken.
  void audit() const;

 private:
  friend class EngineThread;
  class Impl;
  // For EngineThread, whose own admission has accepted the request.
  Admission make_admission() const;
  QueueLoad load() const;
  void accept(RequestId id, Request request, int64_t arrival_ns);
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace floe

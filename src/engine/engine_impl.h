#pragma once
// The engine behind its door (engine.h): engine.cpp has the step, engine_counts.cpp what is counted
// and told of it.
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "engine/grammar_mask.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/verify.h"

namespace floe {

class Engine::Impl {
 public:
  Impl(const EngineOptions& options, Model& model, const Clock& clock,
       std::unique_ptr<KvCache> cache, uint32_t n_blocks, uint32_t n_context,
       std::vector<std::unique_ptr<Drafter>> drafters)
      : options_(options),
        model_(model),
        clock_(clock),
        limits_(model.info().n_vocab, n_context, options.max_choices),
        admission_(make_admission()),
        cache_(std::move(cache)),
        scheduler_(options, n_blocks, options.hooks),
        sampler_(model.info().n_vocab),
        mask_(model.info().n_vocab),
        verify_(options, model.info(), std::move(drafters), scheduler_, sampler_, mask_, clock) {
    if (options.poison_freed_blocks) scheduler_.pool().poison_on_free(*cache_);
    rows_.reserve(Scheduler::max_rows(options) + options.max_draft_rows);
    slots_.reserve(options.max_sequences);
    left_.reserve(options.max_sequences);
    top_logprobs_.reserve(kMaxTopLogprobs);
  }

  SubmitOutcome submit(Request request);
  void accept(RequestId id, Request request, int64_t arrival_ns);
  void take(RequestId id, Request request, int64_t arrival_ns);
  void cancel(RequestId id);
  void finish(RequestId id, uint32_t choice, uint32_t n_completion_tokens);
  void pause(RequestId id, bool paused);
  void admit();
  bool step();
  void begin_drain();
  void abort_all();
  void end_all(EndError error);
  bool idle() const { return requests_.empty(); }
  bool has_work() const { return requests_.size() > n_paused_; }
  EngineStats stats() const;
  void list_running(std::vector<SequenceStats>& out) const;
  Admission make_admission() const {
    return {limits_, options_.max_waiting, options_.max_sequences};
  }
  QueueLoad load() const;
  void audit() const;

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  const RequestLimits& limits() const { return limits_; }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  // The step, in order, behind admit().
  std::span<SequenceRows> plan();
  Result<ForwardOutput> forward(std::span<SequenceRows> step);
  // Ends the requests of the step.
  void fail(std::span<const SequenceRows> step, const Error& error);
  void sample_and_emit(SequenceRows& rows, const float* logits);
  void learn(std::span<SequenceRows> step, const ForwardOutput& output);
  void retire();

  // What the logits of the planned prompt rows say of the tokens behind them. False: a row was not
  // finite.
  bool score_prompt(const SequenceRows& rows, const float* logits);
  void mark_cached(Sequence& sequence, uint32_t n_rows);
  void end_step(Sequence& sequence);
  void take_token(Sequence& sequence, const SampledToken& sampled);
  void end_at_grammar(Sequence& sequence);
  void count_decode_step(Sequence& sequence);
  void count_guesses(Sequence& sequence, const SequenceRows& rows);
  // position: of the guess within its draft.
  void count_accepted(Sequence& sequence, const DraftToken& guess, uint32_t position);
  void end(Sequence& sequence, FinishReason reason, EndError error, uint32_t n_completion_tokens);
  void end_request(RequestState& request, FinishReason reason, EndError error);
  void close(Sequence& sequence, FinishReason reason);
  TokenEvent event_of(const Sequence& sequence) const;
  void count_step(const ForwardOutput& output, std::span<const SequenceRows> step,
                  int64_t begin_ns);

  const EngineOptions options_;
  Model& model_;
  const Clock& clock_;
  const RequestLimits limits_;
  Admission admission_;             // of submit()
  std::unique_ptr<KvCache> cache_;  // drafters know its address
  Scheduler scheduler_;
  Sampler sampler_;
  GrammarMask mask_;
  Verify verify_;

  std::unordered_map<RequestId, std::unique_ptr<RequestState>> requests_;
  std::vector<RequestId> ended_;  // requests whose last choice ended since the last retire()
  std::vector<Sequence*> left_;   // choices that drafters know and that ended since then
  uint64_t next_age_ = 1;
  uint32_t n_unstarted_ = 0;  // requests none of whose choices ran yet
  uint32_t n_paused_ = 0;     // requests
  bool draining_ = false;
  double mean_run_seconds_ = 0.0;  // recent requests, admission to end; 0: none yet
  int64_t now_ns_ = 0;             // of the current step or call
  std::optional<Error> failure_;   // of the last forward

  // One step's rows; kept so that a step allocates nothing.
  std::vector<ForwardRow> rows_;
  std::vector<SequenceSlots> slots_;
  std::vector<uint32_t> routing_;  // what the forward logged, while there are drafters
  std::vector<TokenLogprob> top_logprobs_;
  StepTelemetry telemetry_;
  EngineStats stats_;
};

}  // namespace floe

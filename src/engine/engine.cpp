#include "engine/engine.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "base/time_between.h"
#include "engine/engine_impl.h"
#include "engine/forward_limits.h"

namespace floe {

SubmitOutcome Engine::Impl::submit(Request request) {
  admission_.update(load());
  SubmitOutcome outcome = admission_.decide(limits_.check(request));
  if (outcome.status != SubmitStatus::accepted) return outcome;
  accept(outcome.id, std::move(request), clock_.now_ns());
  return outcome;
}

void Engine::Impl::accept(RequestId id, Request request, int64_t arrival_ns) {
  FLOE_CHECK(request.sink != nullptr);
  const std::shared_ptr<TokenSink> sink = request.sink;
  const uint32_t n_choices = request.n;
  ++stats_.n_accepted;
  try {
    take(id, std::move(request), arrival_ns);
    return;
  } catch (const std::bad_alloc&) {
  }
  ++stats_.n_requests_done;
  stats_.n_finished_error += n_choices;
  for (uint32_t choice = 0; choice < n_choices; ++choice) {
    TokenEvent event;
    event.request = id;
    event.choice = choice;
    event.finish = FinishReason::error;
    event.error = EndError::memory;
    event.request_done = choice + 1 == n_choices;
    sink->on_event(std::move(event));
  }
}

// All or nothing: what allocates comes before the first change of the engine's state.
void Engine::Impl::take(RequestId id, Request request, int64_t arrival_ns) {
  FLOE_CHECK(!request.prompt.empty() && request.prompt.size() <= limits_.n_context());
  auto state = std::make_unique<RequestState>();
  const auto n_prompt = static_cast<uint32_t>(request.prompt.size());
  request.sampling.n_prompt = n_prompt;
  request.sampling.held_tokens = request.stop_tokens;
  state->id = id;
  state->arrival_ns = arrival_ns;
  state->n_open = request.n;
  for (uint32_t choice = 0; choice < request.n; ++choice) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = state.get();
    sequence->choice = choice;
    sequence->age = next_age_++;
    sequence->seed = choice_seed(request.sampling.seed, choice);
    if (request.grammar) sequence->matcher.emplace(request.grammar);
    sequence->n_prompt = n_prompt;
    sequence->max_tokens = std::min(request.max_tokens, limits_.n_context() - n_prompt);
    if (choice + 1 < request.n) {
      sequence->tokens = request.prompt;
    } else {
      sequence->tokens = std::move(request.prompt);
    }
    state->choices.push_back(std::move(sequence));
  }
  state->request = std::move(request);
  ended_.reserve(requests_.size() + 1);
  RequestState& accepted = *state;
  FLOE_CHECK(requests_.emplace(id, std::move(state)).second);
  ++n_unstarted_;
  for (const auto& sequence : accepted.choices) scheduler_.enqueue(*sequence);
  if (draining_) {
    now_ns_ = clock_.now_ns();
    end_request(accepted, FinishReason::error, EndError::shutdown);
    retire();
  }
}

void Engine::Impl::cancel(RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  now_ns_ = clock_.now_ns();
  end_request(*found->second, FinishReason::cancelled, EndError::none);
  retire();
}

void Engine::Impl::finish(RequestId id, uint32_t choice, uint32_t n_completion_tokens) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || choice >= found->second->choices.size()) return;
  Sequence& sequence = *found->second->choices[choice];
  if (sequence.state == Sequence::State::ended) return;
  now_ns_ = clock_.now_ns();
  end(sequence, FinishReason::stop, EndError::none,
      std::min(n_completion_tokens, sequence.n_output()));
  retire();
}

void Engine::Impl::pause(RequestId id, bool paused) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second->paused == paused) return;
  found->second->paused = paused;
  n_paused_ += paused ? 1 : -1;
}

bool Engine::Impl::step() {
  if (!has_work()) return false;
  admit();
  const std::span<SequenceRows> step = plan();
  if (step.empty()) return true;  // everything was preempted: the next step admits it again
  verify_.guess(step);
  const Result<ForwardOutput> result = forward(step);
  if (!result.ok()) {
    fail(step, result.error());
    return true;
  }
  const ForwardOutput& output = result.value();
  const float* logits = output.logits;
  for (SequenceRows& rows : step) {
    sample_and_emit(rows, logits);
    logits += size_t{rows.n_logit_rows()} * model_.info().n_vocab;
  }
  learn(step, output);
  retire();
  return true;
}

void Engine::Impl::admit() {
  now_ns_ = clock_.now_ns();
  scheduler_.admit();
  for (Sequence* sequence : scheduler_.preempted()) verify_.end(*sequence);
  for (Sequence* sequence : scheduler_.started()) {
    verify_.begin(*sequence);
    if (sequence->was_admitted) continue;  // it was preempted and comes back
    RequestState& request = *sequence->request;
    sequence->was_admitted = true;
    if (verify_.active()) {
      sequence->telemetry.spec_state = "plain";
      sequence->telemetry.spec_reason = SpecReason::no_guess;
    }
    sequence->n_prompt_cached = sequence->n_cached;
    sequence->admit_ns = now_ns_;
    stats_.queue.observe(seconds_between(request.arrival_ns, now_ns_));
    stats_.n_prompt_tokens += sequence->n_prompt;
    stats_.n_cached_tokens += sequence->n_prompt_cached;
    ++(sequence->n_prompt_cached != 0 ? stats_.n_prefix_hits : stats_.n_prefix_misses);
    if (request.was_admitted) continue;
    request.was_admitted = true;
    request.admit_ns = now_ns_;
    --n_unstarted_;
  }
}

std::span<SequenceRows> Engine::Impl::plan() {
  const std::span<SequenceRows> step = scheduler_.plan();
  for (Sequence* sequence : scheduler_.preempted()) verify_.end(*sequence);
  return step;
}

void Engine::Impl::fail(std::span<const SequenceRows> step, const Error& error) {
  spdlog::error("a forward failed: {}", error.message);
  failure_ = error;
  now_ns_ = clock_.now_ns();
  const EndError end = error.kind == ErrorKind::memory ? EndError::memory : EndError::device;
  for (const SequenceRows& rows : step) {
    Sequence& sequence = scheduler_.sequence_of(rows);
    if (sequence.state == Sequence::State::ended) continue;  // with a sibling
    end_request(*sequence.request, FinishReason::error, end);
  }
  retire();
}

Result<ForwardOutput> Engine::Impl::forward(std::span<SequenceRows> step) {
  rows_.clear();
  slots_.clear();
  routing_.clear();
  uint32_t n_logit_rows = 0;
  for (SequenceRows& rows : step) {
    const Sequence& sequence = scheduler_.sequence_of(rows);
    const uint32_t begin = rows.first_position;
    const uint32_t end = begin + rows.n_rows;
    sequence.table->check_writable(begin, end + rows.n_verify);
    const auto index = static_cast<uint32_t>(slots_.size());
    slots_.push_back(SequenceSlots{rows.slots.first(end + rows.n_verify)});
    rows.first_row = static_cast<uint32_t>(rows_.size());
    for (uint32_t p = begin; p < end; ++p) {
      const bool wants_logits = (rows.reaches_end && p + 1 == end) || rows.scores(p - begin);
      rows_.push_back(ForwardRow{rows.tokens[p], p, index, wants_logits});
    }
    for (uint32_t i = 0; i < rows.n_verify; ++i) {
      rows_.push_back(ForwardRow{rows.draft[i].token, end + i, index, true});
    }
    n_logit_rows += rows.n_logit_rows();
  }
  const int64_t begin_ns = clock_.now_ns();
  const ForwardBatch batch{rows_, slots_, *cache_, 0, verify_.active() ? &routing_ : nullptr};
  FLOE_TRY(const ForwardOutput output, model_.forward(batch));
  failure_.reset();
  now_ns_ = clock_.now_ns();
  FLOE_CHECK(output.n_logit_rows == n_logit_rows);
  count_step(output, step, begin_ns);
  return output;
}

// logits f32 [rows.n_logit_rows()][n_vocab]
void Engine::Impl::sample_and_emit(SequenceRows& rows, const float* logits) {
  Sequence& sequence = scheduler_.sequence_of(rows);
  if (sequence.state == Sequence::State::ended) return;  // a sibling's row was not finite
  const bool was_decoding = sequence.n_output() > 0;
  const uint32_t n_vocab = model_.info().n_vocab;
  if (!score_prompt(rows, logits)) {
    end_request(*sequence.request, FinishReason::error, EndError::numeric);
    return;
  }
  logits += size_t{rows.n_scored} * n_vocab;
  mark_cached(sequence, rows.n_rows);
  if (!rows.reaches_end) return;
  if (sequence.max_tokens == 0) {
    end(sequence, FinishReason::length, EndError::none, 0);
    return;
  }
  if (was_decoding) count_decode_step(sequence);
  if (verify_.active() && rows.decodes()) count_guesses(sequence, rows);
  for (uint32_t row = 0; row < rows.n_end_logit_rows(); ++row) {
    const Request& request = sequence.request->request;
    std::span<const uint64_t> mask;
    if (sequence.matcher) mask = mask_.of(*sequence.matcher, request);
    const SampledToken sampled =
        sampler_.sample({logits + size_t{row} * n_vocab, n_vocab}, sequence.tokens,
                        request.sampling, sequence.seed, sequence.n_tokens(), top_logprobs_, mask);
    if (!sampled.finite) {
      end_request(*sequence.request, FinishReason::error, EndError::numeric);
      return;
    }
    if (sampled.token < 0) {
      end_at_grammar(sequence);
      return;
    }
    ++rows.n_sampled;
    const bool accepted = row < rows.n_verify && rows.draft[row].token == sampled.token;
    if (accepted) count_accepted(sequence, rows.draft[row], rows.n_accepted++);
    take_token(sequence, sampled);
    if (!accepted || sequence.state == Sequence::State::ended) return;
    mark_cached(sequence, 1);  // the row of the guess
  }
}

// logits f32 [rows.n_scored][n_vocab]
bool Engine::Impl::score_prompt(const SequenceRows& rows, const float* logits) {
  Sequence& sequence = scheduler_.sequence_of(rows);
  const uint32_t n_vocab = model_.info().n_vocab;
  const uint32_t n_top = sequence.request->request.top_prompt_logprobs;
  for (uint32_t row = 0; row < rows.n_scored; ++row) {
    PromptLogprob& score = sequence.prompt_logprobs.emplace_back();
    const int32_t token = sequence.tokens[++sequence.n_scored];
    const std::span<const float> row_logits(logits + size_t{row} * n_vocab, n_vocab);
    if (!sampler_.score(row_logits, token, n_top, score)) return false;
  }
  return true;
}

void Engine::Impl::mark_cached(Sequence& sequence, uint32_t n_rows) {
  scheduler_.mark_cached(sequence, n_rows);
  stats_.n_tokens_max = std::max(stats_.n_tokens_max, sequence.n_cached);
}

// What the step was good for: drafters and their economics, and the blocks that are final now.
void Engine::Impl::learn(std::span<SequenceRows> step, const ForwardOutput& output) {
  const size_t hidden_dim = model_.info().hidden_dim;
  for (SequenceRows& rows : step) {
    const Sequence& sequence = scheduler_.sequence_of(rows);
    rows.tokens = sequence.tokens;
    if (output.hidden != nullptr) rows.hidden = output.hidden + rows.first_row * hidden_dim;
    if (output.taps != nullptr) rows.taps = output.taps + rows.first_row * kTaps * hidden_dim;
    if (sequence.state != Sequence::State::running) continue;
    rows.n_committed = sequence.n_cached - rows.first_position;
  }
  verify_.learn(step, output.ledger, telemetry_.seconds, routing_);
  stats_.draft_seconds += verify_.draft_seconds();
  stats_.draft_reads = verify_.draft_reads();
  for (const SequenceRows& rows : step) {
    Sequence& sequence = scheduler_.sequence_of(rows);
    if (rows.n_committed != 0) end_step(sequence);
  }
}

void Engine::Impl::end_step(Sequence& sequence) {
  const auto n_written = verify_.n_written(sequence);
  scheduler_.end_step(sequence, verify_.n_final(sequence), n_written);
}

// Appends the token and sends it, or ends the choice.
void Engine::Impl::take_token(Sequence& sequence, const SampledToken& sampled) {
  // First, because it allocates: without memory the token must not be half taken.
  std::vector<TokenLogprob> top_logprobs = top_logprobs_;
  const RequestState& request = *sequence.request;
  if (sequence.first_token_ns == 0) {
    sequence.first_token_ns = now_ns_;
    stats_.time_to_first_token.observe(seconds_between(request.arrival_ns, now_ns_));
    stats_.prefill.observe(seconds_between(sequence.admit_ns, now_ns_));
  } else {
    stats_.inter_token.observe(seconds_between(sequence.last_token_ns, now_ns_));
  }
  sequence.last_token_ns = now_ns_;
  const auto& stops = request.request.stop_tokens;
  if (std::find(stops.begin(), stops.end(), sampled.token) != stops.end()) {
    end(sequence, FinishReason::stop, EndError::none, sequence.n_output());
    return;
  }
  if (sequence.matcher && !sequence.matcher->accept(sampled.token)) {
    end_at_grammar(sequence);
    return;
  }
  sequence.tokens.push_back(sampled.token);
  ++stats_.n_generated_tokens;
  const bool is_last = sequence.n_output() == sequence.max_tokens;
  if (is_last) close(sequence, FinishReason::length);
  TokenEvent event = event_of(sequence);
  event.index = sequence.n_output() - 1;
  event.token = sampled.token;
  event.logprob = sampled.logprob;
  event.top_logprobs = std::move(top_logprobs);
  event.prompt_logprobs = std::exchange(sequence.prompt_logprobs, {});
  if (is_last) event.finish = FinishReason::length;
  request.request.sink->on_event(std::move(event));
  if (!is_last && sequence.matcher && sequence.matcher->must_end()) end_at_grammar(sequence);
}

// Ends a choice to which its grammar lets no token be added.
void Engine::Impl::end_at_grammar(Sequence& sequence) {
  end(sequence, sequence.matcher->can_end() ? FinishReason::stop : FinishReason::length,
      EndError::none, sequence.n_output());
}

// Ends a choice with an event that carries no token.
void Engine::Impl::end(Sequence& sequence, FinishReason reason, EndError error,
                       uint32_t n_completion_tokens) {
  close(sequence, reason);
  TokenEvent event = event_of(sequence);
  event.index = n_completion_tokens;
  event.counts.completion_tokens = n_completion_tokens;
  event.finish = reason;
  event.error = error;
  if (error == EndError::none && !sequence.is_scoring()) {
    event.prompt_logprobs = std::exchange(sequence.prompt_logprobs, {});
  }
  sequence.request->request.sink->on_event(std::move(event));
}

void Engine::Impl::end_request(RequestState& request, FinishReason reason, EndError error) {
  for (const auto& sequence : request.choices) {
    if (sequence->state == Sequence::State::ended) continue;
    // Other errors leave what earlier steps have sealed as it was.
    const bool runs = sequence->state == Sequence::State::running;
    if (runs && error == EndError::numeric) scheduler_.distrust(*sequence);
    end(*sequence, reason, error, sequence->n_output());
  }
}

// Takes a choice out of the scheduler, gives its blocks back and counts it.
void Engine::Impl::close(Sequence& sequence, FinishReason reason) {
  RequestState& request = *sequence.request;
  // What it has computed is there for whoever goes on from it.
  if (sequence.state == Sequence::State::running && reason != FinishReason::error) {
    end_step(sequence);
  }
  if (sequence.known_to_drafters) left_.push_back(&sequence);
  scheduler_.remove(sequence);
  switch (reason) {
    case FinishReason::stop:
      ++stats_.n_finished_stop;
      break;
    case FinishReason::length:
      ++stats_.n_finished_length;
      break;
    case FinishReason::cancelled:
      ++stats_.n_finished_cancelled;
      break;
    case FinishReason::error:
    case FinishReason::none:
      ++stats_.n_finished_error;
      break;
  }
  if (sequence.first_token_ns != 0) {
    stats_.decode.observe(seconds_between(sequence.first_token_ns, now_ns_));
  }
  stats_.end_to_end.observe(seconds_between(request.arrival_ns, now_ns_));
  FLOE_CHECK(request.n_open > 0);
  if (--request.n_open > 0) return;
  ++stats_.n_requests_done;
  if (request.was_admitted) {
    const double run_seconds = seconds_between(request.admit_ns, now_ns_);
    mean_run_seconds_ =
        mean_run_seconds_ == 0.0 ? run_seconds : 0.9 * mean_run_seconds_ + 0.1 * run_seconds;
  } else {
    --n_unstarted_;
  }
  if (request.paused) --n_paused_;
  ended_.push_back(request.id);
}

void Engine::Impl::retire() {
  for (Sequence* sequence : left_) verify_.end(*sequence);
  left_.clear();
  for (const RequestId id : ended_) requests_.erase(id);
  ended_.clear();
}

void Engine::Impl::begin_drain() {
  admission_.close();
  draining_ = true;
  now_ns_ = clock_.now_ns();
  for (const auto& [id, request] : requests_) {
    if (request->was_admitted) continue;
    end_request(*request, FinishReason::error, EndError::shutdown);
  }
  retire();
}

void Engine::Impl::abort_all() {
  admission_.close();
  draining_ = true;
  end_all(EndError::shutdown);
}

void Engine::Impl::end_all(EndError error) {
  now_ns_ = clock_.now_ns();
  for (const auto& [id, request] : requests_) end_request(*request, FinishReason::error, error);
  retire();
}

QueueLoad Engine::Impl::load() const {
  QueueLoad load;
  load.n_accepted = stats_.n_accepted;
  load.n_waiting = n_unstarted_;
  load.n_running = static_cast<uint32_t>(requests_.size()) - n_unstarted_;
  load.n_sequences = static_cast<uint32_t>(scheduler_.running().size());
  const double run_seconds = mean_run_seconds_ > 0.0 ? mean_run_seconds_ : 1.0;
  load.wait_seconds = run_seconds * (n_unstarted_ + 1.0) / options_.max_sequences;
  return load;
}

void Engine::Impl::audit() const {
  scheduler_.audit();
  size_t n_waiting = 0;
  size_t n_running = 0;
  uint32_t n_unstarted = 0;
  uint32_t n_paused = 0;
  for (const auto& [id, request] : requests_) {
    uint32_t n_open = 0;
    for (const auto& sequence : request->choices) {
      FLOE_CHECK(sequence->request == request.get());
      n_waiting += sequence->state == Sequence::State::waiting ? 1 : 0;
      n_running += sequence->state == Sequence::State::running ? 1 : 0;
      n_open += sequence->state != Sequence::State::ended ? 1 : 0;
    }
    FLOE_CHECK(n_open == request->n_open && n_open > 0);
    n_unstarted += request->was_admitted ? 0 : 1;
    n_paused += request->paused ? 1 : 0;
  }
  FLOE_CHECK(n_unstarted == n_unstarted_ && n_paused == n_paused_);
  FLOE_CHECK(n_waiting == scheduler_.waiting().size());
  FLOE_CHECK(n_running == scheduler_.running().size());
  if (requests_.empty()) FLOE_CHECK(scheduler_.pool().n_used() == 0);
}

Result<std::unique_ptr<Engine>> Engine::create(const EngineOptions& options, Model& model,
                                               const Clock& clock) {
  if (options.max_sequences == 0) return usage_error("max_sequences: expected at least 1, found 0");
  if (options.max_choices == 0) return usage_error("max_choices: expected at least 1, found 0");
  uint32_t n_context = options.max_context;
  if (model.info().context_length != 0) {
    n_context = std::min(n_context, model.info().context_length);
  }
  if (options.max_prompt_logit_rows == 0) {
    return usage_error("max_prompt_logit_rows: expected at least 1, found 0");
  }
  if (n_context < 2) {
    return usage_error("context: expected at least 2 tokens, found {}", n_context);
  }
  const uint64_t n_tokens =
      options.n_kv_tokens != 0 ? options.n_kv_tokens : uint64_t{n_context} * options.max_sequences;
  const uint64_t n_prefix_tokens = options.cache_prefixes ? options.n_prefix_tokens : 0;
  const auto blocks_of = [](uint64_t n) { return (n + kKvBlockTokens - 1) / kKvBlockTokens; };
  const uint64_t n_blocks = blocks_of(n_tokens) + blocks_of(n_prefix_tokens);
  if (n_blocks * kKvBlockTokens > std::numeric_limits<uint32_t>::max()) {
    return usage_error("KV cache: expected at most {} tokens, found {}",
                       std::numeric_limits<uint32_t>::max(), n_tokens + n_prefix_tokens);
  }
  const auto n_slots = static_cast<uint32_t>(n_blocks * kKvBlockTokens);
  n_context =
      static_cast<uint32_t>(std::min<uint64_t>(n_context, blocks_of(n_tokens) * kKvBlockTokens));
  if (model.cache_bytes(options.kv_types).per_state != 0) {
    return model_error("{}: expected a model without recurrent layers, whose states are not kept",
                       model.info().name);
  }
  FLOE_TRY(std::unique_ptr<KvCache> cache, model.make_cache({n_slots, options.kv_types}));
  std::vector<std::unique_ptr<Drafter>> drafters;
  if (options.drafters && options.spec.mode != SpecMode::off) {
    const DraftLimits draft_limits{options.max_sequences, n_context, Scheduler::max_rows(options),
                                   options.kv_types};
    FLOE_TRY(drafters, options.drafters(model, *cache, draft_limits));
  }
  // Room for guesses whatever the mode: engines may take turns on one model, and the last one that
  // was made has reserved it.
  const ForwardLimits limits =
      forward_limits(options, n_context, static_cast<bool>(options.drafters));
  FLOE_TRY_VOID(model.reserve(limits));
  auto impl =
      std::make_unique<Impl>(options, model, clock, std::move(cache),
                             static_cast<uint32_t>(n_blocks), n_context, std::move(drafters));
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

SubmitOutcome Engine::submit(Request request) {
  return impl_->submit(std::move(request));
}
void Engine::accept(RequestId id, Request request, int64_t arrival_ns) {
  impl_->accept(id, std::move(request), arrival_ns);
}
void Engine::cancel(RequestId id) {
  impl_->cancel(id);
}
void Engine::finish(RequestId id, uint32_t choice, uint32_t n_completion_tokens) {
  impl_->finish(id, choice, n_completion_tokens);
}
void Engine::pause(RequestId id) {
  impl_->pause(id, true);
}
void Engine::resume(RequestId id) {
  impl_->pause(id, false);
}
void Engine::admit() {
  impl_->admit();
}
bool Engine::step() {
  return impl_->step();
}
void Engine::begin_drain() {
  impl_->begin_drain();
}
void Engine::abort_all() {
  impl_->abort_all();
}
void Engine::end_all(EndError error) {
  impl_->end_all(error);
}
bool Engine::idle() const {
  return impl_->idle();
}
bool Engine::has_work() const {
  return impl_->has_work();
}
EngineStats Engine::stats() const {
  return impl_->stats();
}
const std::optional<Error>& Engine::failure() const {
  return impl_->failure();
}
void Engine::list_running(std::vector<SequenceStats>& out) const {
  impl_->list_running(out);
}
const RequestLimits& Engine::limits() const {
  return impl_->limits();
}
Admission Engine::make_admission() const {
  return impl_->make_admission();
}
QueueLoad Engine::load() const {
  return impl_->load();
}
void Engine::audit() const {
  impl_->audit();
}

}  // namespace floe

#include "engine/verify.h"

#include <algorithm>

#include "base/time_between.h"

namespace floe {

namespace {

// Low enough that no bias of a request lifts it, finite so that it is a logit.
constexpr float kUnknownToken = -1e30f;

}  // namespace

Verify::Verify(const EngineOptions& options, const ModelInfo& model,
               std::vector<std::unique_ptr<Drafter>> drafters, Scheduler& scheduler,
               Sampler& sampler, const Clock& clock)
    : max_draft_tokens_(options.max_draft_tokens),
      max_draft_rows_(options.max_draft_rows),
      model_(model),
      scheduler_(scheduler),
      sampler_(sampler),
      clock_(clock),
      speculation_(options.spec, model, options.rates, std::move(drafters), options.max_sequences,
                   clock) {
  if (!active()) return;
  turns_.reserve(options.max_sequences);
  spec_turns_.resize(options.max_sequences);
  for (SpecTurn& turn : spec_turns_) turn.draft.reserve(kMaxDraftTokens);
  committed_.reserve(options.max_sequences);
  outcomes_.reserve(options.max_sequences);
}

void Verify::begin(Sequence& sequence) {
  // One that wants no guesses need not be kept up with.
  if (!active() || sequence.request->request.max_draft_tokens == 0) return;
  sequence.known_to_drafters = true;
  speculation_.begin(sequence.age, sequence.tokens, sequence.n_cached,
                     sequence.request->request.prediction, sequence.request->choices.size() > 1);
}

void Verify::end(Sequence& sequence) {
  if (!sequence.known_to_drafters) return;
  sequence.known_to_drafters = false;
  speculation_.end(sequence.age);
}

void Verify::guess(std::span<PlannedRows> plan) {
  if (!active()) return;
  const int64_t begin_ns = clock_.now_ns();
  turns_.clear();
  StepShape shape;
  shape.max_draft_rows = max_draft_rows_;
  for (const PlannedRows& planned : plan) {
    if (!planned.decodes()) {
      shape.n_prompt_rows += planned.n_rows;
      continue;
    }
    Sequence& sequence = *planned.sequence;
    // The step brings one token whatever the guesses are.
    const uint32_t n_left = sequence.max_tokens - sequence.n_output();
    const uint32_t n_wanted =
        n_left == 0
            ? 0
            : std::min({n_left - 1, sequence.request->request.max_draft_tokens, max_draft_tokens_});
    const uint32_t n_room = scheduler_.grow_for_guesses(sequence, n_wanted);
    SpecTurn& turn = spec_turns_[turns_.size()];
    turn.sequence = sequence.age;
    turn.tokens = sequence.tokens;
    turn.slots = sequence.table->slots().first(size_t{sequence.n_tokens()} + n_room);
    turn.max_tokens = n_room;
    turns_.push_back({&sequence, sequence.n_tokens(), 0, 0});
  }
  speculation_.propose(turns(), shape, *this);
  size_t next = 0;
  for (PlannedRows& planned : plan) {
    if (!planned.decodes()) continue;
    const SpecTurn& turn = spec_turns_[next++];
    planned.guesses = std::span(turn.draft).first(turn.n_verify);
  }
  guess_seconds_ = seconds_between(begin_ns, clock_.now_ns());
}

int32_t Verify::choose(const DraftTask& task, std::span<const float> logits) {
  const auto turn = std::find_if(turns_.begin(), turns_.end(),
                                 [&](const Turn& t) { return t.sequence->age == task.sequence; });
  FLOE_CHECK(turn != turns_.end());
  if (logits.size() < model_.n_vocab) {
    whole_logits_.assign(model_.n_vocab, kUnknownToken);
    std::copy(logits.begin(), logits.end(), whole_logits_.begin());
    logits = whole_logits_;
  }
  // The sampler wants one history; the room for it was set aside when the sequence started.
  Sequence& sequence = *turn->sequence;
  for (const DraftToken& guess : *task.draft) sequence.tokens.push_back(guess.token);
  const SampledToken token =
      sampler_.choose(logits, sequence.tokens, sequence.request->request.sampling, sequence.seed,
                      sequence.n_tokens());
  sequence.tokens.resize(turn->n_tokens_before);
  return token.finite ? token.token : -1;
}

void Verify::judge(const PlannedRows& planned, uint32_t n_sampled, uint32_t n_accepted) {
  if (!active() || !planned.decodes()) return;
  const auto turn = std::find_if(turns_.begin(), turns_.end(),
                                 [&](const Turn& t) { return t.sequence == planned.sequence; });
  FLOE_CHECK(turn != turns_.end());
  turn->n_sampled = n_sampled;
  turn->n_accepted = n_accepted;
}

void Verify::learn(std::span<const PlannedRows> plan, std::span<const uint32_t> first_cached,
                   const ForwardOutput& output, double forward_seconds,
                   std::span<const uint32_t> routing) {
  if (!active()) return;
  const int64_t begin_ns = clock_.now_ns();
  committed_.clear();
  outcomes_.clear();
  StepMeasure measure;
  size_t next = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    const Sequence& sequence = *plan[i].sequence;
    const uint32_t first_row = measure.n_rows;
    measure.n_rows += plan[i].n_all_rows();
    if (plan[i].decodes()) {
      const Turn& turn = turns_[next];
      const SpecTurn& guessed = spec_turns_[next++];
      outcomes_.push_back({sequence.age, guessed.draft, guessed.n_verify, turn.n_accepted,
                           std::span(sequence.tokens).subspan(turn.n_tokens_before), first_row,
                           turn.n_sampled});
    } else {
      measure.n_prompt_rows += plan[i].n_rows;
    }
    if (sequence.state != Sequence::State::running || !sequence.known_to_drafters) continue;
    committed_.push_back(
        {sequence.age, sequence.tokens, sequence.table->slots().first(sequence.n_cached),
         first_cached[i], sequence.n_cached - first_cached[i],
         output.hidden + size_t{first_row} * model_.hidden_dim,
         output.taps == nullptr ? nullptr
                                : output.taps + size_t{first_row} * kTaps * model_.hidden_dim});
  }
  speculation_.accept(committed_);
  measure.forward_seconds = forward_seconds;
  draft_seconds_ = guess_seconds_ + seconds_between(begin_ns, clock_.now_ns());
  measure.ledger = &output.ledger;
  measure.routing = routing;
  speculation_.learn(outcomes_, measure);
}

void Verify::settle(std::span<const PlannedRows> plan) {
  for (const PlannedRows& planned : plan) {
    Sequence& sequence = *planned.sequence;
    if (sequence.state != Sequence::State::running) continue;
    scheduler_.settle(sequence, sequence.known_to_drafters
                                    ? speculation_.n_settled(sequence.age, sequence.n_cached)
                                    : sequence.n_cached);
  }
}

}  // namespace floe

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
               Sampler& sampler, GrammarMask& mask, const Clock& clock)
    : max_draft_tokens_(options.max_draft_tokens),
      max_draft_rows_(options.max_draft_rows),
      model_(model),
      scheduler_(scheduler),
      sampler_(sampler),
      mask_(mask),
      clock_(clock),
      speculation_(options.spec, model, options.rates, std::move(drafters), clock) {}

void Verify::begin(Sequence& sequence) {
  // One that wants no guesses need not be kept up with.
  if (!active() || sequence.request->request.max_draft_tokens == 0) return;
  sequence.known_to_drafters = true;
  std::array<uint32_t, kDraftSources> n_written{};
  for (uint32_t w = 0; w < kDraftSources; ++w) n_written[w] = sequence.table->n_written(w);
  speculation_.begin(sequence.id, sequence.tokens, sequence.n_cached, n_written,
                     sequence.request->request.prediction, sequence.request->choices.size() > 1);
}

void Verify::end(Sequence& sequence) {
  if (!sequence.known_to_drafters) return;
  sequence.known_to_drafters = false;
  speculation_.end(sequence.id);
}

void Verify::guess(std::span<SequenceRows> step) {
  if (!active()) return;
  const int64_t begin_ns = clock_.now_ns();
  for (SequenceRows& rows : step) {
    if (!rows.decodes()) continue;
    Sequence& sequence = scheduler_.sequence_of(rows);
    // The step brings one token whatever the guesses are.
    const uint32_t n_left = sequence.max_tokens - sequence.n_output();
    const uint32_t n_wanted =
        n_left == 0
            ? 0
            : std::min({n_left - 1, sequence.request->request.max_draft_tokens, max_draft_tokens_});
    rows.max_draft = scheduler_.grow_for_guesses(sequence, n_wanted);
    rows.slots = sequence.table->slots().first(size_t{sequence.n_tokens()} + rows.max_draft);
  }
  speculation_.propose(step, max_draft_rows_, *this);
  for (SequenceRows& rows : step) {
    if (rows.n_verify > 0 && scheduler_.sequence_of(rows).matcher) keep_what_may_follow(rows);
  }
  guess_seconds_ = seconds_between(begin_ns, clock_.now_ns());
}

void Verify::keep_what_may_follow(SequenceRows& rows) {
  const Sequence& sequence = scheduler_.sequence_of(rows);
  GrammarMatcher matcher = *sequence.matcher;
  const std::vector<int32_t>& stops = sequence.request->request.stop_tokens;
  for (uint32_t i = 0; i < rows.n_verify; ++i) {
    const int32_t token = rows.draft[i].token;
    if (matcher.accept(token)) continue;
    // An end that may be chosen is a guess like others; nothing follows it.
    const bool ends = std::find(stops.begin(), stops.end(), token) != stops.end();
    rows.n_verify = i + (ends && matcher.can_end() ? 1 : 0);
    return;
  }
}

int32_t Verify::choose(const SequenceRows& rows, std::span<const float> logits) {
  if (logits.size() < model_.n_vocab) {
    whole_logits_.assign(model_.n_vocab, kUnknownToken);
    std::copy(logits.begin(), logits.end(), whole_logits_.begin());
    logits = whole_logits_;
  }
  // The sampler wants one history; the room for it was set aside when the sequence started.
  Sequence& sequence = scheduler_.sequence_of(rows);
  std::span<const uint64_t> mask;
  if (sequence.matcher) {
    GrammarMatcher matcher = *sequence.matcher;
    for (const DraftToken& guess : rows.draft) {
      if (!matcher.accept(guess.token)) return -1;  // nothing that follows can be right
    }
    mask = mask_.of(matcher, sequence.request->request);
  }
  for (const DraftToken& guess : rows.draft) sequence.tokens.push_back(guess.token);
  const SampledToken token =
      sampler_.choose(logits, sequence.tokens, sequence.request->request.sampling, sequence.seed,
                      sequence.n_tokens(), mask);
  sequence.tokens.resize(rows.tokens.size());
  return token.finite ? token.token : -1;
}

void Verify::learn(std::span<const SequenceRows> step, const ByteLedger& ledger,
                   double forward_seconds, std::span<const uint32_t> routing) {
  if (!active()) return;
  const int64_t begin_ns = clock_.now_ns();
  speculation_.accept(step);
  draft_seconds_ = guess_seconds_ + seconds_between(begin_ns, clock_.now_ns());
  StepMeasure measure;
  measure.forward_seconds = forward_seconds;
  measure.ledger = &ledger;
  measure.routing = routing;
  speculation_.learn(step, measure);
}

}  // namespace floe

#include "engine/scheduler.h"

#include <algorithm>

namespace floe {

namespace {

void insert_by_age(std::vector<Sequence*>& list, Sequence& sequence) {
  const auto place =
      std::upper_bound(list.begin(), list.end(), &sequence,
                       [](const Sequence* a, const Sequence* b) { return a->age < b->age; });
  list.insert(place, &sequence);
}

void erase(std::vector<Sequence*>& list, Sequence& sequence) {
  const auto place = std::find(list.begin(), list.end(), &sequence);
  FLOE_CHECK(place != list.end());
  list.erase(place);
}

// Whole blocks of the prompt that choices share. At least one prompt token is left to each choice:
// its row gives the logits of the first output token.
uint32_t shareable_blocks(const Sequence& sequence) {
  return (sequence.n_prompt - 1) / kKvBlockTokens;
}

// Whole blocks that the sequence may start from: its last token's row is always computed, and rows
// that are found have no logits to score the prompt with.
uint32_t reusable_blocks(const Sequence& sequence) {
  const uint32_t n_tokens = sequence.is_scoring() ? sequence.n_scored : sequence.n_tokens() - 1;
  return n_tokens / kKvBlockTokens;
}

// A request that wants nothing of earlier ones still computes its own prompt once.
PrefixNamespace namespace_of(const Sequence& sequence) {
  const Request& request = sequence.request->request;
  return {request.cache_key, request.cache_prompt ? 0 : sequence.request->id};
}

}  // namespace

Scheduler::Scheduler(const EngineOptions& options, uint32_t n_blocks, ScheduleHooks* hooks)
    : max_sequences_(options.max_sequences),
      max_step_rows_(max_rows(options)),
      max_mixed_rows_(
          std::clamp(options.max_mixed_rows, options.max_sequences + 1, max_step_rows_)),
      max_prompt_logit_rows_(options.max_prompt_logit_rows),
      reserve_output_tokens_(options.reserve_output_tokens),
      hooks_(hooks),
      pool_(n_blocks),
      prefixes_(pool_, options.cache_prefixes) {
  running_.reserve(max_sequences_);
  active_.reserve(max_sequences_);
  started_.reserve(max_sequences_);
  preempted_.reserve(max_sequences_);
  by_id_.resize(max_sequences_, nullptr);
  for (uint32_t id = max_sequences_; id > 0; --id) free_ids_.push_back(id - 1);
  step_.resize(max_sequences_);
  for (SequenceRows& rows : step_) rows.draft.reserve(kMaxDraftTokens);
  waiting_.reserve(size_t{options.max_waiting} * options.max_choices + max_sequences_);
}

void Scheduler::enqueue(Sequence& sequence) {
  FLOE_CHECK(sequence.state == Sequence::State::waiting && sequence.n_cached == 0);
  insert_by_age(waiting_, sequence);
}

void Scheduler::remove(Sequence& sequence) {
  if (sequence.state == Sequence::State::waiting) {
    erase(waiting_, sequence);
  } else if (sequence.state == Sequence::State::running) {
    stop_running(sequence);
  }
  sequence.table.reset();
  sequence.n_cached = 0;
  sequence.state = Sequence::State::ended;
}

void Scheduler::stop_running(Sequence& sequence) {
  erase(running_, sequence);
  free_ids_.push_back(sequence.id);
}

// A choice whose sibling is still computing the prompt waits, and holds nothing meanwhile: it will
// find the blocks.
bool Scheduler::waits_for_sibling(const Sequence& sequence) const {
  const uint32_t n_shared = shareable_blocks(sequence);
  if (n_shared == 0 || sequence.is_scoring()) return false;
  bool in_progress = false;
  for (const auto& sibling : sequence.request->choices) {
    if (sibling->state != Sequence::State::running) continue;
    if (sibling->table->n_sealed() >= n_shared * kKvBlockTokens) return false;
    in_progress = true;
  }
  return in_progress;
}

// What admission sets aside: all tokens so far and the next reserve_output_tokens of output.
uint32_t Scheduler::reserved_blocks(const Sequence& sequence) const {
  const uint32_t n_left = sequence.max_tokens - sequence.n_output();
  return kv_blocks_of(uint64_t{sequence.n_tokens()} + std::min(n_left, reserve_output_tokens_));
}

// The ledger: blocks in use, blocks that running sequences were promised and have not taken yet,
// and this sequence's own reservation must fit together. A lone sequence always fits: submit has
// checked.
bool Scheduler::fits(const Sequence& sequence) const {
  if (running_.empty()) return true;
  uint64_t n_committed = pool_.n_used();
  for (const Sequence* other : running_) {
    const uint32_t n_reserved = reserved_blocks(*other);
    const uint32_t n_held = other->table->n_blocks();
    if (n_reserved > n_held) n_committed += n_reserved - n_held;
  }
  const PrefixCache::Match match =
      prefixes_.find(namespace_of(sequence), sequence.tokens, reusable_blocks(sequence));
  const uint32_t n_in_use = match.n_blocks - match.n_cached_blocks;
  return n_committed + reserved_blocks(sequence) - n_in_use <= pool_.n_blocks();
}

// What allocates comes first: where memory runs out the sequence goes on waiting.
void Scheduler::start(Sequence& sequence) {
  sequence.table.emplace(pool_, sequence.age, sequence.longest());
  // Growing while decoding allocates nothing.
  sequence.tokens.reserve(sequence.longest());
  sequence.prefix = prefixes_.share(namespace_of(sequence), sequence.tokens,
                                    reusable_blocks(sequence), *sequence.table);
  sequence.n_reused = sequence.n_cached = sequence.table->n_sealed();
  sequence.state = Sequence::State::running;
  sequence.id = free_ids_.back();
  free_ids_.pop_back();
  by_id_[sequence.id] = &sequence;
  insert_by_age(running_, sequence);
  started_.push_back(&sequence);
}

void Scheduler::admit() {
  started_.clear();
  preempted_.clear();
  for (size_t i = 0; i < waiting_.size();) {
    Sequence& sequence = *waiting_[i];
    if (sequence.paused() || waits_for_sibling(sequence)) {
      ++i;  // younger requests need not wait for it
      continue;
    }
    if (running_.size() == max_sequences_ || !fits(sequence)) {
      if (!preempt_paused()) break;
      i = 0;  // the one that was preempted stands somewhere in the line
      continue;
    }
    start(sequence);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Scheduler::preempt(Sequence& sequence) {
  stop_running(sequence);
  sequence.table.reset();
  sequence.n_highest_cached = std::max(sequence.n_highest_cached, sequence.n_cached);
  sequence.n_cached = 0;
  sequence.state = Sequence::State::waiting;
  enqueue(sequence);
  preempted_.push_back(&sequence);
  ++n_preemptions_;
}

// Preempts the youngest sequence that is paused. False: there is none.
bool Scheduler::preempt_paused() {
  for (size_t i = running_.size(); i > 0; --i) {
    if (!running_[i - 1]->paused()) continue;
    preempt(*running_[i - 1]);
    return true;
  }
  return false;
}

// Grows the table, taking from those that are paused, then from the youngest while there is
// somebody younger. False: not now.
bool Scheduler::take_blocks(Sequence& sequence, uint32_t n_tokens) {
  while (!sequence.table->grow(n_tokens)) {
    if (preempt_paused()) continue;
    Sequence& youngest = *active_.back();
    if (&youngest == &sequence) return false;
    preempt(youngest);
    active_.pop_back();
  }
  return true;
}

std::span<SequenceRows> Scheduler::plan() {
  n_planned_ = 0;
  preempted_.clear();
  if (hooks_ != nullptr) {
    for (size_t i = running_.size(); i > 0; --i) {
      if (hooks_->force_preemption(*running_[i - 1])) preempt(*running_[i - 1]);
    }
  }
  active_.clear();
  uint32_t n_decoding = 0;
  for (Sequence* sequence : running_) {
    if (sequence->paused()) continue;
    active_.push_back(sequence);
    n_decoding += sequence->n_pending() == 1 ? 1 : 0;
  }
  uint32_t n_prompt_rows = (n_decoding > 0 ? max_mixed_rows_ : max_step_rows_) - n_decoding;
  uint32_t n_scored_rows = max_prompt_logit_rows_;  // that this step has room for

  // Oldest first; only sequences behind the current one can be preempted, so the plan stays valid.
  for (size_t i = 0; i < active_.size(); ++i) {
    Sequence& sequence = *active_[i];
    uint32_t n_rows = sequence.n_pending();
    // Rows before n_scored were scored before a preemption; those from there to the prompt's last
    // but one are scored now, as far as there is room for their logits.
    const uint32_t n_to_score =
        sequence.is_scoring() ? sequence.n_prompt - 1 - sequence.n_scored : 0;
    const uint32_t first_scored =
        sequence.n_scored - std::min(sequence.n_scored, sequence.n_cached);
    if (n_to_score > n_scored_rows) n_rows = std::min(n_rows, first_scored + n_scored_rows);
    if (n_rows == 0) continue;
    // A prompt's rows count as such even where there is room for the logits of one alone.
    if (sequence.n_pending() > 1) {
      n_rows = std::min(n_rows, n_prompt_rows);
      if (n_rows == 0) continue;
      if (hooks_ != nullptr) n_rows = hooks_->chunk_rows(n_rows);
      n_prompt_rows -= n_rows;
    }
    if (!take_blocks(sequence, sequence.n_cached + n_rows)) {
      // The youngest of all takes what is there and waits for the rest.
      n_rows = std::min(n_rows, sequence.table->growable_tokens() - sequence.n_cached);
      if (n_rows == 0) continue;
      FLOE_CHECK(sequence.table->grow(sequence.n_cached + n_rows));
    }
    SequenceRows& rows = plan_rows(sequence, n_rows);
    if (n_to_score > 0 && n_rows > first_scored) {
      rows.first_scored = first_scored;
      rows.n_scored = std::min(n_rows - first_scored, n_to_score);
      n_scored_rows -= rows.n_scored;
    }
  }
  FLOE_CHECK(n_planned_ != 0 || active_.empty());
  const std::span<SequenceRows> step = std::span(step_).first(n_planned_);
  if (hooks_ != nullptr) hooks_->order(step);
  return step;
}

SequenceRows& Scheduler::plan_rows(Sequence& sequence, uint32_t n_rows) {
  SequenceRows& rows = step_[n_planned_++];
  std::vector<DraftToken> draft = std::move(rows.draft);  // its memory is kept
  draft.clear();
  rows = SequenceRows{};
  rows.draft = std::move(draft);
  rows.sequence = sequence.id;
  rows.tokens = sequence.tokens;
  rows.slots = sequence.table->slots().first(sequence.n_cached + n_rows);
  rows.first_position = sequence.n_cached;
  rows.n_rows = n_rows;
  rows.reaches_end = sequence.n_cached + n_rows == sequence.n_tokens();
  rows.has_drafters = sequence.known_to_drafters;
  return rows;
}

uint32_t Scheduler::grow_for_guesses(Sequence& sequence, uint32_t n_wanted) {
  const uint32_t n_planned = sequence.n_cached + 1;
  const uint32_t n_tokens = std::min(n_planned + n_wanted, sequence.table->growable_tokens());
  FLOE_CHECK(sequence.table->grow(n_tokens));
  return n_tokens - n_planned;
}

void Scheduler::mark_cached(Sequence& sequence, uint32_t n_rows) {
  sequence.n_cached += n_rows;
  FLOE_CHECK(sequence.n_cached <= sequence.table->n_positions());
}

void Scheduler::end_step(Sequence& sequence, uint32_t n_final,
                         std::span<const uint32_t> n_written) {
  FLOE_CHECK(n_final <= sequence.n_cached);
  sequence.table->truncate(sequence.n_cached);
  sequence.table->seal_full(n_final, n_written);
  prefixes_.extend(sequence.prefix, sequence.tokens, *sequence.table);
}

void Scheduler::distrust(Sequence& sequence) {
  prefixes_.forget_from(sequence.prefix, sequence.n_reused / kKvBlockTokens, *sequence.table);
}

void Scheduler::audit() const {
  std::vector<uint32_t> references(pool_.n_blocks(), 0);
  for (const Sequence* sequence : running_) {
    FLOE_CHECK(sequence->state == Sequence::State::running && sequence->table.has_value());
    FLOE_CHECK(by_id_[sequence->id] == sequence);
    FLOE_CHECK(sequence->n_cached < sequence->n_tokens());
    FLOE_CHECK(sequence->n_cached <= sequence->table->n_positions());
    FLOE_CHECK(sequence->table->n_sealed() <= sequence->n_cached);
    for (const KvBlockId block : sequence->table->blocks()) ++references[block];
    sequence->table->check_writable(sequence->table->n_sealed(), sequence->table->n_positions());
  }
  for (const Sequence* sequence : waiting_) {
    FLOE_CHECK(sequence->state == Sequence::State::waiting && !sequence->table.has_value());
    FLOE_CHECK(sequence->n_cached == 0);
  }
  pool_.audit(references);
  prefixes_.audit();
  const auto older = [](const Sequence* a, const Sequence* b) { return a->age < b->age; };
  FLOE_CHECK(std::is_sorted(running_.begin(), running_.end(), older));
  FLOE_CHECK(std::is_sorted(waiting_.begin(), waiting_.end(), older));
  FLOE_CHECK(running_.size() <= max_sequences_);
  FLOE_CHECK(running_.size() + free_ids_.size() == max_sequences_);
}

}  // namespace floe

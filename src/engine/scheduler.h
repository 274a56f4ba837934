#pragma once
// Who runs next: the waiting line, the running set, the block ledger and the rows of a step.
//
// Order is by age (arrival, then choice) and never changes: admission takes the oldest first,
// blocks that run out are taken from the youngest first, and a preempted sequence waits at its old
// place. The oldest sequence can therefore always run, which is why nothing starves and nothing
// deadlocks.
//
// Sequences of a paused request are out of this order: they get no rows and are not admitted, and
// where another one lacks a slot or blocks they are the first to be preempted, whatever their age.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/schedule_hooks.h"
#include "engine/sequence.h"
#include "kv/block_pool.h"
#include "kv/prefix_cache.h"

namespace floe {

class Scheduler {
 public:
  Scheduler(const EngineOptions& options, uint32_t n_blocks, ScheduleHooks* hooks);

  KvBlockPool& pool() { return pool_; }
  const KvBlockPool& pool() const { return pool_; }

  // Appends a new sequence, or puts a preempted one back at its place.
  void enqueue(Sequence& sequence);
  // Takes a sequence out of whatever it is in and gives its blocks back.
  void remove(Sequence& sequence);
  // Of rows that the last plan() made, also where the sequence has ended since.
  Sequence& sequence_of(const SequenceRows& rows) { return *by_id_[rows.sequence]; }

  // Moves waiting sequences to the running set while slots and the ledger allow, preempting paused
  // ones for them.
  void admit();
  std::span<Sequence* const> started() const { return started_; }  // by the last admit()

  // Chooses the rows of one forward and takes the blocks they need, preempting the youngest where
  // blocks run out. Valid until the next plan(). Empty only when nothing runs that is not paused.
  std::span<SequenceRows> plan();
  std::span<Sequence* const> preempted() const {  // by the last admit() or plan()
    return preempted_;
  }

  // Takes free blocks for guesses behind the planned rows of a sequence; preempts nobody. Returns
  // for how many of the n_wanted there is room.
  uint32_t grow_for_guesses(Sequence& sequence, uint32_t n_wanted);

  // The next n_rows tokens of the sequence are in the cache now.
  void mark_cached(Sequence& sequence, uint32_t n_rows);
  // Ends the step for a sequence: gives back blocks that only guesses needed, and seals what is
  // full of positions below n_final, which nobody will write again; others find it from now on.
  // n_written: as KvBlockTable::seal_full.
  void end_step(Sequence& sequence, uint32_t n_final, std::span<const uint32_t> n_written);
  // What the running sequence computed is not to be found by others: its logits were not finite.
  void distrust(Sequence& sequence);

  std::span<Sequence* const> waiting() const { return waiting_; }
  std::span<Sequence* const> running() const { return running_; }
  uint64_t n_preemptions() const { return n_preemptions_; }
  // Rows of one forward, guesses not counted. Every running sequence gets its decode row, and a
  // prompt at least one more.
  static uint32_t max_rows(const EngineOptions& options) {
    return std::max(options.max_step_rows, options.max_sequences + 1);
  }

  // Stops the process when block ownership or the lists contradict each other.
  void audit() const;

 private:
  bool waits_for_sibling(const Sequence& sequence) const;
  bool fits(const Sequence& sequence) const;
  uint32_t reserved_blocks(const Sequence& sequence) const;
  void start(Sequence& sequence);
  void stop_running(Sequence& sequence);
  void preempt(Sequence& sequence);
  bool preempt_paused();
  SequenceRows& plan_rows(Sequence& sequence, uint32_t n_rows);
  bool take_blocks(Sequence& sequence, uint32_t n_tokens);

  const uint32_t max_sequences_;
  const uint32_t max_step_rows_;
  const uint32_t max_mixed_rows_;
  const uint32_t max_prompt_logit_rows_;
  const uint32_t reserve_output_tokens_;
  ScheduleHooks* const hooks_;
  KvBlockPool pool_;
  PrefixCache prefixes_;
  std::vector<Sequence*> waiting_;  // by age
  std::vector<Sequence*> running_;  // by age
  std::vector<Sequence*> active_;   // of a plan(): those of running_ that are not paused
  std::vector<Sequence*> started_;
  std::vector<Sequence*> preempted_;
  std::vector<Sequence*> by_id_;      // [max_sequences], until the next one gets the id
  std::vector<SequenceId> free_ids_;  // the next one last
  std::vector<SequenceRows> step_;    // [max_sequences], the first n_planned_ in use
  uint32_t n_planned_ = 0;
  uint64_t n_preemptions_ = 0;
};

}  // namespace floe

#pragma once
// Where the simulator bends the scheduler's decisions: none of them may change any output.
#include <cstdint>
#include <span>

#include "engine/sequence.h"

namespace floe {

class ScheduleHooks {
 public:
  virtual ~ScheduleHooks() = default;
  // Rows of a prompt chunk, 1 .. n_wanted.
  virtual uint32_t chunk_rows(uint32_t n_wanted) = 0;
  // True: this running sequence is preempted before the step although blocks are left.
  virtual bool force_preemption(const Sequence& sequence) = 0;
  // May permute the order in which the step's sequences enter the batch.
  virtual void order(std::span<SequenceRows> step) = 0;
};

}  // namespace floe

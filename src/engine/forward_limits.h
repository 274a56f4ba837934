#pragma once
// How large the forwards of an engine can get: what its model is reserved with, and what a plan of
// the memory counts with.
#include "engine/engine.h"
#include "engine/scheduler.h"

namespace floe {

// with_drafters: room for guesses, which forwards verify beside the other rows.
inline ForwardLimits forward_limits(const EngineOptions& options, uint32_t n_context,
                                    bool with_drafters) {
  ForwardLimits limits{Scheduler::max_rows(options),
                       options.max_sequences + options.max_prompt_logit_rows, n_context};
  if (with_drafters) {
    limits.max_rows += options.max_draft_rows;
    limits.max_logit_rows += options.max_draft_rows;
    limits.tap_layers = options.tap_layers;
  }
  return limits;
}

}  // namespace floe

#pragma once
// Every drafter there is, by source: a new one is a file and a line here.
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "draft/drafter.h"
#include "kv/kv_cache.h"
#include "model/eagle3_head.h"
#include "model/model.h"

namespace floe {

// What the engine that asks for guesses has set up, before its first step.
struct DraftLimits {
  uint32_t max_sequences = 1;
  uint32_t max_context = 4096;
  uint32_t max_step_rows = 512;  // rows of one forward of the trunk
  KvTypes kv_types;
};

// Makes the drafters of an engine, in the order in which they are asked.
using DrafterMaker = std::function<Result<std::vector<std::unique_ptr<Drafter>>>(
    Model& trunk, KvCache& cache, const DraftLimits& limits)>;

struct DrafterSetup {
  DraftSource source = DraftSource::prompt_lookup;
  uint32_t mtp_vocab = 0;        // tokens that the draft head chooses from, the first ones; 0: all
  Model* draft_model = nullptr;  // of DraftSource::draft_model; outlives the drafter
  // Of DraftSource::eagle3; outlives the drafter. The trunk is reserved with its tap_layers().
  Eagle3Head* eagle3 = nullptr;
};

// trunk and cache outlive the drafter. Fails where the choice does not fit the trunk
// (ErrorKind::model) or the memory (ErrorKind::memory).
Result<std::unique_ptr<Drafter>> make_drafter(const DrafterSetup& choice, Model& trunk,
                                              KvCache& cache, const DraftLimits& limits);

}  // namespace floe

#pragma once
// The flags of speculation, for every verb that generates.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "draft/economics.h"
#include "draft/factory.h"
#include "engine/engine.h"
#include "model/eagle3_head.h"
#include "text/tokenizer.h"
#include "verbs/model_flags.h"

namespace floe {

struct SpecFlags {
  std::string spec = "auto";
  std::string types = "auto";
  std::string draft_model_path;
  std::string mtp_path;
  std::string eagle3_path;
  int64_t max_draft_tokens = kMaxDraftTokens;
  int64_t mtp_vocab = 0;

  void add_to(OptionTable& table);
  // The drafters alone, for a verb that tries several modes.
  void add_drafters_to(OptionTable& table);
};

// What an engine needs to speculate; outlives the engine.
struct Speculating {
  SpecPolicy policy;
  uint32_t max_draft_tokens = kMaxDraftTokens;
  std::optional<MachineRates> rates;   // where the policy asks for predictions
  std::unique_ptr<Model> draft_model;  // of -md
  std::unique_ptr<Eagle3Head> eagle3;  // of --model-eagle3
  DrafterMaker drafters;

  void set(EngineOptions& options) const {
    options.spec = policy;
    options.max_draft_tokens = max_draft_tokens;
    options.rates = rates;
    options.drafters = drafters;
    if (eagle3 != nullptr) options.tap_layers = eagle3->tap_layers();
  }
};

// The model with the draft head that the flags name; the plan counts with their drafters too.
Result<LoadedModel> load(const ModelFlags& flags, const SpecFlags& spec, const Workload& workload);
// Checks the flags against the model and loads what drafters need. ErrorKind::usage, model or
// memory.
Result<Speculating> prepare(const SpecFlags& flags, const ModelFlags& model_flags,
                            const LoadedModel& loaded);

}  // namespace floe

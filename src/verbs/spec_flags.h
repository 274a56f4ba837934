#pragma once
// The flags of speculation, for every verb that generates.
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "draft/economics.h"
#include "draft/factory.h"
#include "text/tokenizer.h"
#include "verbs/model_flags.h"

namespace floe {

struct SpecFlags {
  std::string spec = "auto";
  std::string types = "auto";

  void add_to(OptionTable& table);
  // All of them but --spec, for a verb that tries several modes.
  void add_drafters_to(OptionTable& table);
};

// What an engine needs to speculate; outlives the engine.
struct Speculating {
  SpecPolicy policy;
  DrafterMaker drafters;
};

// Checks the flags against the model and loads what drafters need. ErrorKind::usage, model or
// memory.
Result<Speculating> prepare(const SpecFlags& flags, const LoadedModel& loaded);

}  // namespace floe

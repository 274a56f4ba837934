#pragma once
// An EAGLE-3 head for the inflated model.
#include "base/error.h"
#include "tools/inflate.h"

namespace floe {

// model_path: a head's folder (config.json, model.safetensors); output_path: the folder to write.
// Norms become F32, everything else keeps its type. seconds is the caller's.
Result<InflateResult> inflate_head(const InflateOptions& options);

}  // namespace floe

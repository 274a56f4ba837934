#pragma once
// The constants of the time model (draft/time_model.h), measured on this machine with the model's
// own weights and its formats.
#include "base/error.h"
#include "base/thread_pool.h"
#include "draft/time_model.h"
#include "model/model.h"

namespace floe {

// Takes about half a second, and a third of a second more for every weight format of the model.
// pool: the one that the model runs on.
Result<MachineRates> measure_machine_rates(ThreadPool& pool, const Model& model);

}  // namespace floe

#pragma once
// The constants of the time model (draft/time_model.h), measured on this machine with the model's
// own weights and its formats.
#include "base/error.h"
#include "base/thread_pool.h"
#include "draft/time_model.h"
#include "model/model.h"

namespace floe {

// In about half a second and a third of one for every format. The pool is the model's.
Result<MachineRates> measure_machine_rates(ThreadPool& pool, const Model& model);

}  // namespace floe

#pragma once
// How many multiply-adds per second the matrix kernels reach on weights that come from memory: the
// compute rate of the time model (draft/time_model.h).
#include <span>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "draft/time_model.h"
#include "quant/format.h"

namespace floe {

// Of each format, with the kernel table in use; a third of a second for each different one. The
// weights are a buffer of ReadProbe::sensible_bytes().
Result<std::vector<KernelRates>> measure_kernel_rates(ThreadPool& pool,
                                                      std::span<const QuantType> formats);

}  // namespace floe

#pragma once
// What the matrix kernels compute where memory does not hold them up: the C_c(n) of the time model.
#include "base/thread_pool.h"
#include "draft/time_model.h"
#include "quant/format.h"

namespace floe {

// With the kernel table in use, in about a third of a second.
KernelRates measure_kernel_rates(ThreadPool& pool, QuantType format);

}  // namespace floe

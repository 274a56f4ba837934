#pragma once
// For experiments outside the product (bench/experiments): another table in place of the one that
// kernels() chooses.
#include "kernels/kernel_table.h"

namespace floe {

// Gets the table chosen for this machine.
using KernelHook = KernelTable (*)(KernelTable);
// Before kernels() is first called.
void set_kernel_hook(KernelHook hook);

}  // namespace floe

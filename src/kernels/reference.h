#pragma once
// Inside the kernels room: the scalar kernels. They state what every instruction set computes, bit
// for bit, and run where no faster set is built or present.
#include "kernels/kernel_entries.h"

namespace floe::reference {

FLOE_KERNELS

}  // namespace floe::reference

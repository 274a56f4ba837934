#pragma once
// Inside the kernels room: the AArch64 kernels. Two sets: neon_dotprod multiplies bytes by sdot,
// neon_i8mm by smmla as well; all but matmul is the same.
//
// What avx2.h says of inline functions holds for these files too.
#include "kernels/kernel_entries.h"
#include "kernels/matmul_call.h"

namespace floe::neon_dotprod {

// F32, F16 and BF16 weights.
void matmul_plain(const MatmulCall& call, QuantType type);

FLOE_KERNELS

}  // namespace floe::neon_dotprod

namespace floe::neon_i8mm {

using namespace neon_dotprod;
FLOE_KERNEL(, matmul)

}  // namespace floe::neon_i8mm

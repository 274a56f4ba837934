// Linked into a floe built with FLOE_FREE_ORDER: on AVX-512 machines the matrix kernels of
// bench/kernels/free_order.cpp, which choose their order of additions for one row and for more.
#include "../kernels/free_order.h"

#include <cstring>

#include "kernels/kernel_hook.h"

namespace floe {
namespace {

// Before main(), so before anything runs.
[[maybe_unused]] const bool installed = [] {
  set_kernel_hook([](KernelTable table) {
    if (std::strcmp(table.isa, "avx512") == 0) table.matmul = free_order_matmul;
    return table;
  });
  return true;
}();

}  // namespace
}  // namespace floe

// Linked into a floe built with FLOE_PER_ROW_EXPERTS: nothing is shared between rows. Every (row,
// expert) pair reads its expert's weights for itself, rows ascending, and every other weight block
// is unpacked again for each row.
#include "kernels/kernel_hook.h"
#include "model/moe.h"

namespace floe {
namespace {

decltype(KernelTable::matmul) shared_matmul = nullptr;

void matmul_row_by_row(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin,
                       uint32_t group_end, const ActivationRows& x, const uint32_t* ids,
                       uint32_t n_ids, float* out, size_t out_stride) {
  for (uint32_t i = 0; i < n_ids; ++i) {
    const uint32_t id = ids != nullptr ? ids[i] : i;
    shared_matmul(weights, plane, group_begin, group_end, x, &id, 1, out + i * out_stride,
                  out_stride);
  }
}

// Before main(), so before anything runs.
[[maybe_unused]] const bool installed = [] {
  set_kernel_hook([](KernelTable table) {
    shared_matmul = table.matmul;
    table.matmul = matmul_row_by_row;
    return table;
  });
  set_expert_reads({[](uint32_t, uint32_t n_pairs) { return n_pairs; },
                    [](const SortedPairs& pairs, uint32_t index) {
                      return ExpertRead{pairs.chosen[index], pairs.pair_of[index], 1};
                    }});
  return true;
}();

}  // namespace
}  // namespace floe

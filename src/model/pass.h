#pragma once
// One worker's view of one forward, and the steps that layers share. All functions that take a Pass
// are called by every worker in the same sequence; those that touch shared rows say where a barrier
// stands.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "kv/kv_cache.h"
#include "model/ledger.h"
#include "model/model.h"
#include "model/workspace.h"

namespace floe {

struct Pass {
  const KernelTable& kernels;
  Worker& worker;
  Workspace& ws;
  std::span<const ForwardRow> rows;
  std::span<const SequenceSlots> sequences;
  KvCache& cache;
  uint32_t n_rope_pairs;
  ByteLedger* ledger;  // null but for one worker, which counts for all
  std::vector<uint32_t>* routing_log;  // as ledger, and null where nobody asked for it

  uint32_t n_rows() const { return static_cast<uint32_t>(rows.size()); }
  std::span<const uint32_t> slots(uint32_t row) const {
    return sequences[rows[row].sequence].slots;
  }
  uint32_t slot(uint32_t row) const { return slots(row)[rows[row].position]; }
  // Positions that a row may attend to: its own and all before it.
  uint32_t n_visible(uint32_t row) const { return rows[row].position + 1; }
  const float* cos_sin(uint32_t row) const { return ws.cos_sin + size_t{row} * n_rope_pairs * 2; }
};

// Whether the kernels read the 8-bit form of this matrix's input.
inline bool reads_q8(const PackedMatrix& matrix) {
  return matrix.data != nullptr && matrix.type != QuantType::F32 && matrix.type != QuantType::F16 &&
         matrix.type != QuantType::BF16;
}

// Row groups that one work item takes: about 64 KiB of weights, a multiple of `multiple`, and
// little enough that every worker gets several items.
inline uint32_t groups_per_item(const PackedMatrix& matrix, uint32_t n_workers,
                                uint32_t multiple = 1) {
  constexpr uint64_t kItemBytes = 64 << 10;
  const uint64_t by_bytes = kItemBytes / std::max<uint64_t>(1, matrix.group_bytes);
  const uint64_t by_share = matrix.n_groups / (4 * n_workers);
  const uint64_t groups = std::max<uint64_t>(1, std::min(by_bytes, by_share));
  return static_cast<uint32_t>((groups + multiple - 1) / multiple * multiple);
}

// Counts a matrix plane read once for n_rows rows.
inline void count_matrix(Pass& pass, const PackedMatrix& matrix, uint64_t n_rows,
                         LedgerClass kind) {
  pass.ledger->*kind.bytes += matrix.plane_bytes();
  pass.ledger->*kind.macs += n_rows * matrix.n_rows * matrix.n_cols;
}

// out[i * out_stride ..] = matrix . x row ids[i] for i in [0, n) (ids null: rows 0 .. n-1), the
// output rows shared out among the workers. No barrier.
inline void project(Pass& pass, const PackedMatrix& matrix, const ActivationRows& x, uint32_t n,
                    float* out, size_t out_stride, LedgerClass kind,
                    const uint32_t* ids = nullptr) {
  if (n == 0) return;
  if (pass.ledger != nullptr) count_matrix(pass, matrix, n, kind);
  pass.worker.chunks(matrix.n_groups, groups_per_item(matrix, pass.worker.count()),
                     [&](uint32_t begin, uint32_t end) {
                       pass.kernels.matmul(matrix, 0, begin, end, x, ids, n, out, out_stride);
                     });
}

}  // namespace floe

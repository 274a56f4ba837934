#pragma once
// One worker's view of one forward, and the steps that layers share.
//
// Every worker calls the functions that take a Pass and return a Stage, in the same order. Such a
// function is told after which stages its input is complete, and its result is complete after the
// stage that it returns. Functions that take a row, or an item of a stage, are called by the one
// worker that holds it.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "kv/host_cache.h"
#include "model/ledger.h"
#include "model/model.h"
#include "model/workspace.h"

namespace floe {

// More than the stages of one layer and of what stands around the layers.
inline constexpr uint32_t kMaxLayerStages = 32;

struct Pass {
  const KernelTable& kernels;
  Worker& worker;
  Workspace& ws;
  std::span<const ForwardRow> rows;
  std::span<const SequenceSlots> sequences;
  HostKvCache& cache;
  uint32_t n_rope_pairs;
  ByteLedger* ledger;                  // null but for one worker, which counts for all
  std::vector<uint32_t>* routing_log;  // of all layers, in order; null where nobody asked
  uint32_t n_logits;                   // of a row that wants them

  uint32_t n_rows() const { return static_cast<uint32_t>(rows.size()); }
  std::span<const uint32_t> slots(uint32_t row) const {
    return sequences[rows[row].sequence].slots;
  }
  uint32_t slot(uint32_t row) const { return slots(row)[rows[row].position]; }
  // Positions that a row may attend to: its own and all before it.
  uint32_t n_visible(uint32_t row) const { return rows[row].position + 1; }
  const float* cos_sin(uint32_t row) const { return ws.cos_sin + size_t{row} * n_rope_pairs * 2; }
};

// Whether the kernels read the 8-bit form of this matrix's input. False for a matrix that a layer
// does not have.
inline bool reads_q8(const PackedMatrix& matrix) {
  return matrix.n_rows != 0 && matrix.type != QuantType::F32 && matrix.type != QuantType::F16 &&
         matrix.type != QuantType::BF16;
}

// Row groups that one work item takes: about 64 KiB of weights, a multiple of `multiple`, and
// little enough that every worker gets several items.
inline uint32_t groups_per_item(const PackedMatrix& matrix, uint32_t n_workers,
                                uint32_t multiple = kGroupsPerPass) {
  constexpr uint64_t kItemBytes = 64 << 10;
  const uint64_t by_bytes = kItemBytes / std::max<uint64_t>(1, matrix.group_bytes);
  const uint64_t by_share = matrix.n_groups / (4 * n_workers);
  const uint64_t groups = std::max<uint64_t>(1, std::min(by_bytes, by_share));
  return static_cast<uint32_t>((groups + multiple - 1) / multiple * multiple);
}

// visit(matrix, what its bytes count as)
using MatrixVisitor = std::function<void(const PackedMatrix&, const LedgerClass&)>;

// Counts a matrix plane read once for n_rows rows.
inline void count_matrix(Pass& pass, const PackedMatrix& matrix, uint64_t n_rows,
                         LedgerClass kind) {
  pass.ledger->*kind.bytes += matrix.plane_bytes();
  pass.ledger->*kind.macs += n_rows * matrix.n_rows * matrix.n_cols;
}

// What a worker that waits does with the weights of its next item: asks for piece k of row groups
// [begin, end), so that memory does not stand still. False when the item has no more pieces or the
// second-level cache no room for them.
inline bool fetch_ahead(const PackedMatrix& matrix, uint32_t plane, uint32_t begin, uint32_t end,
                        uint32_t k) {
  constexpr size_t kPieceBytes = 2048;
  constexpr size_t kMostBytes = 128 << 10;
  const size_t from = k * kPieceBytes;
  const size_t size = size_t{end - begin} * matrix.group_bytes;
  if (from >= std::min(size, kMostBytes)) return false;
  const std::byte* piece = matrix.group(plane, begin) + from;
  for (size_t at = 0; at < std::min(kPieceBytes, size - from); at += 64) {
    __builtin_prefetch(piece + at);
  }
  return true;
}

// Ends an item of matmul: adds bias [matrix.n_rows] (null: none) to the columns of the item's row
// groups in n output rows.
inline void add_bias(Pass& pass, const PackedMatrix& matrix, const float* bias,
                     uint32_t group_begin, uint32_t group_end, uint32_t n, float* out,
                     size_t out_stride) {
  if (bias == nullptr) return;
  const uint32_t begin = group_begin * kRowsPerGroup;
  const uint32_t end = std::min(group_end * kRowsPerGroup, matrix.n_rows);
  for (uint32_t i = 0; i < n; ++i) {
    pass.kernels.add(bias + begin, out + i * out_stride + begin, end - begin);
  }
}

// out[i * out_stride ..] = matrix . x row ids[i] + bias for i in [0, n) (bias null: none; ids null:
// rows 0 .. n-1).
struct Projection {
  const PackedMatrix& matrix;
  ActivationRows x;
  uint32_t n;
  float* out;
  size_t out_stride;
  LedgerClass kind;
  const float* bias = nullptr;  // [matrix.n_rows]
  const uint32_t* ids = nullptr;
};

// One stage: all the projections, their output rows shared out among the workers.
inline Stage project(Pass& pass, Stages after, std::initializer_list<Projection> projections) {
  constexpr size_t kMost = 4;
  FLOE_CHECK(projections.size() <= kMost);
  uint32_t steps[kMost];
  uint32_t ends[kMost];  // items up to and with each projection
  uint32_t n_items = 0;
  size_t p = 0;
  for (const Projection& projection : projections) {
    steps[p] = groups_per_item(projection.matrix, pass.worker.count());
    if (projection.n != 0) n_items += (projection.matrix.n_groups + steps[p] - 1) / steps[p];
    ends[p++] = n_items;
    if (pass.ledger != nullptr && projection.n != 0) {
      count_matrix(pass, projection.matrix, projection.n, projection.kind);
    }
  }
  // visit(projection, first group, last group + 1) of an item.
  const auto find = [&](uint32_t item, const auto& visit) {
    size_t at = 0;
    while (item >= ends[at]) ++at;
    const Projection& projection = projections.begin()[at];
    const uint32_t begin = (item - (at == 0 ? 0 : ends[at - 1])) * steps[at];
    return visit(projection, begin, std::min(begin + steps[at], projection.matrix.n_groups));
  };
  return pass.worker.chunks(
      after, n_items, 1,
      [&](uint32_t item, uint32_t) {
        find(item, [&](const Projection& projection, uint32_t begin, uint32_t end) {
          pass.kernels.matmul(projection.matrix, 0, begin, end, projection.x, projection.ids,
                              projection.n, projection.out, projection.out_stride);
          add_bias(pass, projection.matrix, projection.bias, begin, end, projection.n,
                   projection.out, projection.out_stride);
          return true;
        });
      },
      [&](uint32_t item, uint32_t, uint32_t k) {
        return find(item, [&](const Projection& projection, uint32_t begin, uint32_t end) {
          return fetch_ahead(projection.matrix, 0, begin, end, k);
        });
      });
}

// One stage: row by row.
template <typename Body>
Stage each_row(Pass& pass, Stages after, Body&& body) {
  return pass.worker.chunks(after, pass.n_rows(), 1, [&](uint32_t row, uint32_t) { body(row); });
}

}  // namespace floe

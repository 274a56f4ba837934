#pragma once
// Inside the kernels room: what a call of a matrix kernel asks for, and how it is cut into passes
// over activation rows.
//
// Functions have internal linkage: see avx2.h.
#include "kernels/kernel_table.h"
#include "kernels/packed_layout.h"
#include "kernels/unroll.h"

namespace floe {

struct MatmulCall {
  const std::byte* plane;  // packed groups of the plane
  size_t group_bytes;
  uint32_t n_cols;
  uint32_t n_rows;
  uint32_t group_begin;
  uint32_t group_end;
  ActivationRows x;
  const uint32_t* ids;
  uint32_t n_ids;
  float* out;
  size_t out_stride;
};

namespace {

FLOE_INLINE MatmulCall matmul_call(const PackedMatrix& weights, uint32_t plane,
                                   uint32_t group_begin, uint32_t group_end,
                                   const ActivationRows& x, const uint32_t* ids, uint32_t n_ids,
                                   float* out, size_t out_stride) {
  return {weights.data + plane * (weights.n_groups * weights.group_bytes),
          weights.group_bytes,
          weights.n_cols,
          weights.n_rows,
          group_begin,
          group_end,
          x,
          ids,
          n_ids,
          out,
          out_stride};
}

static_assert(kActivationBlockCols == kStepCols, "a step of weights meets a block of activations");

// The quantised activation rows of one pass.
template <int kRows>
struct RowSet {
  const ActivationBlock* q8[kRows];
};

FLOE_INLINE size_t row_id(const MatmulCall& call, uint32_t i) {
  return call.ids != nullptr ? call.ids[i] : i;
}

// Of a quantised activation row.
FLOE_INLINE size_t quantised_bytes(const MatmulCall& call) {
  return call.x.stride / kActivationBlockCols * sizeof(ActivationBlock);
}

template <int kRows>
FLOE_INLINE RowSet<kRows> row_set(const MatmulCall& call, uint32_t i) {
  RowSet<kRows> x;
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    constexpr int m = decltype(row)::value;
    x.q8[m] = call.x.q8 +
              row_id(call, i + static_cast<uint32_t>(m)) * (call.x.stride / kActivationBlockCols);
  });
  return x;
}

template <int kRows, int kMaxRows, typename Body>
FLOE_INLINE void with_rows(uint32_t rows, const Body& body) {
  if constexpr (kRows == kMaxRows) {
    body(Index<kRows>{});
  } else if (rows == kRows) {
    body(Index<kRows>{});
  } else {
    with_rows<kRows + 1, kMaxRows>(rows, body);
  }
}

// How far ahead of its use a line of weights is asked for: the hardware's own prefetch stops at
// every 4 KB. Only the first pass over a group asks; the others find it in a cache.
constexpr size_t kPrefetchBytes = 4096;

FLOE_INLINE void prefetch(const uint8_t* bytes, uint32_t n_bytes) {
  for (uint32_t line = 0; line < n_bytes; line += 64) __builtin_prefetch(bytes + line);
}

// Activation rows that stay in the second-level cache while the groups pass by.
constexpr size_t kRowBlockBytes = 192 * 1024;

// Calls body(Index<rows>, group, row) until every kGroups groups have met all activation rows, at
// most kMaxRows in a pass. Passes are of equal size: 7 rows are 4 + 3, 13 are 5 + 4 + 4.
template <int kMaxRows, uint32_t kGroups, typename Body>
FLOE_INLINE void for_each_pass(const MatmulCall& call, size_t row_bytes, const Body& body) {
  uint32_t rows_per_block = static_cast<uint32_t>(kRowBlockBytes / row_bytes) / kMaxRows * kMaxRows;
  if (rows_per_block < kMaxRows) rows_per_block = kMaxRows;
  for (uint32_t begin = 0; begin < call.n_ids; begin += rows_per_block) {
    const uint32_t end = call.n_ids - begin < rows_per_block ? call.n_ids : begin + rows_per_block;
    for (uint32_t g = call.group_begin; g < call.group_end; g += kGroups) {
      for (uint32_t i = begin; i < end;) {
        const uint32_t left = end - i;
        const uint32_t n_passes = (left + kMaxRows - 1) / kMaxRows;
        const uint32_t rows = (left + n_passes - 1) / n_passes;
        with_rows<1, kMaxRows>(
            rows, [&](auto count) __attribute__((always_inline)) { body(count, g, i); });
        i += rows;
      }
    }
  }
}

}  // namespace
}  // namespace floe

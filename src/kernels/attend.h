#pragma once
// Attention of some rows of one sequence over cached vectors that they share.
//
// Each block of kAttentionBlock positions is turned into f32 once for all rows and heads of a call;
// a row takes the part of the block that it sees. Blocks and spans of blocks are cut at the same
// positions for every row (numeric_order.h), so a row's bits do not depend on which rows stand in
// one call, nor on whether one call takes all spans or several calls one each.
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernel_table.h"
#include "kernels/numeric_order.h"

namespace floe {

// Query heads that read the same cached vectors.
struct SharedHeads {
  uint32_t n_heads = 0;
  KvPlane keys;
  KvPlane values;  // no base: the values are the first value_dim columns of the keys (MLA)
  uint32_t key_dim = 0;
  uint32_t value_dim = 0;
  float scale = 0.0f;
  // [n_heads], scores of a position that has no value: it takes its share of the softmax. Null:
  // none.
  const float* sinks = nullptr;
  size_t q_stride = 0;    // between the heads of a row
  size_t out_stride = 0;  // likewise
};

struct AttendRow {
  const float* q = nullptr;  // its first head
  float* out = nullptr;      // likewise: value_dim values per head, overwritten
  uint32_t first = 0;        // it sees the positions [first, end) of the slots
  uint32_t end = 0;
};

// Memory that one call works in.
class AttendScratch {
 public:
  static constexpr uint32_t kMaxQueries = 64;  // rows times heads of one call

  // f32 values for vectors up to these widths.
  static size_t size(uint32_t key_dim, uint32_t value_dim);
  AttendScratch(float* memory, uint32_t key_dim, uint32_t value_dim);

  float* tile;    // [kAttentionBlock][tile_stride of the wider vectors]
  float* scores;  // [kMaxQueries][kAttentionBlock]
  float* maxima;  // [kMaxQueries], as sums and factors
  float* sums;
  float* factors;
  float* span_outs;    // [kMaxQueries][value_dim], what a span comes to before it joins
  float* span_maxima;  // [kMaxQueries], as span_sums
  float* span_sums;
};

// Floats between the vectors of a tile: an odd number of cache lines, so that one column of all
// vectors spreads over the whole cache.
inline constexpr uint32_t tile_stride(uint32_t dim) {
  return ((dim + 15) / 16 | 1u) * 16;
}

// The cached vectors of up to kAttentionBlock slots.
struct KvBlock {
  const std::byte* vectors[kAttentionBlock];
  KvType type;

  KvBlock(const KvPlane& plane, const uint32_t* slots, uint32_t n);
  // What n_queries query vectors are going to read: the n vectors as they are, or f32 copies in
  // tile, which holds n * tile_stride(dim) floats.
  void prepare(const KernelTable& kernels, uint32_t n, uint32_t dim, uint32_t n_queries,
               float* tile);
};

// rows.size() * heads.n_heads <= kMaxQueries. A row that sees nothing gets zeros.
void attend(const KernelTable& kernels, const SharedHeads& heads, const uint32_t* slots,
            std::span<const AttendRow> rows, const AttendScratch& scratch);

// The same in pieces, for few rows over many positions and more workers than heads: attend_span()
// for every span, in any order, leaves its result in the parts of the row's heads, join_spans()
// makes the row's output of them. Part (head, span) of a row stands at
// parts + (head * n_spans + span) * attend_part_size(value_dim).
inline constexpr uint32_t attend_part_size(uint32_t value_dim) {
  return (value_dim + 2 + 15) / 16 * 16;  // values, maximum, sum; whole cache lines
}
inline constexpr uint32_t count_spans(uint32_t n_positions) {
  return (n_positions + kAttentionSpan - 1) / kAttentionSpan;
}

// Of rows: q, first and end as for attend(); out: the row's parts.
void attend_span(const KernelTable& kernels, const SharedHeads& heads, const uint32_t* slots,
                 std::span<const AttendRow> rows, uint32_t span, uint32_t n_spans,
                 const AttendScratch& scratch);

// heads.n_heads heads of one row, which attends to positions [first, end).
void join_spans(const KernelTable& kernels, const SharedHeads& heads, const float* parts,
                uint32_t n_spans, const AttendRow& row);

}  // namespace floe

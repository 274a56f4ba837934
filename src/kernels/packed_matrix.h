#pragma once
// Weights as the kernels read them.
//
// Rows are interleaved in groups of 8: one 32-byte load holds 4 weights of each of 8 output rows,
// so a SIMD lane belongs to one output row, scales apply as vectors, nothing is reduced across
// lanes, and a group streams through memory strictly in order. Packing moves bits and loses none:
// decode_row() gives exactly what the format's own decode gives. docs/formats.md draws the layouts.
#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace floe {

inline constexpr uint32_t kRowsPerGroup = 8;
// Groups that the widest kernels take side by side: calls of a multiple of these waste no lanes.
inline constexpr uint32_t kGroupsPerPass = 2;

// A stack of n_planes matrices [n_rows][n_cols] (experts, or heads of an MLA projection; 1 for a
// plain matrix). Does not own its bytes. The last group of a plane is padded with zero rows.
struct PackedMatrix {
  QuantType type = QuantType::F32;
  uint32_t n_cols = 0;  // input width
  uint32_t n_rows = 0;  // output width
  uint32_t n_planes = 1;
  uint32_t n_groups = 0;  // per plane: ceil(n_rows / 8)
  size_t group_bytes = 0;
  const std::byte* data = nullptr;  // 64-byte aligned

  size_t plane_bytes() const { return n_groups * group_bytes; }
  size_t size_bytes() const { return n_planes * plane_bytes(); }
  const std::byte* group(uint32_t plane, uint32_t index) const {
    return data + plane * plane_bytes() + index * group_bytes;
  }
};

// The shape with group_bytes filled in and data null. n_cols is a multiple of the format's block.
PackedMatrix packed_shape(QuantType type, uint32_t n_cols, uint32_t n_rows, uint32_t n_planes);

// Packs rows [group_begin * 8, min(group_end * 8, n_rows)) of one plane. rows points at the first
// of them in the file layout (row-major blocks), packed_plane at the packed plane. Groups may be
// packed in any order, by any thread.
void pack_groups(const PackedMatrix& shape, const std::byte* rows, std::byte* packed_plane,
                 uint32_t group_begin, uint32_t group_end);

// out[n_cols]: the weights of one row, bit-equal to the format's decode of that row.
void decode_row(const PackedMatrix& matrix, uint32_t plane, uint32_t row, float* out);

}  // namespace floe

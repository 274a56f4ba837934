// Packing rows into groups of 8, and reading a row back.
#include "kernels/packed_matrix.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "kernels/packed_access.h"

namespace floe {

namespace {

size_t plain_bytes(QuantType type) {
  switch (type) {
    case QuantType::F32:
      return 4;
    case QuantType::F16:
    case QuantType::BF16:
      return 2;
    default:
      return 0;
  }
}

size_t group_size_bytes(QuantType type, uint32_t n_cols) {
  if (const size_t bytes = plain_bytes(type); bytes != 0) return size_t{n_cols} * 8 * bytes;
  size_t size = 0;
  visit_block_format(type, [&]<QuantType kType>() {
    constexpr PackedLayout layout = kPacked<kType>;
    size = size_t{n_cols / layout.block_cols()} * layout.block_bytes();
  });
  return size;
}

// Column by column, the 8 elements of the 8 rows.
template <typename Element>
void interleave(const BlockRows& rows, uint32_t n_cols, std::byte* out) {
  for (size_t c = 0; c < n_cols; ++c) {
    for (uint32_t r = 0; r < kRowsPerGroup; ++r) {
      std::memcpy(out + (c * kRowsPerGroup + r) * sizeof(Element), rows[r] + c * sizeof(Element),
                  sizeof(Element));
    }
  }
}

// Packs 8 whole rows.
void pack_one_group(const PackedMatrix& shape, BlockRows& rows, std::byte* group) {
  if (const size_t bytes = plain_bytes(shape.type); bytes != 0) {
    if (bytes == 4) {
      interleave<uint32_t>(rows, shape.n_cols, group);
    } else {
      interleave<uint16_t>(rows, shape.n_cols, group);
    }
    return;
  }
  visit_block_format(shape.type, [&]<QuantType kType>() {
    using Packer = GroupPacker<kType>;
    constexpr PackedLayout layout = kPacked<kType>;
    const uint32_t n_blocks = shape.n_cols / layout.block_cols();
    auto* out = reinterpret_cast<uint8_t*>(group);
    for (uint32_t b = 0; b < n_blocks; ++b, out += layout.block_bytes()) {
      Packer::pack(rows, out);
      for (const uint8_t*& row : rows) row += sizeof(typename Packer::Block);
    }
  });
}

}  // namespace

PackedMatrix packed_shape(QuantType type, uint32_t n_cols, uint32_t n_rows, uint32_t n_planes) {
  assert(n_cols % format_traits(type).block_elems == 0);
  PackedMatrix shape;
  shape.type = type;
  shape.n_cols = n_cols;
  shape.n_rows = n_rows;
  shape.n_planes = n_planes;
  shape.n_groups = n_rows / kRowsPerGroup + (n_rows % kRowsPerGroup != 0 ? 1 : 0);
  shape.group_bytes = group_size_bytes(type, n_cols);
  return shape;
}

void pack_groups(const PackedMatrix& shape, const std::byte* rows, std::byte* packed_plane,
                 uint32_t group_begin, uint32_t group_end) {
  const size_t stride = row_bytes(shape.type, shape.n_cols);
  const auto* next_row = reinterpret_cast<const uint8_t*>(rows);
  for (uint32_t g = group_begin; g < group_end; ++g) {
    const uint32_t n_rows = std::min(shape.n_rows - g * kRowsPerGroup, kRowsPerGroup);
    std::vector<uint8_t> zeros;  // stands for the rows past the last
    if (n_rows < kRowsPerGroup) zeros.resize(stride);
    BlockRows group_rows;
    for (uint32_t r = 0; r < kRowsPerGroup; ++r) {
      group_rows[r] = r < n_rows ? next_row + r * stride : zeros.data();
    }
    next_row += n_rows * stride;
    pack_one_group(shape, group_rows, packed_plane + g * shape.group_bytes);
  }
}

void decode_row(const PackedMatrix& matrix, uint32_t plane, uint32_t row, float* out) {
  const std::byte* group = matrix.group(plane, row / kRowsPerGroup);
  const uint32_t r = row % kRowsPerGroup;
  if (const size_t bytes = plain_bytes(matrix.type); bytes != 0) {
    for (size_t c = 0; c < matrix.n_cols; ++c) {
      const std::byte* element = group + (c * kRowsPerGroup + r) * bytes;
      if (bytes == 4) {
        std::memcpy(out + c, element, 4);
      } else {
        uint16_t half;
        std::memcpy(&half, element, 2);
        out[c] = matrix.type == QuantType::F16 ? f16_to_f32(half) : bf16_to_f32(half);
      }
    }
    return;
  }
  visit_block_format(matrix.type, [&]<QuantType kType>() {
    using Reader = PackedReader<kType>;
    constexpr PackedLayout layout = kPacked<kType>;
    const auto* block = reinterpret_cast<const uint8_t*>(group);
    const uint32_t n_blocks = matrix.n_cols / layout.block_cols();
    for (uint32_t b = 0; b < n_blocks; ++b, block += layout.block_bytes()) {
      const float d = Reader::scale(block, r);
      for (uint32_t s = 0; s < layout.n_steps; ++s, out += kStepCols) {
        const uint8_t* step = Reader::step(block, s);
        for (uint32_t c = 0; c < kStepCols; ++c) {
          const float value = static_cast<float>(Reader::value(step, r, c));
          if constexpr (layout.n_sub == 0) {
            out[c] = d * value;
            if constexpr (layout.has_min) out[c] += Reader::minimum(block, r);
          } else {
            out[c] = d * static_cast<float>(Reader::sub_scale(step, r, c / 16)) * value;
            if constexpr (layout.has_min) {
              out[c] -= Reader::minimum(block, r) *
                        static_cast<float>(Reader::sub_minimum(step, r, c / 16));
            }
          }
        }
      }
    }
  });
}

}  // namespace floe

#pragma once
// What the kernel tests share: random packed matrices, activation rows, comparison of bits.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "kernels/matmul_cases.h"
#include "quant/format.h"

namespace floe {

// Every table of this machine but the reference.
inline std::vector<const KernelTable*> fast_tables() {
  std::vector<const KernelTable*> tables = machine_kernels();
  tables.pop_back();
  return tables;
}

inline std::vector<const KernelTable*> all_tables() {
  return machine_kernels();
}

inline ::testing::AssertionResult same_bits(const std::vector<float>& a,
                                            const std::vector<float>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) {
      return ::testing::AssertionFailure()
             << "element " << i << ": " << a[i] << " and " << b[i] << ", "
             << std::bit_cast<uint32_t>(a[i]) << " and " << std::bit_cast<uint32_t>(b[i]);
    }
  }
  return ::testing::AssertionSuccess();
}

// A packed stack of matrices and the same weights decoded from the file layout.
struct TestMatrix {
  PackedMatrix shape;
  std::vector<std::byte> storage;
  std::vector<float> decoded;  // [n_planes][n_rows][n_cols]

  TestMatrix(std::mt19937& rng, QuantType type, uint32_t n_cols, uint32_t n_rows,
             uint32_t n_planes = 1, Fill fill = Fill::random)
      : TestMatrix(type, n_cols, n_rows, n_planes,
                   file_rows(rng, type, n_rows * n_planes, n_cols, fill)) {}

  TestMatrix(QuantType type, uint32_t n_cols, uint32_t n_rows, uint32_t n_planes,
             const std::vector<std::byte>& file) {
    shape = packed_shape(type, n_cols, n_rows, n_planes);
    // Filled with a pattern, so that bytes which packing forgets are seen; at an odd multiple
    // of 64.
    storage.assign(shape.size_bytes() + 128, std::byte{0xa5});
    const size_t misalignment = reinterpret_cast<uintptr_t>(storage.data()) % 64;
    std::byte* data = storage.data() + (64 - misalignment) % 64;
    shape.data = data;
    const size_t plane_file_bytes = row_bytes(type, n_cols) * n_rows;
    for (uint32_t p = 0; p < n_planes; ++p) {
      const uint32_t middle = shape.n_groups / 2;
      std::byte* plane = data + p * shape.plane_bytes();
      const std::byte* rows = file.data() + p * plane_file_bytes;
      pack_groups(shape, rows + middle * kRowsPerGroup * row_bytes(type, n_cols), plane, middle,
                  shape.n_groups);
      pack_groups(shape, rows, plane, 0, middle);
    }
    decoded.resize(size_t{n_planes} * n_rows * n_cols);
    format_traits(type).decode(file.data(), decoded.data(), decoded.size());
  }
  TestMatrix(const TestMatrix&) = delete;
  TestMatrix& operator=(const TestMatrix&) = delete;

  const float* row(uint32_t plane, uint32_t r) const {
    return decoded.data() + (size_t{plane} * shape.n_rows + r) * shape.n_cols;
  }
};

struct TestRows {
  std::vector<float> values;
  std::vector<ActivationBlock> q8;
  ActivationRows view;

  TestRows(uint32_t n_cols, uint32_t n_rows, const std::vector<float>& dense) {
    const uint32_t stride = (n_cols + 31) / 32 * 32;
    values.assign(size_t{n_rows} * stride, 0.0f);
    for (uint32_t r = 0; r < n_rows; ++r) {
      std::memcpy(&values[size_t{r} * stride], &dense[size_t{r} * n_cols], size_t{n_cols} * 4);
    }
    q8.resize(values.size() / kActivationBlockCols);
    for (uint32_t r = 0; r < n_rows; ++r) {
      const size_t start = size_t{r} * stride;
      reference_kernels().quantize_row(&values[start], stride, &q8[start / kActivationBlockCols]);
    }
    view = {n_cols, stride, values.data(), q8.data()};
  }
  TestRows(const TestRows&) = delete;
  TestRows& operator=(const TestRows&) = delete;
};

inline TestRows random_rows(std::mt19937& rng, uint32_t n_cols, uint32_t n_rows) {
  return TestRows(n_cols, n_rows, random_values(rng, size_t{n_cols} * n_rows));
}

// The smallest and some larger widths that a format allows.
inline std::vector<uint32_t> test_widths(QuantType type) {
  const uint32_t block = format_traits(type).block_elems;
  if (block == 1) return {1, 2, 3, 7, 31, 32, 33, 100};
  if (block == 32) return {32, 64, 96, 352};
  return {256, 512, 768};
}

}  // namespace floe

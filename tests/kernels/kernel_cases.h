#pragma once
// What the kernel tests share: formats, random packed matrices, activation rows, comparison of
// bits.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "kernels/kernel_table.h"
#include "quant/format.h"

namespace floe {

inline constexpr QuantType kAllFormats[] = {
    QuantType::F32,  QuantType::F16,    QuantType::BF16,   QuantType::Q4_0,
    QuantType::Q4_1, QuantType::Q5_0,   QuantType::Q5_1,   QuantType::Q8_0,
    QuantType::Q2_K, QuantType::Q3_K,   QuantType::Q4_K,   QuantType::Q5_K,
    QuantType::Q6_K, QuantType::IQ4_NL, QuantType::IQ4_XS, QuantType::MXFP4,
};

inline bool is_plain(QuantType type) {
  return type == QuantType::F32 || type == QuantType::F16 || type == QuantType::BF16;
}

// Every table of this machine but the reference.
inline std::vector<const KernelTable*> fast_tables() {
  std::vector<const KernelTable*> tables = machine_kernels();
  tables.pop_back();
  return tables;
}

inline std::vector<const KernelTable*> all_tables() {
  return machine_kernels();
}

// Equal bits, or both NaN: which NaN comes out of an operation is not part of the contract.
inline bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
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

inline std::vector<float> random_values(std::mt19937& rng, size_t n, float sigma = 1.0f) {
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> values(n);
  for (float& value : values) value = normal(rng);
  return values;
}

// Offsets of the f16 fields of a file block; -1 where there is none.
struct HalfFields {
  int d = 0;
  int second = -1;
};

inline HalfFields half_fields(QuantType type) {
  switch (type) {
    case QuantType::Q4_1:
    case QuantType::Q5_1:
    case QuantType::Q4_K:
    case QuantType::Q5_K:
      return {0, 2};
    case QuantType::Q2_K:
      return {80, 82};
    case QuantType::Q3_K:
      return {108, -1};
    case QuantType::Q6_K:
      return {208, -1};
    case QuantType::MXFP4:
      return {-1, -1};
    default:
      return {0, -1};
  }
}

enum class Fill { random, ones, zeros };

// File rows with every bit of every quant random (or set, or clear) and sane scales: each code of
// the format occurs, which encoding random floats would not give.
inline std::vector<std::byte> file_rows(std::mt19937& rng, QuantType type, uint32_t n_rows,
                                        uint32_t n_cols, Fill fill = Fill::random) {
  std::vector<std::byte> bytes(row_bytes(type, n_cols) * n_rows);
  if (is_plain(type)) {
    const std::vector<float> values = random_values(rng, size_t{n_rows} * n_cols, 0.05f);
    for (size_t i = 0; i < values.size(); ++i) {
      const float value = fill == Fill::zeros ? 0.0f : values[i];
      if (type == QuantType::F32) {
        std::memcpy(&bytes[4 * i], &value, 4);
      } else {
        const uint16_t half = type == QuantType::F16 ? f32_to_f16(value) : f32_to_bf16(value);
        std::memcpy(&bytes[2 * i], &half, 2);
      }
    }
    return bytes;
  }
  const FormatTraits& format = format_traits(type);
  const HalfFields fields = half_fields(type);
  std::uniform_real_distribution<float> scale(-0.02f, 0.02f);
  for (size_t start = 0; start < bytes.size(); start += format.block_bytes) {
    std::byte* block = bytes.data() + start;
    for (uint32_t i = 0; i < format.block_bytes; ++i) {
      block[i] = static_cast<std::byte>(fill == Fill::random ? rng() & 255u
                                                             : (fill == Fill::ones ? 255u : 0u));
    }
    if (fill == Fill::zeros) continue;
    for (const int offset : {fields.d, fields.second}) {
      if (offset < 0) continue;
      const uint16_t half = f32_to_f16(scale(rng));
      std::memcpy(block + offset, &half, 2);
    }
    if (type == QuantType::MXFP4) block[0] = static_cast<std::byte>(118 + rng() % 8);
  }
  return bytes;
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
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int16_t> sums;
  ActivationRows view;

  TestRows(uint32_t n_cols, uint32_t n_rows, const std::vector<float>& dense) {
    const uint32_t stride = (n_cols + 31) / 32 * 32;
    values.assign(size_t{n_rows} * stride, 0.0f);
    for (uint32_t r = 0; r < n_rows; ++r) {
      std::memcpy(&values[size_t{r} * stride], &dense[size_t{r} * n_cols], size_t{n_cols} * 4);
    }
    q.resize(values.size());
    scales.resize(values.size() / 32);
    sums.resize(values.size() / 16);
    for (uint32_t r = 0; r < n_rows; ++r) {
      const size_t start = size_t{r} * stride;
      reference_kernels().quantize_row(&values[start], stride, &q[start], &scales[start / 32],
                                       &sums[start / 16]);
    }
    view = {n_cols, stride, values.data(), q.data(), scales.data(), sums.data()};
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

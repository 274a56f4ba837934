#pragma once
// The cases of the matrix kernels: what the tests compare with the reference is what the benchmark
// times.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
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

// Activation rows: around the sizes of a pass, and prompts.
inline constexpr uint32_t kRowCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 33, 64, 512};

struct MatmulShape {
  uint32_t n_cols;
  uint32_t n_rows;
};
// A dense layer's, an expert's there and back, and an odd number of row groups with a part of one.
inline constexpr MatmulShape kMatmulShapes[] = {{4096, 1024}, {2048, 768}, {768, 2048}, {256, 21}};

// Equal bits, or both NaN: which NaN comes out of an operation is not part of the contract.
inline bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

inline bool same_block(const ActivationBlock& a, const ActivationBlock& b) {
  return same_bits(a.scale, b.scale) && std::ranges::equal(a.sums, b.sums) &&
         std::ranges::equal(a.q, b.q);
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

}  // namespace floe

// Scalar matrix kernels. The order of operations is numeric_order.h.
#include <cmath>

#include "kernels/numeric_order.h"
#include "kernels/packed_access.h"
#include "kernels/reference.h"

namespace floe::reference {

namespace {

struct ActivationRow {
  const float* values;
  const ActivationBlock* q8;
};

// Only the form that the weights need is touched.
ActivationRow activation_row(const ActivationRows& x, uint32_t row, bool plain) {
  const size_t start = size_t{row} * x.stride;
  if (plain) return {x.values + start, nullptr};
  return {nullptr, x.q8 + start / kActivationBlockCols};
}

template <QuantType type>
float dot_blocks(const uint8_t* group, uint32_t n_cols, uint32_t r, const ActivationRow& x) {
  using Reader = PackedReader<type>;
  constexpr PackedLayout layout = kPacked<type>;
  const uint8_t* block = group;
  float acc = 0;
  uint32_t x_step = 0;
  for (uint32_t b = 0; b < n_cols / layout.block_cols(); ++b, block += layout.block_bytes()) {
    float t = 0;
    float s = 0;
    for (uint32_t i = 0; i < layout.n_steps; ++i, ++x_step) {
      const uint8_t* step = Reader::step(block, i);
      const ActivationBlock& xs = x.q8[x_step];
      int32_t p = 0;
      int32_t m = 0;
      for (uint32_t half = 0; half < 2; ++half) {
        int32_t sum = 0;
        for (uint32_t c = 16 * half; c < 16 * half + 16; ++c) {
          sum += Reader::value(step, r, c) * xs.q[c];
        }
        const int32_t x_sum = xs.sums[half];
        p += layout.n_sub == 0 ? sum : Reader::sub_scale(step, r, half) * sum;
        if constexpr (layout.has_min) {
          m += layout.n_sub == 0 ? x_sum : Reader::sub_minimum(step, r, half) * x_sum;
        }
      }
      const float a = xs.scale;
      const float p_float = static_cast<float>(p);
      const float m_float = static_cast<float>(m);
      t = layout.n_steps == 1 ? p_float * a : std::fma(p_float, a, t);
      s = layout.n_steps == 1 ? m_float * a : std::fma(m_float, a, s);
    }
    acc = std::fma(Reader::scale(block, r), t, acc);
    if constexpr (layout.has_min) {
      const float minimum = Reader::minimum(block, r);
      acc = std::fma(layout.n_sub == 0 ? minimum : -minimum, s, acc);
    }
  }
  return acc;
}

float plain_value(QuantType type, const std::byte* group, size_t index) {
  if (type == QuantType::F32) {
    float value;
    std::memcpy(&value, group + 4 * index, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, group + 2 * index, 2);
  return type == QuantType::F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

float dot_plain(QuantType type, const std::byte* group, uint32_t n_cols, uint32_t r,
                const ActivationRow& x) {
  float partial[4] = {0, 0, 0, 0};
  for (uint32_t c = 0; c < n_cols; ++c) {
    const float w = plain_value(type, group, size_t{c} * kRowsPerGroup + r);
    partial[c % 4] = std::fma(w, x.values[c], partial[c % 4]);
  }
  return (partial[0] + partial[1]) + (partial[2] + partial[3]);
}

}  // namespace

void matmul(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin, uint32_t group_end,
            const ActivationRows& x, const uint32_t* ids, uint32_t n_ids, float* out,
            size_t out_stride) {
  const bool plain = weights.type == QuantType::F32 || weights.type == QuantType::F16 ||
                     weights.type == QuantType::BF16;
  for (uint32_t g = group_begin; g < group_end; ++g) {
    const std::byte* group = weights.group(plane, g);
    for (uint32_t i = 0; i < n_ids; ++i) {
      const ActivationRow row = activation_row(x, ids != nullptr ? ids[i] : i, plain);
      for (uint32_t r = 0; r < kRowsPerGroup; ++r) {
        const uint32_t out_row = g * kRowsPerGroup + r;
        if (out_row >= weights.n_rows) break;
        float& result = out[i * out_stride + out_row];
        if (plain) {
          result = dot_plain(weights.type, group, weights.n_cols, r, row);
          continue;
        }
        visit_block_format(weights.type, [&]<QuantType type>() {
          result =
              dot_blocks<type>(reinterpret_cast<const uint8_t*>(group), weights.n_cols, r, row);
        });
      }
    }
  }
}

void quantize_row(const float* values, uint32_t stride, ActivationBlock* q8) {
  for (uint32_t b = 0; b < stride / kActivationBlockCols; ++b) {
    const float* x = values + size_t{b} * kActivationBlockCols;
    ActivationBlock& block = q8[b];
    // Magnitudes compare as integers do, NaN and infinity above all others.
    uint32_t amax_bits = 0;
    for (uint32_t i = 0; i < kActivationBlockCols; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
      if (bits > amax_bits) amax_bits = bits;
    }
    float scale = std::bit_cast<float>(amax_bits) / 127.0f;
    float inverse = 1.0f / scale;
    const bool finite = amax_bits < 0x7f800000u;
    if (!finite) scale = std::bit_cast<float>(0x7fc00000u);
    if (amax_bits < kSmallestAmaxBits) scale = 0;
    const bool zero = !finite || amax_bits < kSmallestAmaxBits;
    int sum[2] = {0, 0};
    for (uint32_t i = 0; i < kActivationBlockCols; ++i) {
      int value = 0;
      if (!zero) {
        const float rounded = x[i] * inverse + exp_terms::kRound;
        value = static_cast<int>(std::bit_cast<uint32_t>(rounded) -
                                 std::bit_cast<uint32_t>(exp_terms::kRound));
      }
      block.q[i] = static_cast<int8_t>(value);
      sum[i / 16] += value;
    }
    block.scale = scale;
    block.sums[0] = static_cast<int16_t>(sum[0]);
    block.sums[1] = static_cast<int16_t>(sum[1]);
  }
}

}  // namespace floe::reference

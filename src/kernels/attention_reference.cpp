// Scalar attention kernels. The order of operations is numeric_order.h; the softmax is beside the
// exponential in elementwise_reference.cpp.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "kernels/numeric_order.h"
#include "kernels/reference.h"

namespace floe::reference {

namespace {

uint16_t read_half(const std::byte* at) {
  uint16_t half;
  std::memcpy(&half, at, 2);
  return half;
}

float cached_value(const std::byte* vector, KvType type, uint32_t i) {
  switch (type) {
    case KvType::F32: {
      float value;
      std::memcpy(&value, vector + 4 * size_t{i}, 4);
      return value;
    }
    case KvType::F16:
      return f16_to_f32(read_half(vector + 2 * size_t{i}));
    case KvType::Q8_0:
      break;
  }
  const std::byte* block = vector + size_t{i / 32} * kQ8CacheBlockBytes;
  const auto q = static_cast<int8_t>(block[2 + i % 32]);
  return f16_to_f32(read_half(block)) * static_cast<float>(q);
}

float dot_cached(const float* q, const std::byte* key, KvType type, uint32_t dim) {
  float lane[8] = {};
  for (uint32_t i = 0; i < dim; ++i) {
    lane[i % 8] = std::fma(q[i], cached_value(key, type, i), lane[i % 8]);
  }
  return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// n <= 32 values; what is missing counts as zeros.
void store_q8_block(const float* x, uint32_t n, std::byte* block) {
  uint32_t amax_bits = 0;
  for (uint32_t i = 0; i < n; ++i) {
    amax_bits = std::max(amax_bits, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  }
  std::memset(block, 0, kQ8CacheBlockBytes);
  if (amax_bits >= 0x7f800000u) {
    std::memcpy(block, &kHalfNaN, 2);
    return;
  }
  const float amax = std::bit_cast<float>(amax_bits);
  const uint16_t half = f32_to_f16(std::min(amax / 127.0f, kLargestHalf));
  std::memcpy(block, &half, 2);
  const float scale = f16_to_f32(half);
  if (scale == 0.0f) return;
  const float inverse = 1.0f / scale;
  for (uint32_t i = 0; i < n; ++i) {
    const float q = std::nearbyint(std::clamp(x[i] * inverse, -127.0f, 127.0f));
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(q));
  }
}

}  // namespace

void load_kv(const std::byte* const* vectors, KvType type, uint32_t n, uint32_t dim, float* tile,
             size_t tile_stride) {
  for (uint32_t t = 0; t < n; ++t) {
    for (uint32_t i = 0; i < dim; ++i) {
      tile[t * tile_stride + i] = cached_value(vectors[t], type, i);
    }
  }
}

void attn_scores(const float* q, size_t q_stride, uint32_t n_heads, const std::byte* const* keys,
                 KvType type, uint32_t n, uint32_t dim, float scale, float* scores,
                 size_t score_stride) {
  for (uint32_t h = 0; h < n_heads; ++h) {
    for (uint32_t t = 0; t < n; ++t) {
      scores[h * score_stride + t] = scale * dot_cached(q + h * q_stride, keys[t], type, dim);
    }
  }
}

void attn_values(const float* weights, size_t weight_stride, const float* factors, uint32_t n_heads,
                 const std::byte* const* values, KvType type, uint32_t n, uint32_t dim, float* out,
                 size_t out_stride) {
  for (uint32_t h = 0; h < n_heads; ++h) {
    float* head_out = out + h * out_stride;
    for (uint32_t i = 0; i < dim; ++i) head_out[i] *= factors[h];
    for (uint32_t t = 0; t < n; ++t) {
      const float weight = weights[h * weight_stride + t];
      for (uint32_t i = 0; i < dim; ++i) {
        head_out[i] = std::fma(weight, cached_value(values[t], type, i), head_out[i]);
      }
    }
  }
}

void indexer_scores(const float* q, const float* head_weights, uint32_t n_heads,
                    const std::byte* const* keys, KvType type, uint32_t n, uint32_t dim,
                    float* scores) {
  for (uint32_t t = 0; t < n; ++t) {
    float score = 0;
    for (uint32_t h = 0; h < n_heads; ++h) {
      const float product = dot_cached(q + size_t{h} * dim, keys[t], type, dim);
      score = std::fma(head_weights[h], product > 0.0f ? product : 0.0f, score);
    }
    scores[t] = score;
  }
}

void store_kv(const float* x, KvType type, std::byte* dst, uint32_t n) {
  switch (type) {
    case KvType::F32:
      std::memcpy(dst, x, size_t{n} * 4);
      return;
    case KvType::F16:
      for (uint32_t i = 0; i < n; ++i) {
        const uint16_t half = f32_to_f16(x[i]);
        std::memcpy(dst + 2 * size_t{i}, &half, 2);
      }
      return;
    case KvType::Q8_0:
      for (uint32_t i = 0; i < n; i += 32, dst += kQ8CacheBlockBytes) {
        store_q8_block(x + i, std::min(n - i, 32u), dst);
      }
      return;
  }
}

}  // namespace floe::reference

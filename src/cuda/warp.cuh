#pragma once
// Sums and norms of a warp in the order of numeric_order.h.
#include "cuda/formats.h"
#include "cuda/launch.h"

namespace floe::cuda {

inline constexpr uint32_t kAllLanes = 0xffffffffu;

// Calls step(lane value, index) -> new lane value over [0, n), in the order of sums over a vector.
// All 32 lanes call it and get the sum.
template <typename Step>
__device__ float warp_sum(uint32_t n, uint32_t lane, Step step) {
  const uint32_t whole = n / kSumLanes * kSumLanes;
  float sum = 0.0f;
#pragma unroll 8
  for (uint32_t i = lane; i < whole; i += kSumLanes) sum = step(sum, i);
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 8);   // 0 + 1, 2 + 3
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 16);  // (0 + 1) + (2 + 3)
  if (lane < 8) {
    for (uint32_t i = whole + lane; i < n; i += 8) sum = step(sum, i);
  }
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 1);
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 2);
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 4);
  return __shfl_sync(kAllLanes, sum, 0);
}

// What x[i] is multiplied by before the weight.
__device__ inline float rms_scale(const float* x, uint32_t n, float eps, uint32_t lane) {
  const float squares =
      warp_sum(n, lane, [&](float sum, uint32_t i) { return fmaf(x[i], x[i], sum); });
  return 1.0f / sqrtf(squares / static_cast<float>(n) + eps);
}

// The largest of a warp's magnitudes, as integers compare.
__device__ inline uint32_t warp_largest(uint32_t value) {
  return __reduce_max_sync(kAllLanes, value);
}

// A block of 32 activations, one a lane.
__device__ inline void quantize_block(float x, ActivationBlock& block, uint32_t lane) {
  const uint32_t amax_bits = warp_largest(__float_as_uint(x) & 0x7fffffffu);
  float scale = __uint_as_float(amax_bits) / 127.0f;
  const float inverse = 1.0f / scale;
  const bool finite = amax_bits < 0x7f800000u;
  if (!finite) scale = __uint_as_float(0x7fc00000u);
  if (amax_bits < kSmallestAmaxBits) scale = 0.0f;
  int value = 0;
  if (finite && amax_bits >= kSmallestAmaxBits) {
    const float rounded = x * inverse + exp_terms::kRound;
    value = static_cast<int>(__float_as_uint(rounded) - __float_as_uint(exp_terms::kRound));
  }
  block.q[lane] = static_cast<int8_t>(value);
  int sum = value;
#pragma unroll
  for (int k = 8; k > 0; k /= 2) sum += __shfl_xor_sync(kAllLanes, sum, k);
  if (lane == 0) {
    block.scale = scale;
    block.sums[0] = static_cast<int16_t>(sum);
  }
  if (lane == 16) block.sums[1] = static_cast<int16_t>(sum);
}

// Pair i of x, in place.
__device__ inline void rotate_pair(float* x, const float* cos_sin, uint32_t i, uint32_t n_pairs,
                                   bool interleaved) {
  float& first = interleaved ? x[2 * i] : x[i];
  float& second = interleaved ? x[2 * i + 1] : x[i + n_pairs];
  const float cosine = cos_sin[2 * i];
  const float sine = cos_sin[2 * i + 1];
  const float a = first;
  const float b = second;
  first = fmaf(a, cosine, -(b * sine));
  second = fmaf(b, cosine, a * sine);
}

// One warp stores n floats as the cache type.
__device__ inline void store_vector(const float* x, KvType type, std::byte* dst, uint32_t n,
                                    uint32_t lane) {
  if (type == KvType::F32) {
    for (uint32_t i = lane; i < n; i += 32) reinterpret_cast<float*>(dst)[i] = x[i];
    return;
  }
  if (type == KvType::F16) {
    for (uint32_t i = lane; i < n; i += 32) {
      reinterpret_cast<__half*>(dst)[i] = __float2half_rn(x[i]);
    }
    return;
  }
  for (uint32_t begin = 0; begin < n; begin += 32, dst += kQ8CacheBlockBytes) {
    const bool inside = begin + lane < n;
    const float value = inside ? x[begin + lane] : 0.0f;
    const uint32_t amax_bits = warp_largest(__float_as_uint(value) & 0x7fffffffu);
    int8_t q = 0;
    unsigned short half_bits = kHalfNaN;
    if (amax_bits < 0x7f800000u) {
      const float largest = __uint_as_float(amax_bits) / 127.0f;
      const __half half = __float2half_rn(largest < kLargestHalf ? largest : kLargestHalf);
      half_bits = __half_as_ushort(half);
      const float scale = __half2float(half);
      if (scale != 0.0f) {
        const float inverse = 1.0f / scale;
        float scaled = value * inverse;
        scaled = scaled < -127.0f ? -127.0f : scaled > 127.0f ? 127.0f : scaled;
        q = static_cast<int8_t>(rintf(scaled));
      }
    }
    reinterpret_cast<int8_t*>(dst)[2 + lane] = q;
    if (lane == 0) *reinterpret_cast<unsigned short*>(dst) = half_bits;
  }
}

__device__ inline float cached_value(const std::byte* vector, KvType type, uint32_t i) {
  if (type == KvType::F32) return reinterpret_cast<const float*>(vector)[i];
  if (type == KvType::F16) return __half2float(reinterpret_cast<const __half*>(vector)[i]);
  const std::byte* block = vector + size_t{i / 32} * kQ8CacheBlockBytes;
  const float scale = __half2float(*reinterpret_cast<const __half*>(block));
  return scale * static_cast<float>(reinterpret_cast<const int8_t*>(block)[2 + i % 32]);
}

}  // namespace floe::cuda

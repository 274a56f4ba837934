// AVX2 norms, rotations, activations and activation quantisation. The order is numeric_order.h.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/numeric_order.h"

namespace floe::avx2 {

namespace {

FLOE_INLINE __m256 exponential(__m256 x) {
  using namespace exp_terms;
  // min and max return their second operand when one is NaN: NaN stays.
  x = _mm256_min_ps(_mm256_set1_ps(kMax), x);
  x = _mm256_max_ps(_mm256_set1_ps(kMin), x);
  const __m256 round = _mm256_set1_ps(kRound);
  const __m256 rounded = _mm256_fmadd_ps(x, _mm256_set1_ps(kLog2E), round);
  const __m256 n = _mm256_sub_ps(rounded, round);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2High), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2Low), r);
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(kC7), r, _mm256_set1_ps(kC6));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kC5));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kC4));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kC3));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kC2));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i exponent =
      _mm256_sub_epi32(_mm256_castps_si256(rounded), _mm256_castps_si256(round));
  const __m256i half = _mm256_srai_epi32(exponent, 1);
  const __m256i rest = _mm256_sub_epi32(exponent, half);
  const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(p, first), second);
}

// ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
FLOE_INLINE float reduce_lanes(__m256 lanes) {
  const __m256 pairs = _mm256_hadd_ps(lanes, lanes);
  const __m256 fours = _mm256_hadd_ps(pairs, pairs);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1)));
}

// step(lanes, index) takes 8 elements from index on, last(lane, index) one.
template <typename Step, typename Last>
FLOE_INLINE float sum_lanes(uint32_t n, const Step& step, const Last& last) {
  __m256 wide[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                    _mm256_setzero_ps()};
  uint32_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) wide[k] = step(wide[k], i + 8 * k);
  }
  __m256 lanes = _mm256_add_ps(_mm256_add_ps(wide[0], wide[1]), _mm256_add_ps(wide[2], wide[3]));
  for (; i + 8 <= n; i += 8) lanes = step(lanes, i);
  if (i < n) {
    alignas(32) float lane[8];
    _mm256_store_ps(lane, lanes);
    for (uint32_t l = 0; i < n; ++i, ++l) lane[l] = last(lane[l], i);
    lanes = _mm256_load_ps(lane);
  }
  return reduce_lanes(lanes);
}

FLOE_INLINE float square_root(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

// The last n < 8 elements of a vector, zeros behind them.
FLOE_INLINE __m256 load_part(const float* x, uint32_t n) {
  alignas(32) float lane[8] = {};
  for (uint32_t l = 0; l < n; ++l) lane[l] = x[l];
  return _mm256_load_ps(lane);
}
FLOE_INLINE void store_part(float* out, __m256 values, uint32_t n) {
  alignas(32) float lane[8];
  _mm256_store_ps(lane, values);
  for (uint32_t l = 0; l < n; ++l) out[l] = lane[l];
}

// 32 integers, saturated to bytes.
FLOE_INLINE __m256i pack_bytes(const __m256i (&n)[4]) {
  // Packing works within 128-bit lanes; one permutation puts the words of four back in order.
  const __m256i low = _mm256_packs_epi32(n[0], n[1]);
  const __m256i high = _mm256_packs_epi32(n[2], n[3]);
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                     _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// out[i] = f(i) for all i, f(load, index) in groups of 8; `load` reads a full or a partial group.
template <typename Map>
FLOE_INLINE void map(float* out, uint32_t n, const Map& f) {
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, f([i](const float* x) { return _mm256_loadu_ps(x + i); }));
  }
  if (i < n) {
    store_part(out + i, f([i, n](const float* x) { return load_part(x + i, n - i); }), n - i);
  }
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, float* out, uint32_t n) {
  const float squares = sum_lanes(
      n,
      [x](__m256 lanes, uint32_t i) {
        const __m256 v = _mm256_loadu_ps(x + i);
        return _mm256_fmadd_ps(v, v, lanes);
      },
      [x](float lane, uint32_t i) { return __builtin_fmaf(x[i], x[i], lane); });
  const __m256 scale = _mm256_set1_ps(1.0f / square_root(squares / static_cast<float>(n) + eps));
  if (weight == nullptr) {
    map(out, n, [&](auto load) { return _mm256_mul_ps(load(x), scale); });
  } else {
    map(out, n,
        [&](auto load) { return _mm256_mul_ps(_mm256_mul_ps(load(x), scale), load(weight)); });
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* out,
                uint32_t n) {
  const float count = static_cast<float>(n);
  const float mean =
      sum_lanes(
          n, [x](__m256 lanes, uint32_t i) { return _mm256_add_ps(lanes, _mm256_loadu_ps(x + i)); },
          [x](float lane, uint32_t i) { return lane + x[i]; }) /
      count;
  const __m256 means = _mm256_set1_ps(mean);
  const float squares = sum_lanes(
      n,
      [x, means](__m256 lanes, uint32_t i) {
        const __m256 centred = _mm256_sub_ps(_mm256_loadu_ps(x + i), means);
        return _mm256_fmadd_ps(centred, centred, lanes);
      },
      [x, mean](float lane, uint32_t i) {
        const float centred = x[i] - mean;
        return __builtin_fmaf(centred, centred, lane);
      });
  const __m256 scale = _mm256_set1_ps(1.0f / square_root(squares / count + eps));
  map(out, n, [&](auto load) {
    const __m256 scaled = _mm256_mul_ps(_mm256_sub_ps(load(x), means), scale);
    const __m256 w = weight != nullptr ? load(weight) : _mm256_set1_ps(1.0f);
    const __m256 b = bias != nullptr ? load(bias) : _mm256_setzero_ps();
    return _mm256_fmadd_ps(scaled, w, b);
  });
}

void rope(float* x, const float* cos_sin, uint32_t n_pairs, bool interleaved) {
  uint32_t i = 0;
  if (interleaved) {
    for (; i + 4 <= n_pairs; i += 4) {
      const __m256 pairs = _mm256_loadu_ps(x + 2 * i);
      const __m256 turn = _mm256_loadu_ps(cos_sin + 2 * i);
      const __m256 swapped = _mm256_permute_ps(pairs, 0xb1);
      const __m256 crossed = _mm256_mul_ps(swapped, _mm256_movehdup_ps(turn));
      _mm256_storeu_ps(x + 2 * i, _mm256_fmaddsub_ps(pairs, _mm256_moveldup_ps(turn), crossed));
    }
  } else {
    const __m256i order = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
    for (; i + 8 <= n_pairs; i += 8) {
      const __m256 turn0 = _mm256_loadu_ps(cos_sin + 2 * i);
      const __m256 turn1 = _mm256_loadu_ps(cos_sin + 2 * i + 8);
      const __m256 cosine = _mm256_permutevar8x32_ps(_mm256_shuffle_ps(turn0, turn1, 0x88), order);
      const __m256 sine = _mm256_permutevar8x32_ps(_mm256_shuffle_ps(turn0, turn1, 0xdd), order);
      const __m256 a = _mm256_loadu_ps(x + i);
      const __m256 b = _mm256_loadu_ps(x + n_pairs + i);
      _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, cosine, _mm256_mul_ps(b, sine)));
      _mm256_storeu_ps(x + n_pairs + i, _mm256_fmadd_ps(b, cosine, _mm256_mul_ps(a, sine)));
    }
  }
  for (; i < n_pairs; ++i) {
    float& first = interleaved ? x[2 * i] : x[i];
    float& second = interleaved ? x[2 * i + 1] : x[i + n_pairs];
    const float cosine = cos_sin[2 * i];
    const float sine = cos_sin[2 * i + 1];
    const float a = first;
    const float b = second;
    first = __builtin_fmaf(a, cosine, -(b * sine));
    second = __builtin_fmaf(b, cosine, a * sine);
  }
}

void swiglu(const float* gate, const float* up, float* out, uint32_t n) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  const __m256 one = _mm256_set1_ps(1.0f);
  map(out, n, [&](auto load) {
    const __m256 g = load(gate);
    const __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, exponential(_mm256_xor_ps(g, sign))));
    return _mm256_mul_ps(silu, load(up));
  });
}

void swiglu_clamped(const float* gate, const float* up, float* out, uint32_t n) {
  using namespace swiglu_terms;
  const __m256 limit = _mm256_set1_ps(kLimit);
  const __m256 slope = _mm256_set1_ps(-kSlope);
  const __m256 one = _mm256_set1_ps(1.0f);
  map(out, n, [&](auto load) {
    // min and max return their second operand when one is NaN: NaN stays.
    const __m256 g = _mm256_min_ps(limit, load(gate));
    __m256 u = _mm256_min_ps(limit, load(up));
    u = _mm256_max_ps(_mm256_set1_ps(-kLimit), u);
    const __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, exponential(_mm256_mul_ps(slope, g))));
    return _mm256_mul_ps(silu, _mm256_add_ps(u, one));
  });
}

void axpy(float scale, const float* x, float* out, uint32_t n) {
  const __m256 scales = _mm256_set1_ps(scale);
  map(out, n, [&](auto load) { return _mm256_fmadd_ps(scales, load(x), load(out)); });
}

void add(const float* x, float* out, uint32_t n) {
  map(out, n, [&](auto load) { return _mm256_add_ps(load(out), load(x)); });
}

void softmax(float* x, uint32_t n) {
  const float lowest = -__builtin_inff();
  __m256 largest = _mm256_set1_ps(lowest);
  uint32_t i = 0;
  // max returns its second operand when the first is NaN.
  for (; i + 8 <= n; i += 8) largest = _mm256_max_ps(_mm256_loadu_ps(x + i), largest);
  alignas(32) float lane[8];
  _mm256_store_ps(lane, largest);
  float max = lowest;
  for (const float value : lane) max = value > max ? value : max;
  for (; i < n; ++i) max = x[i] > max ? x[i] : max;
  if (max == lowest) max = 0;
  const __m256 shift = _mm256_set1_ps(max);
  map(x, n, [&](auto load) { return exponential(_mm256_sub_ps(load(x), shift)); });
  const float sum = sum_lanes(
      n, [x](__m256 lanes, uint32_t k) { return _mm256_add_ps(lanes, _mm256_loadu_ps(x + k)); },
      [x](float value, uint32_t k) { return value + x[k]; });
  const __m256 inverse = _mm256_set1_ps(sum == 0.0f ? 0.0f : 1.0f / sum);
  map(x, n, [&](auto load) { return _mm256_mul_ps(load(x), inverse); });
}

void softmax_block(float* x, size_t stride, uint32_t n_heads, uint32_t n, float* maxima,
                   float* sums, float* factors) {
  const float lowest = -__builtin_inff();
  // In three rounds over the heads: one head's steps wait for each other, those of several do not.
  for (uint32_t h = 0; h < n_heads; ++h) {
    const float* scores = x + h * stride;
    const float before = maxima[h];
    // The running maximum stands second: it is what max returns for NaN.
    __m256 lanes = _mm256_set1_ps(before);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) lanes = _mm256_max_ps(_mm256_loadu_ps(scores + i), lanes);
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    float max = _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
    for (; i < n; ++i) max = scores[i] > max ? scores[i] : max;
    maxima[h] = max;
    factors[h] = before - (max == lowest ? 0.0f : max);
  }
  map(factors, n_heads, [&](auto load) { return exponential(load(factors)); });
  for (uint32_t h = 0; h < n_heads; ++h, x += stride) {
    const __m256 base = _mm256_set1_ps(maxima[h] == lowest ? 0.0f : maxima[h]);
    float sum;
    if (n == 32) {
      __m256 v[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        v[k] = exponential(_mm256_sub_ps(_mm256_loadu_ps(x + 8 * k), base));
        _mm256_storeu_ps(x + 8 * k, v[k]);
      }
      sum = reduce_lanes(_mm256_add_ps(_mm256_add_ps(v[0], v[1]), _mm256_add_ps(v[2], v[3])));
    } else {
      map(x, n, [&](auto load) { return exponential(_mm256_sub_ps(load(x), base)); });
      sum = sum_lanes(
          n, [x](__m256 sums8, uint32_t k) { return _mm256_add_ps(sums8, _mm256_loadu_ps(x + k)); },
          [x](float lane, uint32_t k) { return lane + x[k]; });
    }
    sums[h] = __builtin_fmaf(sums[h], factors[h], sum);
  }
}

void quantize_row(const float* values, uint32_t stride, ActivationBlock* q8) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (size_t b = 0; b < stride / kActivationBlockCols; ++b) {
    const float* x = values + kActivationBlockCols * b;
    ActivationBlock& block = q8[b];
    __m256 v[4];
    __m256i largest = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm256_loadu_ps(x + 8 * k);
      largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[k]), magnitude));
    }
    __m128i m =
        _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    const uint32_t amax_bits = static_cast<uint32_t>(_mm_cvtsi128_si32(m));
    if (amax_bits < kSmallestAmaxBits || amax_bits >= 0x7f800000u) {
      block = {amax_bits < kSmallestAmaxBits ? 0.0f : __builtin_nanf(""), {}, {}};
      continue;
    }
    const float scale = _mm_cvtss_f32(_mm_castsi128_ps(m)) / 127.0f;
    const __m256 inverse = _mm256_set1_ps(1.0f / scale);
    __m256i n[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) n[k] = _mm256_cvtps_epi32(_mm256_mul_ps(v[k], inverse));
    const __m256i bytes = pack_bytes(n);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block.q), bytes);
    // Sums of four bytes, then of sixteen: the columns 0..15 are the low half.
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4e));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0xb1));
    block.scale = scale;
    block.sums[0] = static_cast<int16_t>(_mm_cvtsi128_si32(_mm256_castsi256_si128(fours)));
    block.sums[1] = static_cast<int16_t>(_mm_cvtsi128_si32(_mm256_extracti128_si256(fours, 1)));
  }
}

namespace {

// n <= 32 values; what is missing counts as zeros.
FLOE_INLINE void store_q8_block(const float* x, uint32_t n, std::byte* block) {
  alignas(32) float padded[32] = {};
  if (n < 32) {
    __builtin_memcpy(padded, x, 4 * size_t{n});
    x = padded;
  }
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256 v[4];
  __m256i largest = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    v[k] = _mm256_loadu_ps(x + 8 * k);
    largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[k]), magnitude));
  }
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  const float amax = _mm_cvtss_f32(_mm_castsi128_ps(m));
  if (static_cast<uint32_t>(_mm_cvtsi128_si32(m)) >= 0x7f800000u) {
    __builtin_memset(block, 0, kQ8CacheBlockBytes);
    __builtin_memcpy(block, &kHalfNaN, 2);
    return;
  }
  const float wanted = amax / 127.0f;
  const uint16_t half =
      _cvtss_sh(wanted < kLargestHalf ? wanted : kLargestHalf, _MM_FROUND_TO_NEAREST_INT);
  __builtin_memcpy(block, &half, 2);
  const float scale = _cvtsh_ss(half);
  const __m256 inverse = _mm256_set1_ps(scale == 0.0f ? 0.0f : 1.0f / scale);
  __m256i n8[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const __m256 q = _mm256_mul_ps(v[k], inverse);
    n8[k] = _mm256_cvtps_epi32(
        _mm256_max_ps(_mm256_min_ps(q, _mm256_set1_ps(127.0f)), _mm256_set1_ps(-127.0f)));
  }
  const __m256i bytes = pack_bytes(n8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(block + 2), bytes);
}

}  // namespace

void store_kv(const float* x, KvType type, std::byte* dst, uint32_t n) {
  if (type == KvType::F32) {
    __builtin_memcpy(dst, x, size_t{n} * 4);
    return;
  }
  uint32_t i = 0;
  if (type == KvType::Q8_0) {
    for (; i < n; i += 32, dst += kQ8CacheBlockBytes) {
      store_q8_block(x + i, n - i < 32 ? n - i : 32, dst);
    }
    return;
  }
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 2 * size_t{i}),
                     _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
  }
  if (i < n) {
    alignas(16) std::byte halves[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(halves),
                    _mm256_cvtps_ph(load_part(x + i, n - i), _MM_FROUND_TO_NEAREST_INT));
    __builtin_memcpy(dst + 2 * size_t{i}, halves, 2 * size_t{n - i});
  }
}

}  // namespace floe::avx2

// AVX2 attention kernels. The order is numeric_order.h; the softmax is beside the exponential in
// elementwise_avx2.cpp.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/numeric_order.h"

namespace floe::avx2 {

namespace {

#define FLOE_INLINE inline __attribute__((always_inline))

constexpr uint32_t kScoreHeads = 3;  // heads of one pass over four vectors
constexpr uint32_t kValueHeads = 3;  // of one pass over 32 columns
// Vectors that all heads pass over before the next ones: wide ones stay in the first-level cache.
constexpr uint32_t kNearVectors = 8;

FLOE_INLINE __m256 first_lanes(uint32_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index));
}

// n < 8 values, zeros behind them.
FLOE_INLINE __m256 load_part(const float* x, uint32_t n) {
  return _mm256_maskload_ps(x, _mm256_castps_si256(first_lanes(n)));
}

// Cached vectors as the arithmetic reads them: eight values, or the last n < 8 and zeros.
struct Floats {
  static FLOE_INLINE __m256 load(const std::byte* vector, uint32_t i) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(vector) + i);
  }
  static FLOE_INLINE __m256 load_part(const std::byte* vector, uint32_t i, uint32_t n) {
    return floe::avx2::load_part(reinterpret_cast<const float*>(vector) + i, n);
  }
};
struct Halves {
  static FLOE_INLINE __m256 load(const std::byte* vector, uint32_t i) {
    return _mm256_cvtph_ps(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(vector + 2 * size_t{i})));
  }
  static FLOE_INLINE __m256 load_part(const std::byte* vector, uint32_t i, uint32_t n) {
    alignas(16) std::byte part[16] = {};
    __builtin_memcpy(part, vector + 2 * size_t{i}, 2 * size_t{n});
    return load(part, 0);
  }
};

FLOE_INLINE void store_first(float* out, __m256 values, uint32_t n) {
  if (n >= 8) {
    _mm256_storeu_ps(out, values);
  } else {
    _mm256_maskstore_ps(out, _mm256_castps_si256(first_lanes(n)), values);
  }
}

FLOE_INLINE void store_first(float* out, __m128 values, uint32_t n) {
  if (n >= 4) {
    _mm_storeu_ps(out, values);
  } else {
    _mm_maskstore_ps(out, _mm_castps_si128(_mm256_castps256_ps128(first_lanes(n))), values);
  }
}

// Sums of neighbours within 128 bits: a01 a23 b01 b23. As _mm256_hadd_ps, which takes twice as
// long.
FLOE_INLINE __m256 add_pairs(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
}

// The sums of four vectors' lanes, each as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).
FLOE_INLINE __m128 reduce_four(const __m256 (&v)[4]) {
  const __m256 sums = add_pairs(add_pairs(v[0], v[1]), add_pairs(v[2], v[3]));
  return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

// The products of kHeads query vectors and four cached ones: 12 sums keep both multipliers busy,
// and every loaded vector is used kHeads or four times.
template <typename Element, int kHeads>
FLOE_INLINE void dot_heads(const float* q, size_t q_stride, const std::byte* const (&vectors)[4],
                           uint32_t dim, __m128 (&dots)[kHeads]) {
  __m256 sum[kHeads][4];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) sum[h][t] = _mm256_setzero_ps();
  }
  uint32_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    __m256 query[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) query[h] = _mm256_loadu_ps(q + h * q_stride + i);
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      const __m256 value = Element::load(vectors[t], i);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) sum[h][t] = _mm256_fmadd_ps(query[h], value, sum[h][t]);
    }
  }
  if (i < dim) {
    // Lanes past the end keep their sum untouched: even adding 0 could turn -0 into 0.
    const __m256 mask = first_lanes(dim - i);
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const __m256 query = load_part(q + h * q_stride + i, dim - i);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) {
        const __m256 value = Element::load_part(vectors[t], i, dim - i);
        sum[h][t] = _mm256_blendv_ps(sum[h][t], _mm256_fmadd_ps(query, value, sum[h][t]), mask);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) dots[h] = reduce_four(sum[h]);
}

// visit(head, first vector, number of vectors <= 4, their products), heads ascending for every four
// vectors.
template <typename Element, typename Visit>
FLOE_INLINE void each_product(const float* q, size_t q_stride, uint32_t n_heads,
                              const std::byte* const* vectors, uint32_t n, uint32_t dim,
                              const Visit& visit) {
  for (uint32_t near = 0; near < n; near += kNearVectors) {
    const uint32_t end = near + kNearVectors < n ? near + kNearVectors : n;
    for (uint32_t h = 0; h < n_heads;) {
      // Passes of equal size.
      const uint32_t left = n_heads - h;
      const uint32_t n_passes = (left + kScoreHeads - 1) / kScoreHeads;
      const uint32_t heads = (left + n_passes - 1) / n_passes;
      const auto pass = [&]<int kHeads>() {
        for (uint32_t t = near; t < end; t += 4) {
          // The first vector stands in for those past the end.
          const uint32_t n_vectors = end - t < 4 ? end - t : 4;
          const std::byte* const four[4] = {vectors[t], vectors[n_vectors > 1 ? t + 1 : t],
                                            vectors[n_vectors > 2 ? t + 2 : t],
                                            vectors[n_vectors > 3 ? t + 3 : t]};
          __m128 dots[kHeads];
          dot_heads<Element, kHeads>(q + h * q_stride, q_stride, four, dim, dots);
#pragma GCC unroll 4
          for (uint32_t k = 0; k < kHeads; ++k) visit(h + k, t, n_vectors, dots[k]);
        }
      };
      if (heads == 3) {
        pass.template operator()<3>();
      } else if (heads == 2) {
        pass.template operator()<2>();
      } else {
        pass.template operator()<1>();
      }
      h += heads;
    }
  }
}

// out[kHeads][8 * kVectors columns from i] = factors * out + weights * values, t ascending.
template <typename Element, int kHeads, int kVectors>
FLOE_INLINE void accumulate(const float* weights, size_t weight_stride, const float* factors,
                            const std::byte* const* values, uint32_t n, uint32_t i, float* out,
                            size_t out_stride) {
  __m256 sum[kHeads][kVectors];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
    const __m256 factor = _mm256_broadcast_ss(factors + h);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[h][v] = _mm256_mul_ps(factor, _mm256_loadu_ps(out + h * out_stride + i + 8 * v));
    }
  }
  for (uint32_t t = 0; t < n; ++t) {
    __m256 weight[kHeads];
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      weight[h] = _mm256_broadcast_ss(weights + h * weight_stride + t);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const __m256 value = Element::load(values[t], i + 8 * v);
#pragma GCC unroll 8
      for (int h = 0; h < kHeads; ++h) sum[h][v] = _mm256_fmadd_ps(weight[h], value, sum[h][v]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(out + h * out_stride + i + 8 * v, sum[h][v]);
    }
  }
}

// The same for the last n_columns < 8 columns.
template <typename Element>
FLOE_INLINE void accumulate_part(const float* weights, size_t weight_stride, const float* factors,
                                 uint32_t n_heads, const std::byte* const* values, uint32_t n,
                                 uint32_t i, uint32_t n_columns, float* out, size_t out_stride) {
  for (uint32_t h = 0; h < n_heads; ++h) {
    float* head_out = out + h * out_stride + i;
    __m256 sum = _mm256_mul_ps(_mm256_broadcast_ss(factors + h), load_part(head_out, n_columns));
    for (uint32_t t = 0; t < n; ++t) {
      sum = _mm256_fmadd_ps(_mm256_broadcast_ss(weights + h * weight_stride + t),
                            Element::load_part(values[t], i, n_columns), sum);
    }
    store_first(head_out, sum, n_columns);
  }
}

template <typename Element>
FLOE_INLINE void accumulate_all(const float* weights, size_t weight_stride, const float* factors,
                                uint32_t n_heads, const std::byte* const* values, uint32_t n,
                                uint32_t dim, float* out, size_t out_stride) {
  // Columns outside, heads inside: the few columns of all vectors stay in the first-level cache.
  const auto columns = [&]<int kVectors>(uint32_t i) {
    for (uint32_t h = 0; h < n_heads;) {
      const uint32_t left = n_heads - h;
      const uint32_t n_passes = (left + kValueHeads - 1) / kValueHeads;
      const uint32_t heads = (left + n_passes - 1) / n_passes;
      const auto pass = [&]<int kHeads>() {
        accumulate<Element, kHeads, kVectors>(weights + h * weight_stride, weight_stride,
                                              factors + h, values, n, i, out + h * out_stride,
                                              out_stride);
      };
      switch (heads) {
        case 1:
          pass.template operator()<1>();
          break;
        case 2:
          pass.template operator()<2>();
          break;
        default:
          pass.template operator()<3>();
          break;
      }
      h += heads;
    }
  };
  uint32_t i = 0;
  // Eight sums hide the latency of an addition; one head needs that many columns of its own.
  if (n_heads == 1) {
    for (; i + 64 <= dim; i += 64) columns.template operator()<8>(i);
  }
  // 12 sums as in dot_heads; and of F16 a whole cache line of every vector.
  for (; i + 32 <= dim; i += 32) columns.template operator()<4>(i);
  for (; i + 16 <= dim; i += 16) columns.template operator()<2>(i);
  for (; i + 8 <= dim; i += 8) columns.template operator()<1>(i);
  if (i < dim) {
    accumulate_part<Element>(weights, weight_stride, factors, n_heads, values, n, i, dim - i, out,
                             out_stride);
  }
}

template <typename Element>
FLOE_INLINE void score_positions(const float* q, const float* head_weights, uint32_t n_heads,
                                 const std::byte* const* keys, uint32_t n, uint32_t dim,
                                 float* scores) {
  for (uint32_t t = 0; t < n; t += 4) {
    const uint32_t n_vectors = n - t < 4 ? n - t : 4;
    __m128 score = _mm_setzero_ps();
    each_product<Element>(q, dim, n_heads, keys + t, n_vectors, dim,
                          [&](uint32_t h, uint32_t, uint32_t, __m128 dots) {
                            // max returns its second operand for NaN.
                            const __m128 positive = _mm_max_ps(dots, _mm_setzero_ps());
                            score =
                                _mm_fmadd_ps(_mm_broadcast_ss(head_weights + h), positive, score);
                          });
    store_first(scores + t, score, n_vectors);
  }
}

FLOE_INLINE void load_halves(const std::byte* vector, uint32_t dim, float* out) {
  uint32_t i = 0;
  for (; i + 8 <= dim; i += 8) _mm256_storeu_ps(out + i, Halves::load(vector, i));
  if (i < dim) store_first(out + i, Halves::load_part(vector, i, dim - i), dim - i);
}

FLOE_INLINE void load_q8(const std::byte* vector, uint32_t dim, float* out) {
  for (uint32_t i = 0; i < dim; i += 32, vector += kQ8CacheBlockBytes) {
    uint16_t half;
    __builtin_memcpy(&half, vector, 2);
    const __m256 scale = _mm256_set1_ps(_cvtsh_ss(half));
    const auto eight = [&](uint32_t k) {
      const auto* bytes = reinterpret_cast<const __m128i*>(vector + 2 + k);
      return _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(bytes))));
    };
    if (i + 32 <= dim) {
#pragma GCC unroll 4
      for (uint32_t k = 0; k < 32; k += 8) _mm256_storeu_ps(out + i + k, eight(k));
    } else {
      for (uint32_t k = 0; i + k < dim; k += 8) store_first(out + i + k, eight(k), dim - i - k);
    }
  }
}

}  // namespace

void load_kv(const std::byte* const* vectors, KvType type, uint32_t n, uint32_t dim, float* tile,
             size_t tile_stride) {
  for (uint32_t t = 0; t < n; ++t, tile += tile_stride) {
    switch (type) {
      case KvType::F32:
        __builtin_memcpy(tile, vectors[t], 4 * size_t{dim});
        break;
      case KvType::F16:
        load_halves(vectors[t], dim, tile);
        break;
      case KvType::Q8_0:
        load_q8(vectors[t], dim, tile);
        break;
    }
  }
}

void attn_scores(const float* q, size_t q_stride, uint32_t n_heads, const std::byte* const* keys,
                 KvType type, uint32_t n, uint32_t dim, float scale, float* scores,
                 size_t score_stride) {
  const __m128 scales = _mm_set1_ps(scale);
  const auto visit = [&](uint32_t h, uint32_t t, uint32_t n_vectors, __m128 dots) {
    store_first(scores + h * score_stride + t, _mm_mul_ps(scales, dots), n_vectors);
  };
  if (type == KvType::F32) {
    each_product<Floats>(q, q_stride, n_heads, keys, n, dim, visit);
  } else {
    each_product<Halves>(q, q_stride, n_heads, keys, n, dim, visit);
  }
}

void attn_values(const float* weights, size_t weight_stride, const float* factors, uint32_t n_heads,
                 const std::byte* const* values, KvType type, uint32_t n, uint32_t dim, float* out,
                 size_t out_stride) {
  if (type == KvType::F32) {
    accumulate_all<Floats>(weights, weight_stride, factors, n_heads, values, n, dim, out,
                           out_stride);
  } else {
    accumulate_all<Halves>(weights, weight_stride, factors, n_heads, values, n, dim, out,
                           out_stride);
  }
}

void indexer_scores(const float* q, const float* head_weights, uint32_t n_heads,
                    const std::byte* const* keys, KvType type, uint32_t n, uint32_t dim,
                    float* scores) {
  if (type == KvType::F32) {
    score_positions<Floats>(q, head_weights, n_heads, keys, n, dim, scores);
  } else {
    score_positions<Halves>(q, head_weights, n_heads, keys, n, dim, scores);
  }
}

}  // namespace floe::avx2

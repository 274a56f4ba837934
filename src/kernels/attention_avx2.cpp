// AVX2 attention kernels. The loops are attention_loops.h's, the order numeric_order.h's; the
// softmax is beside the exponential in elementwise_avx2.cpp.
#include <immintrin.h>

#include "kernels/attention_loops.h"
#include "kernels/avx2.h"
#include "kernels/numeric_order.h"

namespace floe::avx2 {

namespace {

struct Eights {
  static constexpr uint32_t kGroups = 1;
  // 12 sums keep both multipliers busy; of F16, 32 columns are a whole cache line.
  static constexpr int kScoreHeads = 3;
  static constexpr int kValueHeads = 3;
  static constexpr int kValueVectors = 4;
  static constexpr int kSoloVectors = 8;
  using Wide = __m256;
  using Dots = __m128;

  static FLOE_INLINE __m256i first(uint32_t n) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
  }

  static FLOE_INLINE Wide zeros() { return _mm256_setzero_ps(); }
  static FLOE_INLINE Wide splat(float x) { return _mm256_set1_ps(x); }
  static FLOE_INLINE Wide times(Wide a, Wide b) { return _mm256_mul_ps(a, b); }
  static FLOE_INLINE Wide fma(Wide a, Wide b, Wide c) { return _mm256_fmadd_ps(a, b, c); }
  static FLOE_INLINE Wide load(const float* x) { return _mm256_loadu_ps(x); }
  static FLOE_INLINE Wide load_first(const float* x, uint32_t n) {
    return _mm256_maskload_ps(x, first(n));
  }
  static FLOE_INLINE void store(float* out, Wide values) { _mm256_storeu_ps(out, values); }
  static FLOE_INLINE void store_first(float* out, Wide values, uint32_t n) {
    if (n >= 8) {
      store(out, values);
    } else {
      _mm256_maskstore_ps(out, first(n), values);
    }
  }
  static FLOE_INLINE void store_first(float* out, Dots values, uint32_t n) {
    if (n >= 4) {
      _mm_storeu_ps(out, values);
    } else {
      _mm_maskstore_ps(out, _mm256_castsi256_si128(first(n)), values);
    }
  }
  static FLOE_INLINE Wide repeat(const float* x) { return load(x); }
  static FLOE_INLINE Wide repeat_first(const float* x, uint32_t n) { return load_first(x, n); }
  static FLOE_INLINE Wide replace_first(Wide before, Wide next, uint32_t n) {
    return _mm256_blendv_ps(before, next, _mm256_castsi256_ps(first(n)));
  }

  // Sums of neighbours within 128 bits: a01 b01 a23 b23. Blends, for few ports shuffle.
  static FLOE_INLINE Wide add_pairs(Wide a, Wide b) {
    return _mm256_add_ps(_mm256_blend_ps(a, b, 0xaa),
                         _mm256_permute_ps(_mm256_blend_ps(b, a, 0xaa), 0xb1));
  }
  static FLOE_INLINE Dots reduce_four(const Wide (&v)[4]) {
    const Wide a = add_pairs(v[0], v[1]);
    const Wide b = add_pairs(v[2], v[3]);
    const Wide sums = _mm256_add_ps(_mm256_blend_ps(a, b, 0xcc), _mm256_shuffle_ps(a, b, 0x4e));
    return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
  }
  static FLOE_INLINE Dots scaled(Dots dots, float scale) {
    return _mm_mul_ps(dots, _mm_set1_ps(scale));
  }
  static FLOE_INLINE Dots add_positive(Dots score, float weight, Dots dots) {
    // max returns its second operand for NaN.
    return _mm_fmadd_ps(_mm_set1_ps(weight), _mm_max_ps(dots, _mm_setzero_ps()), score);
  }

  struct Floats {
    static FLOE_INLINE Wide at(const std::byte* vector, uint32_t i) {
      return load(reinterpret_cast<const float*>(vector) + i);
    }
    static FLOE_INLINE Wide first_at(const std::byte* vector, uint32_t i, uint32_t n) {
      return load_first(reinterpret_cast<const float*>(vector) + i, n);
    }
  };

  struct Halves {
    static FLOE_INLINE Wide at(const std::byte* vector, uint32_t i) {
      return _mm256_cvtph_ps(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(vector + 2 * size_t{i})));
    }
    static FLOE_INLINE Wide first_at(const std::byte* vector, uint32_t i, uint32_t n) {
      alignas(16) std::byte part[16] = {};
      __builtin_memcpy(part, vector + 2 * size_t{i}, 2 * size_t{n});
      return at(part, 0);
    }
  };

  static FLOE_INLINE void load_q8(const std::byte* vector, uint32_t dim, float* out) {
    for (uint32_t i = 0; i < dim; i += 32, vector += kQ8CacheBlockBytes) {
      uint16_t half;
      __builtin_memcpy(&half, vector, 2);
      const Wide scale = splat(_cvtsh_ss(half));
      for (uint32_t k = 0; k < 32 && i + k < dim; k += 8) {
        const auto* bytes = reinterpret_cast<const __m128i*>(vector + 2 + k);
        const __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64(bytes));
        store_first(out + i + k, times(scale, _mm256_cvtepi32_ps(q)), dim - i - k);
      }
    }
  }
};

}  // namespace

void load_kv(const std::byte* const* vectors, KvType type, uint32_t n, uint32_t dim, float* tile,
             size_t tile_stride) {
  load_vectors<Eights>(vectors, type, n, dim, tile, tile_stride);
}

void attn_scores(const float* q, size_t q_stride, uint32_t n_heads, const std::byte* const* keys,
                 KvType type, uint32_t n, uint32_t dim, float scale, float* scores,
                 size_t score_stride) {
  if (type == KvType::F32) {
    score_heads<Eights, Eights::Floats>(q, q_stride, n_heads, keys, n, dim, scale, scores,
                                        score_stride);
  } else {
    score_heads<Eights, Eights::Halves>(q, q_stride, n_heads, keys, n, dim, scale, scores,
                                        score_stride);
  }
}

void attn_values(const float* weights, size_t weight_stride, const float* factors, uint32_t n_heads,
                 const std::byte* const* values, KvType type, uint32_t n, uint32_t dim, float* out,
                 size_t out_stride) {
  if (type == KvType::F32) {
    weigh_values<Eights, Eights::Floats>(weights, weight_stride, factors, n_heads, values, n, dim,
                                         out, out_stride);
  } else {
    weigh_values<Eights, Eights::Halves>(weights, weight_stride, factors, n_heads, values, n, dim,
                                         out, out_stride);
  }
}

void indexer_scores(const float* q, const float* head_weights, uint32_t n_heads,
                    const std::byte* const* keys, KvType type, uint32_t n, uint32_t dim,
                    float* scores) {
  if (type == KvType::F32) {
    score_positions<Eights, Eights::Floats>(q, head_weights, n_heads, keys, n, dim, scores);
  } else {
    score_positions<Eights, Eights::Halves>(q, head_weights, n_heads, keys, n, dim, scores);
  }
}

}  // namespace floe::avx2

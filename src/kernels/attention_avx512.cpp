// AVX-512 attention kernels. The loops are attention_loops.h's, the order numeric_order.h's.
#include <immintrin.h>

#include "kernels/attention_loops.h"
#include "kernels/avx512.h"
#include "kernels/numeric_order.h"

namespace floe::avx512 {

namespace {

struct Sixteens {
  static constexpr uint32_t kGroups = 2;
  static constexpr int kScoreHeads = 4;
  static constexpr int kValueHeads = 4;
  static constexpr int kValueVectors = 4;
  static constexpr int kSoloVectors = 8;
  using Wide = __m512;
  using Dots = __m256;

  static FLOE_INLINE __mmask16 first(uint32_t n) {
    return static_cast<__mmask16>(n >= 16 ? 0xffffu : (1u << n) - 1);
  }
  static FLOE_INLINE __mmask16 first_of_groups(uint32_t n) {
    return static_cast<__mmask16>(((1u << n) - 1) * 0x101u);
  }

  static FLOE_INLINE Wide zeros() { return _mm512_setzero_ps(); }
  static FLOE_INLINE Wide splat(float x) { return _mm512_set1_ps(x); }
  static FLOE_INLINE Wide times(Wide a, Wide b) { return _mm512_mul_ps(a, b); }
  static FLOE_INLINE Wide fma(Wide a, Wide b, Wide c) { return _mm512_fmadd_ps(a, b, c); }
  static FLOE_INLINE Wide load(const float* x) { return _mm512_loadu_ps(x); }
  static FLOE_INLINE Wide load_first(const float* x, uint32_t n) {
    return _mm512_maskz_loadu_ps(first(n), x);
  }
  static FLOE_INLINE void store(float* out, Wide values) { _mm512_storeu_ps(out, values); }
  static FLOE_INLINE void store_first(float* out, Wide values, uint32_t n) {
    _mm512_mask_storeu_ps(out, first(n), values);
  }
  static FLOE_INLINE void store_first(float* out, Dots values, uint32_t n) {
    if (n >= 8) {
      _mm256_storeu_ps(out, values);
      return;
    }
    _mm256_mask_storeu_ps(out, static_cast<__mmask8>(first(n)), values);
  }
  static FLOE_INLINE Wide pair(__m256 low, __m256 high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
  }
  static FLOE_INLINE Wide repeat(const float* x) {
    return _mm512_broadcast_f32x8(_mm256_loadu_ps(x));
  }
  static FLOE_INLINE Wide repeat_first(const float* x, uint32_t n) {
    return _mm512_broadcast_f32x8(_mm256_maskz_loadu_ps(static_cast<__mmask8>(first(n)), x));
  }
  static FLOE_INLINE Wide replace_first(Wide before, Wide next, uint32_t n) {
    return _mm512_mask_mov_ps(before, first_of_groups(n), next);
  }

  // Sums of neighbours within 128 bits: a01 b01 a23 b23. Blends, for there are few ports for
  // shuffles.
  static FLOE_INLINE Wide add_pairs(Wide a, Wide b) {
    const Wide others = _mm512_mask_blend_ps(0xaaaa, b, a);
    return _mm512_add_ps(_mm512_mask_blend_ps(0xaaaa, a, b), _mm512_permute_ps(others, 0xb1));
  }
  static FLOE_INLINE Dots reduce_four(const Wide (&v)[4]) {
    const Wide a = add_pairs(v[0], v[1]);
    const Wide b = add_pairs(v[2], v[3]);
    const Wide sums =
        _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, a, b), _mm512_shuffle_ps(a, b, 0x4e));
    return _mm256_add_ps(_mm512_castps512_ps256(_mm512_shuffle_f32x4(sums, sums, 0x88)),
                         _mm512_castps512_ps256(_mm512_shuffle_f32x4(sums, sums, 0xdd)));
  }
  static FLOE_INLINE Dots scaled(Dots dots, float scale) {
    return _mm256_mul_ps(dots, _mm256_set1_ps(scale));
  }
  static FLOE_INLINE Dots add_positive(Dots score, float weight, Dots dots) {
    // max returns its second operand for NaN.
    return _mm256_fmadd_ps(_mm256_set1_ps(weight), _mm256_max_ps(dots, _mm256_setzero_ps()), score);
  }

  struct Floats {
    static FLOE_INLINE const float* at_float(const std::byte* vector, uint32_t i) {
      return reinterpret_cast<const float*>(vector) + i;
    }
    static FLOE_INLINE Wide at(const std::byte* vector, uint32_t i) {
      return load(at_float(vector, i));
    }
    static FLOE_INLINE Wide first_at(const std::byte* vector, uint32_t i, uint32_t n) {
      return load_first(at_float(vector, i), n);
    }
    static FLOE_INLINE Wide groups_at(const std::byte* const* vectors, uint32_t i) {
      return pair(_mm256_loadu_ps(at_float(vectors[0], i)),
                  _mm256_loadu_ps(at_float(vectors[4], i)));
    }
    static FLOE_INLINE Wide groups_first_at(const std::byte* const* vectors, uint32_t i,
                                            uint32_t n) {
      const auto mask = static_cast<__mmask8>(first(n));
      return pair(_mm256_maskz_loadu_ps(mask, at_float(vectors[0], i)),
                  _mm256_maskz_loadu_ps(mask, at_float(vectors[4], i)));
    }
  };
};

}  // namespace

// Sixteen lanes convert F16 no faster than eight, and touch more of the cache at a time: cached F16
// that is read as it is, by few queries, is left to AVX2.

void attn_scores(const float* q, size_t q_stride, uint32_t n_heads, const std::byte* const* keys,
                 KvType type, uint32_t n, uint32_t dim, float scale, float* scores,
                 size_t score_stride) {
  if (type != KvType::F32) {
    return avx2::attn_scores(q, q_stride, n_heads, keys, type, n, dim, scale, scores, score_stride);
  }
  score_heads<Sixteens, Sixteens::Floats>(q, q_stride, n_heads, keys, n, dim, scale, scores,
                                          score_stride);
}

void attn_values(const float* weights, size_t weight_stride, const float* factors, uint32_t n_heads,
                 const std::byte* const* values, KvType type, uint32_t n, uint32_t dim, float* out,
                 size_t out_stride) {
  if (type != KvType::F32) {
    return avx2::attn_values(weights, weight_stride, factors, n_heads, values, type, n, dim, out,
                             out_stride);
  }
  weigh_values<Sixteens, Sixteens::Floats>(weights, weight_stride, factors, n_heads, values, n, dim,
                                           out, out_stride);
}

void indexer_scores(const float* q, const float* head_weights, uint32_t n_heads,
                    const std::byte* const* keys, KvType type, uint32_t n, uint32_t dim,
                    float* scores) {
  if (type != KvType::F32) {
    return avx2::indexer_scores(q, head_weights, n_heads, keys, type, n, dim, scores);
  }
  score_positions<Sixteens, Sixteens::Floats>(q, head_weights, n_heads, keys, n, dim, scores);
}

}  // namespace floe::avx512

// NEON attention kernels. The order is numeric_order.h; the softmax is beside the exponential in
// elementwise_neon.cpp.
#include "kernels/neon.h"
#include "kernels/neon_lanes.h"
#include "kernels/numeric_order.h"

namespace floe::neon_dotprod {

namespace {

constexpr uint32_t kScoreHeads = 2;  // heads of one pass over four vectors
constexpr uint32_t kValueHeads = 4;
// Vectors that all heads pass over before the next ones: wide ones stay in the first-level cache.
constexpr uint32_t kNearVectors = 8;

// Cached vectors as the arithmetic reads them: eight values, or the last n < 8 and zeros.
struct Floats {
  static FLOE_INLINE Lanes at(const std::byte* vector, uint32_t i) {
    return load(reinterpret_cast<const float*>(vector) + i);
  }
  static FLOE_INLINE Lanes part_at(const std::byte* vector, uint32_t i, uint32_t n) {
    return load_part(reinterpret_cast<const float*>(vector) + i, n);
  }
};
struct Halves {
  static FLOE_INLINE Lanes at(const std::byte* vector, uint32_t i) {
    return load_halves(vector + 2 * size_t{i});
  }
  static FLOE_INLINE Lanes part_at(const std::byte* vector, uint32_t i, uint32_t n) {
    alignas(16) std::byte part[16] = {};
    __builtin_memcpy(part, vector + 2 * size_t{i}, 2 * size_t{n});
    return load_halves(part);
  }
};

// `next` in the first n lanes, `before` in the others.
FLOE_INLINE Lanes replace_first(const Lanes& before, const Lanes& next, uint32_t n) {
  const uint32x4_t index = {0, 1, 2, 3};
  const uint32x4_t count = vdupq_n_u32(n);
  return {vbslq_f32(vcgtq_u32(count, index), next.low, before.low),
          vbslq_f32(vcgtq_u32(count, vaddq_u32(index, vdupq_n_u32(4))), next.high, before.high)};
}

FLOE_INLINE void store_four(float* out, float32x4_t values, uint32_t n) {
  if (n >= 4) {
    vst1q_f32(out, values);
    return;
  }
  float lane[4];
  vst1q_f32(lane, values);
  for (uint32_t l = 0; l < n; ++l) out[l] = lane[l];
}

// The sums of four vectors' lanes, each as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).
FLOE_INLINE float32x4_t reduce_four(const Lanes (&v)[4]) {
  const float32x4_t first =
      vpaddq_f32(vpaddq_f32(v[0].low, v[0].high), vpaddq_f32(v[1].low, v[1].high));
  const float32x4_t second =
      vpaddq_f32(vpaddq_f32(v[2].low, v[2].high), vpaddq_f32(v[3].low, v[3].high));
  return vpaddq_f32(first, second);
}

// The products of kHeads query vectors and four cached ones; every loaded vector is used kHeads or
// four times.
template <typename Element, int kHeads>
FLOE_INLINE void dot_heads(const float* q, size_t q_stride, const std::byte* const (&vectors)[4],
                           uint32_t dim, float32x4_t (&dots)[kHeads]) {
  Lanes sum[kHeads][4];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) sum[h][t] = splat(0);
  }
  uint32_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    Lanes query[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) query[h] = load(q + h * q_stride + i);
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      const Lanes value = Element::at(vectors[t], i);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) sum[h][t] = fma(query[h], value, sum[h][t]);
    }
  }
  if (i < dim) {
    // Lanes past the end keep their sum untouched: even adding 0 could turn -0 into 0.
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const Lanes query = load_part(q + h * q_stride + i, dim - i);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) {
        const Lanes value = Element::part_at(vectors[t], i, dim - i);
        sum[h][t] = replace_first(sum[h][t], fma(query, value, sum[h][t]), dim - i);
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
    const auto pass = [&]<int kHeads>(uint32_t h) {
      for (uint32_t t = near; t < end; t += 4) {
        // The first vector stands in for those past the end.
        const uint32_t n_vectors = end - t < 4 ? end - t : 4;
        const std::byte* const four[4] = {vectors[t], vectors[n_vectors > 1 ? t + 1 : t],
                                          vectors[n_vectors > 2 ? t + 2 : t],
                                          vectors[n_vectors > 3 ? t + 3 : t]};
        float32x4_t dots[kHeads];
        dot_heads<Element, kHeads>(q + h * q_stride, q_stride, four, dim, dots);
#pragma GCC unroll 4
        for (uint32_t k = 0; k < kHeads; ++k) visit(h + k, t, n_vectors, dots[k]);
      }
    };
    uint32_t h = 0;
    for (; h + kScoreHeads <= n_heads; h += kScoreHeads) pass.template operator()<kScoreHeads>(h);
    if (h < n_heads) pass.template operator()<1>(h);
  }
}

// out[kHeads][8 * kVectors columns from i] = factors * out + weights * values, t ascending.
template <typename Element, int kHeads, int kVectors>
FLOE_INLINE void accumulate(const float* weights, size_t weight_stride, const float* factors,
                            const std::byte* const* values, uint32_t n, uint32_t i, float* out,
                            size_t out_stride) {
  Lanes sum[kHeads][kVectors];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[h][v] = splat(factors[h]) * load(out + h * out_stride + i + 8 * v);
    }
  }
  for (uint32_t t = 0; t < n; ++t) {
    Lanes value[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) value[v] = Element::at(values[t], i + 8 * v);
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      const Lanes weight = splat(weights[h * weight_stride + t]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[h][v] = fma(weight, value[v], sum[h][v]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(out + h * out_stride + i + 8 * v, sum[h][v]);
  }
}

// The same for the last n_columns < 8 columns of one head.
template <typename Element>
FLOE_INLINE void accumulate_part(const float* weights, float factor, const std::byte* const* values,
                                 uint32_t n, uint32_t i, uint32_t n_columns, float* out) {
  Lanes sum = splat(factor) * load_part(out + i, n_columns);
  for (uint32_t t = 0; t < n; ++t) {
    sum = fma(splat(weights[t]), Element::part_at(values[t], i, n_columns), sum);
  }
  store_first(out + i, sum, n_columns);
}

template <typename Element>
FLOE_INLINE void accumulate_all(const float* weights, size_t weight_stride, const float* factors,
                                uint32_t n_heads, const std::byte* const* values, uint32_t n,
                                uint32_t dim, float* out, size_t out_stride) {
  // Columns outside, heads inside: the few columns of all vectors stay in the first-level cache.
  const auto columns = [&]<int kVectors>(uint32_t i) {
    const auto pass = [&]<int kHeads>(uint32_t h) {
      accumulate<Element, kHeads, kVectors>(weights + h * weight_stride, weight_stride, factors + h,
                                            values, n, i, out + h * out_stride, out_stride);
    };
    for (uint32_t h = 0; h < n_heads;) {
      // Passes of equal size.
      const uint32_t left = n_heads - h;
      const uint32_t n_passes = (left + kValueHeads - 1) / kValueHeads;
      const uint32_t heads = (left + n_passes - 1) / n_passes;
      switch (heads) {
        case 1:
          pass.template operator()<1>(h);
          break;
        case 2:
          pass.template operator()<2>(h);
          break;
        case 3:
          pass.template operator()<3>(h);
          break;
        default:
          pass.template operator()<4>(h);
          break;
      }
      h += heads;
    }
  };
  uint32_t i = 0;
  // Eight sums hide the latency of an addition; one head needs more columns of its own for that.
  if (n_heads == 1) {
    for (; i + 32 <= dim; i += 32) columns.template operator()<4>(i);
  }
  for (; i + 16 <= dim; i += 16) columns.template operator()<2>(i);
  for (; i + 8 <= dim; i += 8) columns.template operator()<1>(i);
  if (i == dim) return;
  for (uint32_t h = 0; h < n_heads; ++h) {
    accumulate_part<Element>(weights + h * weight_stride, factors[h], values, n, i, dim - i,
                             out + h * out_stride);
  }
}

template <typename Element>
FLOE_INLINE void score_positions(const float* q, const float* head_weights, uint32_t n_heads,
                                 const std::byte* const* keys, uint32_t n, uint32_t dim,
                                 float* scores) {
  for (uint32_t t = 0; t < n; t += 4) {
    const uint32_t n_vectors = n - t < 4 ? n - t : 4;
    float32x4_t score = vdupq_n_f32(0);
    each_product<Element>(
        q, dim, n_heads, keys + t, n_vectors, dim,
        [&](uint32_t h, uint32_t, uint32_t, float32x4_t dots) {
          // NaN is not above 0 and becomes 0.
          const uint32x4_t positive = vandq_u32(vreinterpretq_u32_f32(dots), vcgtzq_f32(dots));
          score = vfmaq_n_f32(score, vreinterpretq_f32_u32(positive), head_weights[h]);
        });
    store_four(scores + t, score, n_vectors);
  }
}

FLOE_INLINE void widen_halves(const std::byte* vector, uint32_t dim, float* out) {
  uint32_t i = 0;
  for (; i + 8 <= dim; i += 8) store(out + i, Halves::at(vector, i));
  if (i < dim) store_first(out + i, Halves::part_at(vector, i, dim - i), dim - i);
}

FLOE_INLINE void widen_q8(const std::byte* vector, uint32_t dim, float* out) {
  for (uint32_t i = 0; i < dim; i += 32, vector += kQ8CacheBlockBytes) {
    uint16_t half;
    __builtin_memcpy(&half, vector, 2);
    const float32x4_t scale = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half)));
    for (uint32_t k = 0; k < 32 && i + k < dim; k += 8) {
      const int16x8_t q = vmovl_s8(vld1_s8(reinterpret_cast<const int8_t*>(vector) + 2 + k));
      const Lanes values = {vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))),
                            vcvtq_f32_s32(vmovl_high_s16(q))};
      store_first(out + i + k, Lanes{scale, scale} * values, dim - i - k);
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
        widen_halves(vectors[t], dim, tile);
        break;
      case KvType::Q8_0:
        widen_q8(vectors[t], dim, tile);
        break;
    }
  }
}

void attn_scores(const float* q, size_t q_stride, uint32_t n_heads, const std::byte* const* keys,
                 KvType type, uint32_t n, uint32_t dim, float scale, float* scores,
                 size_t score_stride) {
  const auto visit = [&](uint32_t h, uint32_t t, uint32_t n_vectors, float32x4_t dots) {
    store_four(scores + h * score_stride + t, vmulq_n_f32(dots, scale), n_vectors);
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

}  // namespace floe::neon_dotprod

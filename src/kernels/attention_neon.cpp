// NEON attention kernels. The order is numeric_order.h.
//
// Cached vectors are taken eight slots at a time. When many heads share them (the latent of MLA)
// the eight are converted to f32 once, on the stack, where they stay in the first-level cache while
// all heads pass by.
#include "kernels/neon.h"
#include "kernels/neon_lanes.h"

namespace floe::neon_dotprod {

namespace {

constexpr uint32_t kTileSlots = 8;
constexpr uint32_t kScoreHeads = 2;  // heads of one pass over a tile
constexpr uint32_t kValueHeads = 4;
constexpr uint32_t kTileDim = 1024;  // wider vectors are converted where they are used

struct Floats {
  static constexpr size_t kBytes = 4;
  static FLOE_INLINE Lanes at(const std::byte* vector, uint32_t i) {
    return load(reinterpret_cast<const float*>(vector) + i);
  }
};
struct Halves {
  static constexpr size_t kBytes = 2;
  static FLOE_INLINE Lanes at(const std::byte* vector, uint32_t i) {
    return load_halves(vector + 2 * size_t{i});
  }
};

// Elements [i, i + n) of a vector, n < 8, zeros behind them.
template <typename Element>
FLOE_INLINE Lanes part_at(const std::byte* vector, uint32_t i, uint32_t n) {
  alignas(16) std::byte lane[32] = {};
  __builtin_memcpy(lane, vector + Element::kBytes * i, Element::kBytes * n);
  return Element::at(lane, 0);
}

// `next` in the first n lanes, `before` in the others.
FLOE_INLINE Lanes replace_first(const Lanes& before, const Lanes& next, uint32_t n) {
  const uint32x4_t index = {0, 1, 2, 3};
  const uint32x4_t count = vdupq_n_u32(n);
  return {vbslq_f32(vcgtq_u32(count, index), next.low, before.low),
          vbslq_f32(vcgtq_u32(count, vaddq_u32(index, vdupq_n_u32(4))), next.high, before.high)};
}

FLOE_INLINE void store_first(float* out, float32x4_t values, uint32_t n) {
  if (n >= 4) {
    vst1q_f32(out, values);
    return;
  }
  float lane[4];
  vst1q_f32(lane, values);
  for (uint32_t l = 0; l < n; ++l) out[l] = lane[l];
}

// The sums of four vectors' lanes, each as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).
FLOE_INLINE float32x4_t reduce_four(const Lanes* v) {
  const float32x4_t first =
      vpaddq_f32(vpaddq_f32(v[0].low, v[0].high), vpaddq_f32(v[1].low, v[1].high));
  const float32x4_t second =
      vpaddq_f32(vpaddq_f32(v[2].low, v[2].high), vpaddq_f32(v[3].low, v[3].high));
  return vpaddq_f32(first, second);
}

// q . vector of eight slots.
template <typename Element>
FLOE_INLINE Lanes dot_eight(const float* q, const std::byte* const (&vectors)[kTileSlots],
                            uint32_t dim) {
  Lanes sum[8];
#pragma GCC unroll 8
  for (int t = 0; t < 8; ++t) sum[t] = splat(0);
  uint32_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    const Lanes query = load(q + i);
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) {
      sum[t] = fma(query, Element::at(vectors[t], i), sum[t]);
    }
  }
  if (i < dim) {
    // Lanes past the end keep their sum untouched: even adding 0 could turn -0 into 0.
    const Lanes query = part_at<Floats>(reinterpret_cast<const std::byte*>(q), i, dim - i);
    for (int t = 0; t < 8; ++t) {
      const Lanes next = fma(query, part_at<Element>(vectors[t], i, dim - i), sum[t]);
      sum[t] = replace_first(sum[t], next, dim - i);
    }
  }
  return {reduce_four(sum), reduce_four(sum + 4)};
}

// The products of kHeads query vectors and four slots: 12 sums keep both multipliers busy, and
// every loaded vector is used kHeads or four times.
template <typename Element, int kHeads>
FLOE_INLINE void dot_heads(const float* q, size_t q_stride, const std::byte* const* vectors,
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
      const auto* head = reinterpret_cast<const std::byte*>(q + h * q_stride);
      const Lanes query = part_at<Floats>(head, i, dim - i);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) {
        const Lanes value = part_at<Element>(vectors[t], i, dim - i);
        sum[h][t] = replace_first(sum[h][t], fma(query, value, sum[h][t]), dim - i);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) dots[h] = reduce_four(sum[h]);
}

// visit(head, first slot within the tile, four products), heads ascending for every four slots.
template <typename Element, typename Visit>
FLOE_INLINE void each_product(const float* q, size_t q_stride, uint32_t n_heads,
                              const std::byte* const (&vectors)[kTileSlots], uint32_t n,
                              uint32_t dim, const Visit& visit) {
  for (uint32_t t = 0; t < n; t += 4) {
    uint32_t h = 0;
    while (h < n_heads) {
      // Passes of equal size.
      const uint32_t left = n_heads - h;
      const uint32_t n_passes = (left + kScoreHeads - 1) / kScoreHeads;
      const uint32_t heads = (left + n_passes - 1) / n_passes;
      const float* query = q + h * q_stride;
      if (heads == 2) {
        float32x4_t dots[2];
        dot_heads<Element, 2>(query, q_stride, vectors + t, dim, dots);
        visit(h, t, dots[0]);
        visit(h + 1, t, dots[1]);
      } else {
        float32x4_t dots[1];
        dot_heads<Element, 1>(query, q_stride, vectors + t, dim, dots);
        visit(h, t, dots[0]);
      }
      h += heads;
    }
  }
}

// Pointers to eight slots from t on; the last slot stands in for those past the end.
FLOE_INLINE void tile_vectors(const KvPlane& plane, const uint32_t* slots, uint32_t t,
                              uint32_t n_slots, const std::byte* (&vectors)[kTileSlots]) {
  for (uint32_t k = 0; k < kTileSlots; ++k) {
    const uint32_t index = t + k < n_slots ? t + k : n_slots - 1;
    vectors[k] = plane.base + size_t{slots[index]} * plane.stride_bytes;
  }
}

// Converts n vectors to f32 and points at them.
FLOE_INLINE void widen_tile(const std::byte* (&vectors)[kTileSlots], uint32_t n, uint32_t dim,
                            float (&tile)[kTileSlots * kTileDim]) {
  for (uint32_t k = 0; k < kTileSlots; ++k) {
    float* out = tile + k * dim;
    if (k < n) {
      uint32_t i = 0;
      for (; i + 8 <= dim; i += 8) store(out + i, Halves::at(vectors[k], i));
      if (i < dim) store_first(out + i, part_at<Halves>(vectors[k], i, dim - i), dim - i);
      vectors[k] = reinterpret_cast<const std::byte*>(out);
    } else {
      vectors[k] = vectors[n - 1];
    }
  }
}

// n_passes: how often a tile is read. visit(load type, vectors of the tile, first slot, number of
// slots), tile after tile.
template <typename Visit>
FLOE_INLINE void each_tile(const KvPlane& plane, const uint32_t* slots, uint32_t n_slots,
                           uint32_t n_passes, uint32_t dim, const Visit& visit) {
  alignas(32) float tile[kTileSlots * kTileDim];
  // Converting in each of two passes costs no more than converting, storing and loading.
  const bool widen = plane.type == KvType::F16 && n_passes > 2 && dim <= kTileDim;
  for (uint32_t t = 0; t < n_slots; t += kTileSlots) {
    const uint32_t n = n_slots - t < kTileSlots ? n_slots - t : kTileSlots;
    const std::byte* vectors[kTileSlots];
    tile_vectors(plane, slots, t, n_slots, vectors);
    if (widen) widen_tile(vectors, n, dim, tile);
    if (widen || plane.type == KvType::F32) {
      visit(Floats{}, vectors, t, n);
    } else {
      visit(Halves{}, vectors, t, n);
    }
  }
}

// out[kHeads][8 * kVectors elements from i] += weights * vectors of n slots, slots ascending.
template <typename Element, int kHeads, int kVectors>
FLOE_INLINE void accumulate(const float* weights, size_t weight_stride,
                            const std::byte* const (&vectors)[kTileSlots], uint32_t n, bool first,
                            uint32_t i, float* out, size_t out_stride) {
  Lanes sum[kHeads][kVectors];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[h][v] = first ? splat(0) : load(out + h * out_stride + i + 8 * v);
    }
  }
  for (uint32_t t = 0; t < n; ++t) {
    Lanes value[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) value[v] = Element::at(vectors[t], i + 8 * v);
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
    for (int v = 0; v < kVectors; ++v) {
      store(out + h * out_stride + i + 8 * v, sum[h][v]);
    }
  }
}

template <typename Element, int kHeads, int kVectors>
FLOE_INLINE void accumulate_heads(const float* weights, size_t weight_stride,
                                  const std::byte* const (&vectors)[kTileSlots], uint32_t n,
                                  bool first, uint32_t dim, float* out, size_t out_stride) {
  uint32_t i = 0;
  for (; i + 8 * kVectors <= dim; i += 8 * kVectors) {
    accumulate<Element, kHeads, kVectors>(weights, weight_stride, vectors, n, first, i, out,
                                          out_stride);
  }
  for (; i + 8 <= dim; i += 8) {
    accumulate<Element, kHeads, 1>(weights, weight_stride, vectors, n, first, i, out, out_stride);
  }
  if (i == dim) return;
  for (int h = 0; h < kHeads; ++h) {
    float* rest = out + h * out_stride + i;
    Lanes sum =
        first ? splat(0) : part_at<Floats>(reinterpret_cast<const std::byte*>(rest), 0, dim - i);
    for (uint32_t t = 0; t < n; ++t) {
      sum =
          fma(splat(weights[h * weight_stride + t]), part_at<Element>(vectors[t], i, dim - i), sum);
    }
    store_first(rest, sum, dim - i);
  }
}

}  // namespace

void attn_scores(const float* q, size_t q_stride, uint32_t n_heads, const KvPlane& keys,
                 const uint32_t* slots, uint32_t n_slots, uint32_t dim, float scale, float* scores,
                 size_t score_stride) {
  each_tile(
      keys, slots, n_slots, n_heads / kScoreHeads, dim,
      [&](auto element, const std::byte* const(&vectors)[kTileSlots], uint32_t t, uint32_t n) {
        if (n_heads == 1) {
          const Lanes dots = dot_eight<decltype(element)>(q, vectors, dim);
          store_first(scores + t, splat(scale) * dots, n);
          return;
        }

        each_product<decltype(element)>(
            q, q_stride, n_heads, vectors, n, dim, [&](uint32_t h, uint32_t k, float32x4_t dots) {
              store_first(scores + h * score_stride + t + k, vmulq_n_f32(dots, scale), n - k);
            });
      });
}

void attn_values(const float* weights, size_t weight_stride, uint32_t n_heads,
                 const KvPlane& values, const uint32_t* slots, uint32_t n_slots, uint32_t dim,
                 float* out, size_t out_stride) {
  if (n_slots == 0) {
    for (uint32_t h = 0; h < n_heads; ++h) {
      for (uint32_t i = 0; i < dim; ++i) out[h * out_stride + i] = 0;
    }
    return;
  }
  each_tile(
      values, slots, n_slots, n_heads / kValueHeads, dim,
      [&](auto element, const std::byte* const(&vectors)[kTileSlots], uint32_t t, uint32_t n) {
        const bool first = t == 0;
        const float* w = weights + t;
        float* o = out;
        uint32_t left = n_heads;
        while (left != 0) {
          // Passes of equal size.
          const uint32_t n_passes = (left + kValueHeads - 1) / kValueHeads;
          const uint32_t heads = (left + n_passes - 1) / n_passes;
          const auto pass = [&]<int kHeads, int kVectors>() {
            accumulate_heads<decltype(element), kHeads, kVectors>(w, weight_stride, vectors, n,
                                                                  first, dim, o, out_stride);
          };
          // Eight sums hide the latency of an addition.
          switch (heads) {
            case 1:
              pass.template operator()<1, 8>();
              break;
            case 2:
              pass.template operator()<2, 4>();
              break;
            case 3:
              pass.template operator()<3, 2>();
              break;
            default:
              pass.template operator()<4, 2>();
              break;
          }
          w += heads * weight_stride;
          o += heads * out_stride;
          left -= heads;
        }
      });
}

void indexer_scores(const float* q, const float* head_weights, uint32_t n_heads,
                    const KvPlane& keys, const uint32_t* slots, uint32_t n_slots, uint32_t dim,
                    float* scores) {
  each_tile(
      keys, slots, n_slots, n_heads / kScoreHeads, dim,
      [&](auto element, const std::byte* const(&vectors)[kTileSlots], uint32_t t, uint32_t n) {
        float32x4_t score[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
        each_product<decltype(element)>(
            q, dim, n_heads, vectors, n, dim, [&](uint32_t h, uint32_t k, float32x4_t dots) {
              // NaN is not above 0 and becomes 0.
              const uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(dots), vcgtzq_f32(dots));
              score[k / 4] =
                  vfmaq_n_f32(score[k / 4], vreinterpretq_f32_u32(bits), head_weights[h]);
            });
        store_first(scores + t, Lanes{score[0], score[1]}, n);
      });
}

}  // namespace floe::neon_dotprod

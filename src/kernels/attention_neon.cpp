// NEON attention kernels. The loops are attention_loops.h's, the order numeric_order.h's; the
// softmax is beside the exponential in elementwise_neon.cpp.
#include "kernels/attention_loops.h"
#include "kernels/neon.h"
#include "kernels/neon_lanes.h"
#include "kernels/numeric_order.h"

namespace floe::neon_dotprod {

namespace {

struct Eights {
  static constexpr uint32_t kGroups = 1;
  static constexpr int kScoreHeads = 2;
  static constexpr int kValueHeads = 4;
  static constexpr int kValueVectors = 2;
  static constexpr int kSoloVectors = 4;
  using Wide = Lanes;
  using Dots = float32x4_t;

  static FLOE_INLINE Wide zeros() { return floe::splat(0); }
  static FLOE_INLINE Wide splat(float x) { return floe::splat(x); }
  static FLOE_INLINE Wide times(const Wide& a, const Wide& b) { return a * b; }
  static FLOE_INLINE Wide fma(const Wide& a, const Wide& b, const Wide& c) {
    return floe::fma(a, b, c);
  }
  static FLOE_INLINE Wide load(const float* x) { return floe::load(x); }
  static FLOE_INLINE Wide load_first(const float* x, uint32_t n) { return load_part(x, n); }
  static FLOE_INLINE void store(float* out, const Wide& values) { floe::store(out, values); }
  static FLOE_INLINE void store_first(float* out, const Wide& values, uint32_t n) {
    floe::store_first(out, values, n);
  }
  static FLOE_INLINE void store_first(float* out, Dots values, uint32_t n) {
    if (n >= 4) {
      vst1q_f32(out, values);
      return;
    }
    float lane[4];
    vst1q_f32(lane, values);
    for (uint32_t l = 0; l < n; ++l) out[l] = lane[l];
  }
  static FLOE_INLINE Wide repeat(const float* x) { return load(x); }
  static FLOE_INLINE Wide repeat_first(const float* x, uint32_t n) { return load_part(x, n); }
  static FLOE_INLINE Wide replace_first(const Wide& before, const Wide& next, uint32_t n) {
    const uint32x4_t index = {0, 1, 2, 3};
    const uint32x4_t count = vdupq_n_u32(n);
    return {vbslq_f32(vcgtq_u32(count, index), next.low, before.low),
            vbslq_f32(vcgtq_u32(count, vaddq_u32(index, vdupq_n_u32(4))), next.high, before.high)};
  }

  static FLOE_INLINE Dots reduce_four(const Wide (&v)[4]) {
    const float32x4_t first =
        vpaddq_f32(vpaddq_f32(v[0].low, v[0].high), vpaddq_f32(v[1].low, v[1].high));
    const float32x4_t second =
        vpaddq_f32(vpaddq_f32(v[2].low, v[2].high), vpaddq_f32(v[3].low, v[3].high));
    return vpaddq_f32(first, second);
  }
  static FLOE_INLINE Dots scaled(Dots dots, float scale) { return vmulq_n_f32(dots, scale); }
  static FLOE_INLINE Dots add_positive(Dots score, float weight, Dots dots) {
    // NaN is not above 0 and becomes 0.
    const uint32x4_t positive = vandq_u32(vreinterpretq_u32_f32(dots), vcgtzq_f32(dots));
    return vfmaq_n_f32(score, vreinterpretq_f32_u32(positive), weight);
  }

  struct Floats {
    static FLOE_INLINE Wide at(const std::byte* vector, uint32_t i) {
      return load(reinterpret_cast<const float*>(vector) + i);
    }
    static FLOE_INLINE Wide first_at(const std::byte* vector, uint32_t i, uint32_t n) {
      return load_part(reinterpret_cast<const float*>(vector) + i, n);
    }
  };

  struct Halves {
    static FLOE_INLINE Wide at(const std::byte* vector, uint32_t i) {
      return floe::load_halves(vector + 2 * size_t{i});
    }
    static FLOE_INLINE Wide first_at(const std::byte* vector, uint32_t i, uint32_t n) {
      alignas(16) std::byte part[16] = {};
      __builtin_memcpy(part, vector + 2 * size_t{i}, 2 * size_t{n});
      return floe::load_halves(part);
    }
  };

  static FLOE_INLINE void load_q8(const std::byte* vector, uint32_t dim, float* out) {
    for (uint32_t i = 0; i < dim; i += 32, vector += kQ8CacheBlockBytes) {
      uint16_t half;
      __builtin_memcpy(&half, vector, 2);
      const float32x4_t scale = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half)));
      for (uint32_t k = 0; k < 32 && i + k < dim; k += 8) {
        const int16x8_t q = vmovl_s8(vld1_s8(reinterpret_cast<const int8_t*>(vector) + 2 + k));
        const Wide values = {vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))),
                             vcvtq_f32_s32(vmovl_high_s16(q))};
        store_first(out + i + k, Wide{scale, scale} * values, dim - i - k);
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

}  // namespace floe::neon_dotprod

#pragma once
// Inside the kernels room: how NEON unpacks a word of packed_layout.h, 4 columns of 4 rows in a
// register. A signed byte holds the integer of every format; where the stored quant has an offset,
// it stays in: matmul_neon.h takes it out of the sums.
//
// Everything has internal linkage and is inlined: see neon.h.
#include "kernels/neon_lanes.h"
#include "kernels/packed_layout.h"

namespace floe {
namespace {

// Every byte shifted so that its bit kFrom becomes bit kTo.
template <int kFrom, int kTo>
FLOE_INLINE uint8x16_t shift_bits(uint8x16_t bytes) {
  if constexpr (kFrom > kTo) return vshrq_n_u8(bytes, kFrom - kTo);
  if constexpr (kFrom < kTo) return vshlq_n_u8(bytes, kTo - kFrom);
  return bytes;
}

// Bits [kFrom, kFrom + kCount) of every byte, moved to 0.
template <int kFrom, int kCount>
FLOE_INLINE uint8x16_t field(uint8x16_t bytes) {
  const uint8x16_t shifted = shift_bits<kFrom, 0>(bytes);
  if constexpr (kFrom + kCount == 8) return shifted;
  return vandq_u8(shifted, vdupq_n_u8((1 << kCount) - 1));
}

// `low` with bits [kFrom, kFrom + kCount) of `bytes` at kTo, where it has zeros.
template <int kFrom, int kCount, int kTo>
FLOE_INLINE uint8x16_t with_field(uint8x16_t low, uint8x16_t bytes) {
  return vbslq_u8(vdupq_n_u8(((1 << kCount) - 1) << kTo), shift_bits<kFrom, kTo>(bytes), low);
}

// The stored quants of word kWord, offset not removed. The planes of rows 4..7 start 16 bytes after
// those of rows 0..3.
template <QuantPlanes planes, int kWord>
FLOE_INLINE uint8x16_t stored_word(const uint8_t* plane) {
  constexpr int kIn4 = kWord % 4;
  constexpr int kOf4 = kWord / 4;
  if constexpr (planes == QuantPlanes::byte) {
    return vld1q_u8(plane + 32 * kWord);
  } else if constexpr (planes == QuantPlanes::pair) {
    return field<2 * kIn4, 2>(vld1q_u8(plane + 32 * kOf4));
  } else if constexpr (planes == QuantPlanes::pair_bit) {
    const uint8x16_t pairs = field<2 * kIn4, 2>(vld1q_u8(plane + 32 * kOf4));
    return with_field<kWord, 1, 2>(pairs, vld1q_u8(plane + 64));
  } else {
    const uint8x16_t nibbles = field<4 * kOf4, 4>(vld1q_u8(plane + 32 * kIn4));
    if constexpr (planes == QuantPlanes::nibble) return nibbles;
    const uint8_t* upper = plane + 128;
    if constexpr (planes == QuantPlanes::nibble_bit) {
      return with_field<kWord, 1, 4>(nibbles, vld1q_u8(upper));
    } else {
      return with_field<2 * kIn4, 2, 4>(nibbles, vld1q_u8(upper + 32 * kOf4));
    }
  }
}

// The sub-block scales of a step.
struct SubScales {
  int32x4_t scale[2][2];  // [columns 0..15, 16..31][rows 0..3, 4..7]
  int16x8_t minimum[2];   // [columns 0..15, 16..31]; the first alone where there is one
};

FLOE_INLINE void widen_scales(int16x8_t scales, int32x4_t (&out)[2]) {
  out[0] = vmovl_s16(vget_low_s16(scales));
  out[1] = vmovl_high_s16(scales);
}

template <QuantType type>
struct Format {
  static constexpr PackedLayout layout = kPacked<type>;

  template <int kWord>
  static FLOE_INLINE int8x16_t word(const uint8_t* plane) {
    const uint8x16_t stored = stored_word<layout.planes, kWord>(plane);
    if constexpr (type == QuantType::IQ4_NL || type == QuantType::IQ4_XS) {
      const int8x16_t values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};
      return vqtbl1q_s8(values, stored);
    } else if constexpr (type == QuantType::MXFP4) {
      const int8x16_t doubled = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
      return vqtbl1q_s8(doubled, stored);
    } else {
      return vreinterpretq_s8_u8(stored);
    }
  }

  // Unused members stay unset: the layout says which there are.
  static FLOE_INLINE SubScales sub_scales(const uint8_t* step) {
    SubScales sub;
    if constexpr (type == QuantType::Q4_K || type == QuantType::Q5_K) {
      const uint8x16_t bytes = vld1q_u8(step);
      widen_scales(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), sub.scale[0]);
      sub.minimum[0] = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
    } else if constexpr (type == QuantType::Q2_K) {
      const uint8x16_t bytes = vld1q_u8(step);
      const uint8x16_t scales = vandq_u8(bytes, vdupq_n_u8(15));
      const uint8x16_t minima = vshrq_n_u8(bytes, 4);
      widen_scales(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(scales))), sub.scale[0]);
      widen_scales(vreinterpretq_s16_u16(vmovl_high_u8(scales)), sub.scale[1]);
      sub.minimum[0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(minima)));
      sub.minimum[1] = vreinterpretq_s16_u16(vmovl_high_u8(minima));
    } else if constexpr (type == QuantType::Q3_K || type == QuantType::Q6_K) {
      const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(step));
      widen_scales(vmovl_s8(vget_low_s8(bytes)), sub.scale[0]);
      widen_scales(vmovl_high_s8(bytes), sub.scale[1]);
    } else if constexpr (type == QuantType::IQ4_XS) {
      widen_scales(vmovl_s8(vreinterpret_s8_u8(vld1_u8(step))), sub.scale[0]);
    }
    return sub;
  }

  static FLOE_INLINE Lanes scale(const uint8_t* block) {
    if constexpr (type == QuantType::MXFP4) {
      const uint16x8_t e = vmovl_u8(vld1_u8(block));
      return {power(vmovl_u16(vget_low_u16(e))), power(vmovl_high_u16(e))};
    } else {
      return load_halves(block);
    }
  }
  static FLOE_INLINE Lanes minimum(const uint8_t* block) { return load_halves(block + 16); }

 private:
  // 2^(e - 128), half the exponent's worth because the values are doubled; the two smallest are
  // subnormal.
  static FLOE_INLINE float32x4_t power(uint32x4_t e) {
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), subnormal, normal));
  }
};

}  // namespace
}  // namespace floe

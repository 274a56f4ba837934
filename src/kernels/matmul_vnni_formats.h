#pragma once
// Inside the kernels room: how each format with blocks is unpacked for matmul_vnni.h.
#include "kernels/avx2.h"
#include "kernels/matmul_vnni.h"

namespace floe {
namespace {

template <typename V>
FLOE_INLINE typename V::Int nibble_word(const uint8_t* plane, size_t next, int j) {
  typename V::Int bytes = V::load(plane + 32 * (j % 4), next);
  // Words j and j + 4 share a load: compilers would rather load twice than keep a register.
  __asm__("" : "+x"(bytes));
  return (j < 4 ? bytes : V::template right16<4>(bytes)) & V::all8(15);
}

// A field of kWidth bits from bit kFrom on of every byte, moved to bit kTo.
template <typename V, int kWidth, int kFrom, int kTo>
FLOE_INLINE typename V::Int field(const uint8_t* plane, size_t next) {
  typename V::Int bytes = V::load(plane, next);
  if constexpr (kFrom > kTo) bytes = V::template right16<kFrom - kTo>(bytes);
  if constexpr (kFrom < kTo) bytes = V::template left16<kTo - kFrom>(bytes);
  return bytes & V::all8(((1 << kWidth) - 1) << kTo);
}

template <typename V, int kWord, int kTo>
FLOE_INLINE typename V::Int pair_word(const uint8_t* plane, size_t next) {
  return field<V, 2, 2 * (kWord % 4), kTo>(plane + 32 * (kWord / 4), next);
}

// The codebook of IQ4_NL and IQ4_XS + 127, and that of MXFP4, doubled, + 12.
alignas(16) constexpr uint8_t kIq4Bytes[16] = {0,   23,  44,  62,  78,  92,  105, 117,
                                               128, 140, 152, 165, 180, 196, 216, 240};
alignas(16) constexpr uint8_t kE2m1Bytes[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                12, 11, 10, 9,  8,  6,  4,  0};

// What most formats share; a format derives and replaces.
template <typename V, QuantType type>
struct Format {
  using Int = typename V::Int;
  using Float = typename V::Float;
  static constexpr PackedLayout layout = kPacked<type>;
  static constexpr int kOffset = layout.offset;

  static FLOE_INLINE Float scale(const uint8_t* block, size_t next) {
    return V::load_halves(block, next);
  }
  static FLOE_INLINE Float minimum(const uint8_t* block, size_t next) {
    return V::load_halves(block + 16, next);
  }
  // No sub-blocks: factors of 1.
  static FLOE_INLINE SubScales<V> sub_scales(const uint8_t*, size_t) {
    return {{V::zero_float(), V::zero_float()}, V::all32(0x10001)};
  }
};

template <typename V, QuantType type>
struct Nibbles : Format<V, type> {
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return nibble_word<V>(plane, next, kWord);
  }
};

template <typename V, QuantType type>
struct NibblesAndBits : Format<V, type> {
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return nibble_word<V>(plane, next, kWord) | field<V, 1, kWord, 4>(plane + 128, next);
  }
};

template <typename V, QuantType type>
struct CodebookNibbles : Format<V, type> {
  static constexpr int kOffset = 127;
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return V::look_up(V::table(kIq4Bytes), nibble_word<V>(plane, next, kWord));
  }
};

template <typename V>
using Q4_0 = Nibbles<V, QuantType::Q4_0>;
template <typename V>
using Q4_1 = Nibbles<V, QuantType::Q4_1>;
template <typename V>
using Q5_0 = NibblesAndBits<V, QuantType::Q5_0>;
template <typename V>
using Q5_1 = NibblesAndBits<V, QuantType::Q5_1>;
template <typename V>
using IQ4_NL = CodebookNibbles<V, QuantType::IQ4_NL>;

template <typename V>
struct Q8_0 : Format<V, QuantType::Q8_0> {
  static constexpr int kOffset = 128;
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return V::load(plane + 32 * kWord, next) ^ V::all8(0x80);
  }
};

template <typename V>
struct MXFP4 : Format<V, QuantType::MXFP4> {
  static constexpr int kOffset = 12;
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return V::look_up(V::table(kE2m1Bytes), nibble_word<V>(plane, next, kWord));
  }
  // 2^(e - 128): (e - 1) << 23, but subnormal for e = 0 and 1.
  static FLOE_INLINE typename V::Float scale(const uint8_t* block, size_t next) {
    const typename V::Int e = V::load_u8(block, next);
    const typename V::Int normal = V::template left32<23>(V::add32(e, V::all32(-1)));
    const typename V::Int subnormal =
        V::template left32<21>(V::add32(V::min32(e, V::all32(1)), V::all32(1)));
    return V::as_float(V::max32(normal, subnormal));
  }
};

// u8 scale[8], u8 minimum[8] of the whole step.
template <typename V>
FLOE_INLINE SubScales<V> scale_and_minimum(const uint8_t* step, size_t next) {
  const typename V::Int minimum = V::load_u8(step + 8, next);
  const typename V::Float scale = V::to_float(V::load_u8(step, next));
  return {{scale, scale}, minimum | V::template left32<16>(minimum)};
}

// i8 scale[8] of each half.
template <typename V>
FLOE_INLINE SubScales<V> signed_scales(const uint8_t* step, size_t next) {
  return {{V::to_float(V::load_i8(step, next)), V::to_float(V::load_i8(step + 8, next))},
          V::zero()};
}

template <typename V>
struct Q4_K : Nibbles<V, QuantType::Q4_K> {
  static FLOE_INLINE SubScales<V> sub_scales(const uint8_t* step, size_t next) {
    return scale_and_minimum<V>(step, next);
  }
};

template <typename V>
struct Q5_K : NibblesAndBits<V, QuantType::Q5_K> {
  static FLOE_INLINE SubScales<V> sub_scales(const uint8_t* step, size_t next) {
    return scale_and_minimum<V>(step, next);
  }
};

template <typename V>
struct Q6_K : Format<V, QuantType::Q6_K> {
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return nibble_word<V>(plane, next, kWord) | pair_word<V, kWord, 4>(plane + 128, next);
  }
  static FLOE_INLINE SubScales<V> sub_scales(const uint8_t* step, size_t next) {
    return signed_scales<V>(step, next);
  }
};

template <typename V>
struct Q3_K : Format<V, QuantType::Q3_K> {
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return pair_word<V, kWord, 0>(plane, next) | field<V, 1, kWord, 2>(plane + 64, next);
  }
  static FLOE_INLINE SubScales<V> sub_scales(const uint8_t* step, size_t next) {
    return signed_scales<V>(step, next);
  }
};

template <typename V>
struct Q2_K : Format<V, QuantType::Q2_K> {
  template <int kWord>
  static FLOE_INLINE typename V::Int word(const uint8_t* plane, size_t next) {
    return pair_word<V, kWord, 0>(plane, next);
  }
  // Scale in the low, minimum in the high nibble.
  static FLOE_INLINE SubScales<V> sub_scales(const uint8_t* step, size_t next) {
    const typename V::Int first = V::load_u8(step, next);
    const typename V::Int second = V::load_u8(step + 8, next);
    const typename V::Int low = V::all32(15);
    return {{V::to_float(first & low), V::to_float(second & low)},
            V::template right16<4>(first | V::template left32<16>(second))};
  }
};

template <typename V>
struct IQ4_XS : CodebookNibbles<V, QuantType::IQ4_XS> {
  static FLOE_INLINE SubScales<V> sub_scales(const uint8_t* step, size_t next) {
    const typename V::Float scale = V::to_float(V::load_i8(step, next));
    return {{scale, scale}, V::zero()};
  }
};

// Formats with one scale per 32 columns.
FLOE_INLINE void matmul_blocks_small(QuantType type, const MatmulCall& call) {
  switch (type) {
    case QuantType::Q4_0:
      return matmul_blocks<Q4_0>(call);
    case QuantType::Q4_1:
      return matmul_blocks<Q4_1>(call);
    case QuantType::Q5_0:
      return matmul_blocks<Q5_0>(call);
    case QuantType::Q5_1:
      return matmul_blocks<Q5_1>(call);
    case QuantType::Q8_0:
      return matmul_blocks<Q8_0>(call);
    case QuantType::IQ4_NL:
      return matmul_blocks<IQ4_NL>(call);
    case QuantType::MXFP4:
      return matmul_blocks<MXFP4>(call);
    default:
      return;
  }
}

// Formats with blocks of 256 columns.
FLOE_INLINE void matmul_blocks_k(QuantType type, const MatmulCall& call) {
  switch (type) {
    case QuantType::Q2_K:
      return matmul_blocks<Q2_K>(call);
    case QuantType::Q3_K:
      return matmul_blocks<Q3_K>(call);
    case QuantType::Q4_K:
      return matmul_blocks<Q4_K>(call);
    case QuantType::Q5_K:
      return matmul_blocks<Q5_K>(call);
    case QuantType::Q6_K:
      return matmul_blocks<Q6_K>(call);
    case QuantType::IQ4_XS:
      return matmul_blocks<IQ4_XS>(call);
    default:
      return;
  }
}

// The choice among all formats: plain ones are AVX2's, the others of the file's own set.
using MatmulOfType = void (*)(QuantType, const MatmulCall&);
FLOE_INLINE void matmul_any(QuantType type, const MatmulCall& call, MatmulOfType small,
                            MatmulOfType k) {
  switch (type) {
    case QuantType::F32:
      return avx2::matmul_f32(call);
    case QuantType::F16:
      return avx2::matmul_f16(call);
    case QuantType::BF16:
      return avx2::matmul_bf16(call);
    case QuantType::Q2_K:
    case QuantType::Q3_K:
    case QuantType::Q4_K:
    case QuantType::Q5_K:
    case QuantType::Q6_K:
    case QuantType::IQ4_XS:
      return k(type, call);
    default:
      return small(type, call);
  }
}

}  // namespace
}  // namespace floe

#pragma once
// Packed weights as the card reads them: the same bytes as the processor's
// (kernels/packed_layout.h), word by word.
//
// Columns 4j..4j+3 of a row are one 32-bit word of four signed bytes. Words t and t + 4 of row g of
// a step are what lane 4g + t of a warp feeds to an integer tensor core as its part of 8 rows x 32
// columns, and the packed layout keeps them so that 32 lanes read whole 128 byte lines.
//
// Everything here compiles for the processor too, so that tests need no card.
#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/packed_layout.h"
#include "kernels/scalar_math.h"
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#else
#include "base/half.h"
#endif

namespace floe::cuda {

FLOE_HOST_DEVICE inline uint32_t load_u32(const uint8_t* at) {
#if defined(__CUDA_ARCH__)
  return __ldg(reinterpret_cast<const unsigned int*>(at));
#else
  uint32_t word;
  std::memcpy(&word, at, 4);
  return word;
#endif
}

FLOE_HOST_DEVICE inline uint32_t load_u8(const uint8_t* at) {
#if defined(__CUDA_ARCH__)
  return __ldg(at);
#else
  return *at;
#endif
}

FLOE_HOST_DEVICE inline float load_half(const uint8_t* at) {
#if defined(__CUDACC__)
  unsigned short bits;
#if defined(__CUDA_ARCH__)
  bits = __ldg(reinterpret_cast<const unsigned short*>(at));
#else
  std::memcpy(&bits, at, 2);
#endif
  return __half2float(__ushort_as_half(bits));
#else
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return f16_to_f32(bits);
#endif
}

// Bytes that a block of threads has in its shared memory.
struct SharedBytes {
  const uint8_t* at;
  FLOE_HOST_DEVICE SharedBytes operator+(size_t n) const { return {at + n}; }
};
FLOE_HOST_DEVICE inline uint32_t load_u32(SharedBytes bytes) {
  return *reinterpret_cast<const uint32_t*>(bytes.at);
}
FLOE_HOST_DEVICE inline uint32_t load_u8(SharedBytes bytes) {
  return *bytes.at;
}
#if defined(__CUDACC__)
__device__ inline float load_half(SharedBytes bytes) {
  return __half2float(*reinterpret_cast<const __half*>(bytes.at));
}
#endif

// The planes of one row and word as they stand in memory, loaded before anything is done with them.
struct RawWords {
  uint32_t a = 0;  // nibbles of words t and t + 4, or word t of a byte plane, or pairs of word t
  uint32_t b = 0;  // word t + 4 of a byte plane, pairs of word t + 4, or bits of all words
  uint32_t c = 0;  // nibble_pair: pairs of word t + 4; pair_bit: bits
};

template <QuantPlanes planes, typename Bytes>
FLOE_HOST_DEVICE inline RawWords load_raw(Bytes at, uint32_t row, uint32_t t) {
  RawWords raw;
  if constexpr (planes == QuantPlanes::byte) {
    raw.a = load_u32(at + 32 * t + 4 * row);
    raw.b = load_u32(at + 32 * (t + 4) + 4 * row);
  } else if constexpr (planes == QuantPlanes::pair || planes == QuantPlanes::pair_bit) {
    raw.a = load_u32(at + 4 * row);
    raw.b = load_u32(at + 32 + 4 * row);
    if constexpr (planes == QuantPlanes::pair_bit) raw.c = load_u32(at + 64 + 4 * row);
  } else {
    raw.a = load_u32(at + 32 * t + 4 * row);
    if constexpr (planes != QuantPlanes::nibble) raw.b = load_u32(at + 128 + 4 * row);
    if constexpr (planes == QuantPlanes::nibble_pair) raw.c = load_u32(at + 160 + 4 * row);
  }
  return raw;
}

// Words t and t + 4.
struct WordPair {
  uint32_t low;
  uint32_t high;
};

// Table values of the eight nibbles of `nibbles`, those of low and of high half-bytes apart.
// table[k] holds values 4k..4k+3.
FLOE_HOST_DEVICE inline WordPair look_up(uint32_t nibbles, const uint32_t (&table)[4]) {
#if defined(__CUDA_ARCH__)
  const auto four = [&](uint32_t q) {  // values of the four nibbles in the low 16 bits, in order
    const uint32_t lower = __byte_perm(table[0], table[1], q & 0x7777u);
    const uint32_t upper = __byte_perm(table[2], table[3], q & 0x7777u);
    return __byte_perm(lower, upper, 0x3210u | ((q & 0x8888u) >> 1));
  };
  const uint32_t first = four(nibbles & 0xffffu);
  const uint32_t second = four(nibbles >> 16);
  return {__byte_perm(first, second, 0x6420u), __byte_perm(first, second, 0x7531u)};
#else
  WordPair words{0, 0};
  for (int i = 0; i < 4; ++i) {
    const uint32_t low = (nibbles >> (8 * i)) & 15u;
    const uint32_t high = (nibbles >> (8 * i + 4)) & 15u;
    words.low |= ((table[low / 4] >> (8 * (low % 4))) & 0xffu) << (8 * i);
    words.high |= ((table[high / 4] >> (8 * (high % 4))) & 0xffu) << (8 * i);
  }
  return words;
#endif
}

// The integers that the scales multiply, before kPacked<type>.offset is subtracted.
template <QuantType type>
FLOE_HOST_DEVICE inline WordPair decode_words(const RawWords& raw, uint32_t t) {
  constexpr QuantPlanes planes = kPacked<type>.planes;
  constexpr uint32_t kNibbles = 0x0f0f0f0fu;
  constexpr uint32_t kPairs = 0x03030303u;
  constexpr uint32_t kBits = 0x01010101u;
  if constexpr (type == QuantType::IQ4_NL || type == QuantType::IQ4_XS) {
    // kIq4Values of quant/blocks.h, four to a word.
    const uint32_t table[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};
    return look_up(raw.a, table);
  } else if constexpr (type == QuantType::MXFP4) {
    const uint32_t table[4] = {0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu};
    return look_up(raw.a, table);
  } else if constexpr (planes == QuantPlanes::byte) {
    return {raw.a, raw.b};
  } else if constexpr (planes == QuantPlanes::pair || planes == QuantPlanes::pair_bit) {
    WordPair words{(raw.a >> (2 * t)) & kPairs, (raw.b >> (2 * t)) & kPairs};
    if constexpr (planes == QuantPlanes::pair_bit) {
      words.low |= ((raw.c >> t) & kBits) << 2;
      words.high |= ((raw.c >> (t + 4)) & kBits) << 2;
    }
    return words;
  } else {
    WordPair words{raw.a & kNibbles, (raw.a >> 4) & kNibbles};
    if constexpr (planes == QuantPlanes::nibble_bit) {
      words.low |= ((raw.b >> t) & kBits) << 4;
      words.high |= ((raw.b >> (t + 4)) & kBits) << 4;
    }
    if constexpr (planes == QuantPlanes::nibble_pair) {
      words.low |= ((raw.b >> (2 * t)) & kPairs) << 4;
      words.high |= ((raw.c >> (2 * t)) & kPairs) << 4;
    }
    return words;
  }
}

template <QuantType type, typename Bytes>
FLOE_HOST_DEVICE inline Bytes step_at(Bytes block, uint32_t step) {
  constexpr PackedLayout layout = kPacked<type>;
  return block + layout.head_bytes + step * (layout.sub_bytes + plane_bytes(layout.planes));
}

template <QuantType type, typename Bytes>
FLOE_HOST_DEVICE inline float block_scale(Bytes block, uint32_t row) {
  if constexpr (type == QuantType::MXFP4) {
    // 2^(e - 128), half the exponent's worth because the values are doubled.
    const uint32_t e = load_u8(block + row);
    return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1u) << 23);
  } else {
    return load_half(block + 2 * row);
  }
}

template <typename Bytes>
FLOE_HOST_DEVICE inline float block_minimum(Bytes block, uint32_t row) {
  return load_half(block + 16 + 2 * row);
}

// half 0: columns 0..15, 1: columns 16..31 of a step. 1 where the format has no sub-blocks.
template <QuantType type, typename Bytes>
FLOE_HOST_DEVICE inline int sub_scale(Bytes step, uint32_t row, uint32_t half) {
  if constexpr (kPacked<type>.n_sub == 0) {
    return 1;
  } else if constexpr (type == QuantType::Q2_K) {
    return static_cast<int>(load_u8(step + 8 * half + row) & 15u);
  } else if constexpr (type == QuantType::Q4_K || type == QuantType::Q5_K) {
    return static_cast<int>(load_u8(step + row));
  } else if constexpr (type == QuantType::IQ4_XS) {
    return static_cast<int8_t>(load_u8(step + row));
  } else {
    return static_cast<int8_t>(load_u8(step + 8 * half + row));
  }
}

template <QuantType type, typename Bytes>
FLOE_HOST_DEVICE inline int sub_minimum(Bytes step, uint32_t row, uint32_t half) {
  if constexpr (kPacked<type>.n_sub == 0) {
    return 1;
  } else if constexpr (type == QuantType::Q2_K) {
    return static_cast<int>(load_u8(step + 8 * half + row) >> 4);
  } else {
    return static_cast<int>(load_u8(step + 8 + row));
  }
}

// One weight as a float, as decode_row() gives it. step_cols: column within the step.
template <QuantType type>
FLOE_HOST_DEVICE inline float decode_weight(const uint8_t* block, uint32_t row, uint32_t step,
                                            uint32_t col) {
  constexpr PackedLayout layout = kPacked<type>;
  const uint8_t* at = step_at<type>(block, step);
  const uint32_t t = col / 4 % 4;
  const WordPair words =
      decode_words<type>(load_raw<layout.planes>(at + layout.sub_bytes, row, t), t);
  const uint32_t word = col < 16 ? words.low : words.high;
  const int q = static_cast<int8_t>(word >> (8 * (col % 4))) - layout.offset;
  const float d = block_scale<type>(block, row);
  if constexpr (layout.n_sub == 0) {
    const float value = d * static_cast<float>(q);
    if constexpr (layout.has_min) return value + block_minimum(block, row);
    return value;
  } else {
    const uint32_t half = col / 16;
    const float value =
        d * static_cast<float>(sub_scale<type>(at, row, half)) * static_cast<float>(q);
    if constexpr (layout.has_min) {
      return value -
             block_minimum(block, row) * static_cast<float>(sub_minimum<type>(at, row, half));
    }
    return value;
  }
}

// What a block of weights comes to for one row and one activation row, step by step.
struct BlockSums {
  float t = 0.0f;
  float s = 0.0f;  // of formats with a minimum

  // p and m as numeric_order.h has them, a the activation scale.
  template <QuantType type>
  FLOE_HOST_DEVICE void add_step(int p, int m, float a) {
    constexpr PackedLayout layout = kPacked<type>;
    if constexpr (layout.n_steps == 1) {
      t = static_cast<float>(p) * a;
      if constexpr (layout.has_min) s = static_cast<float>(m) * a;
    } else {
      t = std::fma(static_cast<float>(p), a, t);
      if constexpr (layout.has_min) s = std::fma(static_cast<float>(m), a, s);
    }
  }
  // acc behind the block.
  template <QuantType type>
  FLOE_HOST_DEVICE float add_to(float acc, float d, float minimum) const {
    constexpr PackedLayout layout = kPacked<type>;
    acc = std::fma(d, t, acc);
    if constexpr (layout.has_min) acc = std::fma(layout.n_sub == 0 ? minimum : -minimum, s, acc);
    return acc;
  }
};

}  // namespace floe::cuda

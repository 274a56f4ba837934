#pragma once
// Access to packed groups: how the file blocks of 8 rows go in, how one weight comes out. The
// packer, decode_row() and the reference kernels all read the layout through this file.
#include <cstddef>
#include <cstring>

#include "base/half.h"
#include "kernels/packed_layout.h"
#include "quant/blocks.h"

namespace floe {

// One 32-bit word of each of the 8 rows of a group. A vector of the compiler's, for whatever the
// machine has: packing is shifts and masks of whole words.
using RowWords = uint32_t __attribute__((vector_size(32)));

// The 32 quants of each row in one step, a byte each; word j is columns 4j..4j+3, first in the low
// byte.
struct StepWords {
  RowWords word[8];
};

// The blocks of the 8 rows at one place along the columns, as in the file.
using BlockRows = const uint8_t* [8];

namespace packed {

inline uint32_t load_word(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, 4);
  return word;
}
// The word at `offset` of every row's block.
inline void gather(const BlockRows& rows, size_t offset, RowWords& words) {
  for (int r = 0; r < 8; ++r) words[r] = load_word(rows[r] + offset);
}
inline void store_words(uint8_t* out, const RowWords& words) {
  std::memcpy(out, &words, sizeof(words));
}
// The 16-bit field at `offset` of every row's block.
inline void store_halves(const BlockRows& rows, size_t offset, uint8_t* out) {
  for (int r = 0; r < 8; ++r) std::memcpy(out + 2 * r, rows[r] + offset, 2);
}
inline float load_half(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return f16_to_f32(half);
}

inline constexpr uint32_t kLowNibbles = 0x0f0f0f0fu;
inline constexpr uint32_t kLowPairs = 0x03030303u;
inline constexpr uint32_t kLowBits = 0x01010101u;

// 16 nibble bytes at `offset`: byte j holds columns j (low) and j + 16 (high).
inline void split_halves(const BlockRows& rows, size_t offset, StepWords& words) {
  for (int k = 0; k < 4; ++k) {
    RowWords bytes;
    gather(rows, offset + 4 * k, bytes);
    words.word[k] = bytes & kLowNibbles;
    words.word[k + 4] = (bytes >> 4) & kLowNibbles;
  }
}

// 32 bytes at `offset` whose fields of `mask` at `shift` are columns 0..31.
inline void fields(const BlockRows& rows, size_t offset, uint32_t shift, uint32_t mask,
                   StepWords& words) {
  for (int j = 0; j < 8; ++j) {
    gather(rows, offset + 4 * j, words.word[j]);
    words.word[j] = (words.word[j] >> shift) & mask;
  }
}

// The same, put above the bits that are there: words |= fields << to.
inline void merge_fields(const BlockRows& rows, size_t offset, uint32_t shift, uint32_t mask,
                         uint32_t to, StepWords& words) {
  for (int j = 0; j < 8; ++j) {
    RowWords bytes;
    gather(rows, offset + 4 * j, bytes);
    words.word[j] |= ((bytes >> shift) & mask) << to;
  }
}

// Bit i of the 32 at `offset` as bit 4 of column i.
inline void merge_fifth_bits(const BlockRows& rows, size_t offset, StepWords& words) {
  RowWords bits;
  gather(rows, offset, bits);
  for (int j = 0; j < 8; ++j) {
    // One bit into each of four bytes.
    words.word[j] |= ((((bits >> (4 * j)) & 15u) * 0x00204081u) & kLowBits) << 4;
  }
}

template <QuantPlanes planes>
void store_planes(const StepWords& words, uint8_t* out) {
  const RowWords* w = words.word;
  if constexpr (planes == QuantPlanes::byte) {
    for (int j = 0; j < 8; ++j) store_words(out + 32 * j, w[j]);
  }
  if constexpr (planes == QuantPlanes::nibble || planes == QuantPlanes::nibble_bit ||
                planes == QuantPlanes::nibble_pair) {
    for (int k = 0; k < 4; ++k) {
      store_words(out + 32 * k, (w[k] & kLowNibbles) | (w[k + 4] & kLowNibbles) << 4);
    }
    out += 128;
  }
  if constexpr (planes == QuantPlanes::nibble_bit) {
    RowWords bits = {};
    for (int j = 0; j < 8; ++j) bits |= ((w[j] >> 4) & kLowBits) << j;
    store_words(out, bits);
  }
  if constexpr (planes == QuantPlanes::nibble_pair || planes == QuantPlanes::pair ||
                planes == QuantPlanes::pair_bit) {
    constexpr uint32_t shift = planes == QuantPlanes::nibble_pair ? 4 : 0;
    for (int h = 0; h < 2; ++h) {
      RowWords pairs = {};
      for (int f = 0; f < 4; ++f) pairs |= ((w[4 * h + f] >> shift) & kLowPairs) << (2 * f);
      store_words(out + 32 * h, pairs);
    }
    out += 64;
  }
  if constexpr (planes == QuantPlanes::pair_bit) {
    RowWords bits = {};
    for (int j = 0; j < 8; ++j) bits |= ((w[j] >> 2) & kLowBits) << j;
    store_words(out, bits);
  }
}

// The stored quant of one row and column of a step, offset not removed.
template <QuantPlanes planes>
int load_quant(const uint8_t* plane, uint32_t row, uint32_t col) {
  const uint32_t word = col / 4;
  const uint8_t* bytes = plane + 4 * row + col % 4;
  if constexpr (planes == QuantPlanes::byte) return static_cast<int8_t>(bytes[32 * word]);
  int value = 0;
  if constexpr (planes == QuantPlanes::nibble || planes == QuantPlanes::nibble_bit ||
                planes == QuantPlanes::nibble_pair) {
    value = (bytes[32 * (word % 4)] >> (word < 4 ? 0 : 4)) & 15;
  }
  if constexpr (planes == QuantPlanes::nibble_bit) value |= ((bytes[128] >> word) & 1) << 4;
  if constexpr (planes == QuantPlanes::nibble_pair) {
    value |= ((bytes[128 + 32 * (word / 4)] >> (2 * (word % 4))) & 3) << 4;
  }
  if constexpr (planes == QuantPlanes::pair || planes == QuantPlanes::pair_bit) {
    value = (bytes[32 * (word / 4)] >> (2 * (word % 4))) & 3;
  }
  if constexpr (planes == QuantPlanes::pair_bit) value |= ((bytes[64] >> word) & 1) << 2;
  return value;
}

}  // namespace packed

// One specialisation per format: `Block`, and pack(), which writes a packed block from the file
// blocks of 8 rows.
template <QuantType type>
struct GroupPacker;

namespace packed {
template <QuantType type>
uint8_t* sub_scales(uint8_t* out, uint32_t step) {
  return out + kPacked<type>.head_bytes + step * kPacked<type>.step_bytes();
}
template <QuantType type>
void store_step(const StepWords& words, uint32_t step, uint8_t* out) {
  store_planes<kPacked<type>.planes>(words, sub_scales<type>(out, step) + kPacked<type>.sub_bytes);
}

// Formats of 4 bits and one scale per 32 columns: d, then the nibbles.
template <QuantType type, typename Layout>
struct NibblePacker {
  using Block = Layout;
  static void pack(const BlockRows& rows, uint8_t* out) {
    store_halves(rows, offsetof(Block, d), out);
    StepWords words;
    split_halves(rows, offsetof(Block, qs), words);
    store_step<type>(words, 0, out);
  }
};

// Q5_0 and Q5_1 beside their minimum.
template <QuantType type, typename Layout>
struct FiveBitPacker {
  using Block = Layout;
  static void pack(const BlockRows& rows, uint8_t* out) {
    store_halves(rows, offsetof(Block, d), out);
    StepWords words;
    split_halves(rows, offsetof(Block, qs), words);
    merge_fifth_bits(rows, offsetof(Block, qh), words);
    store_step<type>(words, 0, out);
  }
};

// Scales and minima of Q4_K and Q5_K.
template <QuantType type, typename Block>
void store_scales_and_minima(const BlockRows& rows, uint8_t* out) {
  store_halves(rows, offsetof(Block, d), out);
  store_halves(rows, offsetof(Block, dmin), out + 16);
  for (uint32_t s = 0; s < 8; ++s) {
    uint8_t* sub = sub_scales<type>(out, s);
    for (int r = 0; r < 8; ++r) {
      const ScaleMin scale = k_scale_min(rows[r] + offsetof(Block, scales), s);
      sub[r] = scale.scale;
      sub[8 + r] = scale.minimum;
    }
  }
}
}  // namespace packed

template <>
struct GroupPacker<QuantType::Q4_0> : packed::NibblePacker<QuantType::Q4_0, BlockQ4_0> {};
template <>
struct GroupPacker<QuantType::IQ4_NL> : packed::NibblePacker<QuantType::IQ4_NL, BlockIQ4_NL> {};

template <>
struct GroupPacker<QuantType::Q4_1> : packed::NibblePacker<QuantType::Q4_1, BlockQ4_1> {
  static void pack(const BlockRows& rows, uint8_t* out) {
    NibblePacker::pack(rows, out);
    packed::store_halves(rows, offsetof(Block, m), out + 16);
  }
};

template <>
struct GroupPacker<QuantType::Q5_0> : packed::FiveBitPacker<QuantType::Q5_0, BlockQ5_0> {};

template <>
struct GroupPacker<QuantType::Q5_1> : packed::FiveBitPacker<QuantType::Q5_1, BlockQ5_1> {
  static void pack(const BlockRows& rows, uint8_t* out) {
    FiveBitPacker::pack(rows, out);
    packed::store_halves(rows, offsetof(Block, m), out + 16);
  }
};

template <>
struct GroupPacker<QuantType::Q8_0> {
  using Block = BlockQ8_0;
  static void pack(const BlockRows& rows, uint8_t* out) {
    packed::store_halves(rows, offsetof(Block, d), out);
    StepWords words;
    packed::fields(rows, offsetof(Block, qs), 0, 0xffffffffu, words);
    packed::store_step<QuantType::Q8_0>(words, 0, out);
  }
};

template <>
struct GroupPacker<QuantType::MXFP4> {
  using Block = BlockMXFP4;
  static void pack(const BlockRows& rows, uint8_t* out) {
    for (int r = 0; r < 8; ++r) out[r] = rows[r][offsetof(Block, e)];
    StepWords words;
    packed::split_halves(rows, offsetof(Block, qs), words);
    packed::store_step<QuantType::MXFP4>(words, 0, out);
  }
};

template <>
struct GroupPacker<QuantType::Q2_K> {
  using Block = BlockQ2_K;
  static void pack(const BlockRows& rows, uint8_t* out) {
    packed::store_halves(rows, offsetof(Block, d), out);
    packed::store_halves(rows, offsetof(Block, dmin), out + 16);
    for (uint32_t s = 0; s < 8; ++s) {
      uint8_t* sub = packed::sub_scales<QuantType::Q2_K>(out, s);
      for (int r = 0; r < 8; ++r) {
        sub[r] = rows[r][offsetof(Block, scales) + 2 * s];
        sub[8 + r] = rows[r][offsetof(Block, scales) + 2 * s + 1];
      }
      StepWords words;
      packed::fields(rows, offsetof(Block, qs) + 32 * (s / 4), 2 * (s % 4), packed::kLowPairs,
                     words);
      packed::store_step<QuantType::Q2_K>(words, s, out);
    }
  }
};

template <>
struct GroupPacker<QuantType::Q3_K> {
  using Block = BlockQ3_K;
  static void pack(const BlockRows& rows, uint8_t* out) {
    packed::store_halves(rows, offsetof(Block, d), out);
    for (uint32_t s = 0; s < 8; ++s) {
      uint8_t* sub = packed::sub_scales<QuantType::Q3_K>(out, s);
      for (int r = 0; r < 8; ++r) {
        const uint8_t* scales = rows[r] + offsetof(Block, scales);
        sub[r] = static_cast<uint8_t>(q3_k_scale(scales, 2 * s));
        sub[8 + r] = static_cast<uint8_t>(q3_k_scale(scales, 2 * s + 1));
      }
      StepWords words;
      packed::fields(rows, offsetof(Block, qs) + 32 * (s / 4), 2 * (s % 4), packed::kLowPairs,
                     words);
      packed::merge_fields(rows, offsetof(Block, hmask), s, packed::kLowBits, 2, words);
      packed::store_step<QuantType::Q3_K>(words, s, out);
    }
  }
};

template <>
struct GroupPacker<QuantType::Q4_K> {
  using Block = BlockQ4_K;
  static void pack(const BlockRows& rows, uint8_t* out) {
    packed::store_scales_and_minima<QuantType::Q4_K, Block>(rows, out);
    for (uint32_t s = 0; s < 8; ++s) {
      StepWords words;
      packed::fields(rows, offsetof(Block, qs) + 32 * (s / 2), 4 * (s % 2), packed::kLowNibbles,
                     words);
      packed::store_step<QuantType::Q4_K>(words, s, out);
    }
  }
};

template <>
struct GroupPacker<QuantType::Q5_K> {
  using Block = BlockQ5_K;
  static void pack(const BlockRows& rows, uint8_t* out) {
    packed::store_scales_and_minima<QuantType::Q5_K, Block>(rows, out);
    for (uint32_t s = 0; s < 8; ++s) {
      StepWords words;
      packed::fields(rows, offsetof(Block, qs) + 32 * (s / 2), 4 * (s % 2), packed::kLowNibbles,
                     words);
      packed::merge_fields(rows, offsetof(Block, qh), s, packed::kLowBits, 4, words);
      packed::store_step<QuantType::Q5_K>(words, s, out);
    }
  }
};

template <>
struct GroupPacker<QuantType::Q6_K> {
  using Block = BlockQ6_K;
  static void pack(const BlockRows& rows, uint8_t* out) {
    packed::store_halves(rows, offsetof(Block, d), out);
    for (uint32_t s = 0; s < 8; ++s) {
      uint8_t* sub = packed::sub_scales<QuantType::Q6_K>(out, s);
      for (int r = 0; r < 8; ++r) {
        sub[r] = rows[r][offsetof(Block, scales) + 2 * s];
        sub[8 + r] = rows[r][offsetof(Block, scales) + 2 * s + 1];
      }
      StepWords words;
      packed::fields(rows, offsetof(Block, ql) + 64 * (s / 4) + 32 * (s % 2), 4 * (s % 4 / 2),
                     packed::kLowNibbles, words);
      packed::merge_fields(rows, offsetof(Block, qh) + 32 * (s / 4), 2 * (s % 4), packed::kLowPairs,
                           4, words);
      packed::store_step<QuantType::Q6_K>(words, s, out);
    }
  }
};

template <>
struct GroupPacker<QuantType::IQ4_XS> {
  using Block = BlockIQ4_XS;
  static void pack(const BlockRows& rows, uint8_t* out) {
    packed::store_halves(rows, offsetof(Block, d), out);
    for (uint32_t s = 0; s < 8; ++s) {
      uint8_t* sub = packed::sub_scales<QuantType::IQ4_XS>(out, s);
      for (int r = 0; r < 8; ++r) {
        Block block;
        std::memcpy(&block, rows[r], sizeof(block));
        sub[r] = static_cast<uint8_t>(iq4_xs_scale(block, s));
      }
      StepWords words;
      packed::split_halves(rows, offsetof(Block, qs) + 16 * s, words);
      packed::store_step<QuantType::IQ4_XS>(words, s, out);
    }
  }
};

// One row of a packed block, read back.
template <QuantType type>
struct PackedReader {
  static constexpr PackedLayout layout = kPacked<type>;

  static float scale(const uint8_t* block, uint32_t row) {
    if constexpr (type == QuantType::MXFP4) {
      // 2^(e - 128), half the exponent's worth because the values are doubled.
      const uint32_t e = block[row];
      return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1u) << 23);
    } else {
      return packed::load_half(block + 2 * row);
    }
  }
  static float minimum(const uint8_t* block, uint32_t row) {
    return packed::load_half(block + 16 + 2 * row);
  }

  static const uint8_t* step(const uint8_t* block, uint32_t index) {
    return block + layout.head_bytes + index * layout.step_bytes();
  }
  // half 0: columns 0..15, 1: columns 16..31 of a step.
  static int sub_scale(const uint8_t* step, uint32_t row, uint32_t half) {
    if constexpr (type == QuantType::Q2_K) return step[8 * half + row] & 15;
    if constexpr (type == QuantType::Q4_K || type == QuantType::Q5_K) return step[row];
    if constexpr (type == QuantType::IQ4_XS) return static_cast<int8_t>(step[row]);
    return static_cast<int8_t>(step[8 * half + row]);
  }
  static int sub_minimum(const uint8_t* step, uint32_t row, uint32_t half) {
    if constexpr (type == QuantType::Q2_K) return step[8 * half + row] >> 4;
    return step[8 + row];
  }
  // The integer that the scales multiply.
  static int value(const uint8_t* step, uint32_t row, uint32_t col) {
    const int q = packed::load_quant<layout.planes>(step + layout.sub_bytes, row, col);
    if constexpr (type == QuantType::IQ4_NL || type == QuantType::IQ4_XS) return kIq4Values[q];
    if constexpr (type == QuantType::MXFP4) return kE2m1Doubled[q];
    return q - layout.offset;
  }
};

// Calls visit.template operator()<type>() for a format with blocks.
template <typename Visit>
void visit_block_format(QuantType type, Visit&& visit) {
  switch (type) {
    case QuantType::Q4_0:
      return visit.template operator()<QuantType::Q4_0>();
    case QuantType::Q4_1:
      return visit.template operator()<QuantType::Q4_1>();
    case QuantType::Q5_0:
      return visit.template operator()<QuantType::Q5_0>();
    case QuantType::Q5_1:
      return visit.template operator()<QuantType::Q5_1>();
    case QuantType::Q8_0:
      return visit.template operator()<QuantType::Q8_0>();
    case QuantType::Q2_K:
      return visit.template operator()<QuantType::Q2_K>();
    case QuantType::Q3_K:
      return visit.template operator()<QuantType::Q3_K>();
    case QuantType::Q4_K:
      return visit.template operator()<QuantType::Q4_K>();
    case QuantType::Q5_K:
      return visit.template operator()<QuantType::Q5_K>();
    case QuantType::Q6_K:
      return visit.template operator()<QuantType::Q6_K>();
    case QuantType::IQ4_NL:
      return visit.template operator()<QuantType::IQ4_NL>();
    case QuantType::IQ4_XS:
      return visit.template operator()<QuantType::IQ4_XS>();
    case QuantType::MXFP4:
      return visit.template operator()<QuantType::MXFP4>();
    case QuantType::F32:
    case QuantType::F16:
    case QuantType::BF16:
      return;
  }
}

}  // namespace floe

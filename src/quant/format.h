#pragma once
// Weight formats as GGUF stores them: one row of traits per format, scalar decode and encode.
// Layouts: docs/formats.md. A format is added by one traits row, its decode, and its packed layout
// in kernels/.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace floe {

// The numeric values are GGUF's tensor type ids.
enum class QuantType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ4_NL = 20,
  IQ4_XS = 23,
  BF16 = 30,
  MXFP4 = 39,
};

struct FormatTraits {
  QuantType type;
  const char* name;      // exactly as in GGUF tools: "Q4_K"
  uint32_t block_elems;  // consecutive weights of a row that share one block; row lengths are
                         // multiples of it
  uint32_t block_bytes;
  // n_elems is a multiple of block_elems. Decoding agrees in every bit with the published
  // reference.
  void (*decode)(const std::byte* blocks, float* out, size_t n_elems);
  // nullptr where floe does not write the format.
  void (*encode)(const float* in, std::byte* blocks, size_t n_elems);
};

// nullptr for a type id that floe does not know.
const FormatTraits* find_format(uint32_t gguf_type_id);
const FormatTraits& format_traits(QuantType type);
std::optional<QuantType> parse_format(std::string_view name);

// Bytes of one row of n_cols weights; n_cols must be a multiple of block_elems.
size_t row_bytes(QuantType type, size_t n_cols);

}  // namespace floe

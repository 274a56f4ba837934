// Random block bytes of every format: packing loses nothing, and every instruction set gives the
// bits of the reference.
//
// Input: byte 0 format, byte 1 weight rows, byte 2 activation rows, byte 3 blocks per row; then the
// blocks' bytes, then the activations' floats, both cut or padded with zeros to what the shape
// needs.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/kernel_table.h"
#include "kernels/matmul_cases.h"

namespace {

using namespace floe;

constexpr QuantType kTypes[] = {
    QuantType::F32,  QuantType::F16,    QuantType::BF16,   QuantType::Q4_0,
    QuantType::Q4_1, QuantType::Q5_0,   QuantType::Q5_1,   QuantType::Q8_0,
    QuantType::Q2_K, QuantType::Q3_K,   QuantType::Q4_K,   QuantType::Q5_K,
    QuantType::Q6_K, QuantType::IQ4_NL, QuantType::IQ4_XS, QuantType::MXFP4,
};

void require(bool condition, const char* what, QuantType type) {
  if (condition) return;
  std::fprintf(stderr, "%s: %s\n", format_traits(type).name, what);
  std::abort();
}

bool same_values(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(a, b, [](float x, float y) { return same_bits(x, y); });
}

using Blocks = std::vector<ActivationBlock>;

Blocks quantize(const KernelTable& table, const std::vector<float>& values, uint32_t stride) {
  Blocks blocks(values.size() / kActivationBlockCols);
  for (size_t i = 0; i < values.size(); i += stride) {
    table.quantize_row(&values[i], stride, &blocks[i / kActivationBlockCols]);
  }
  return blocks;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const QuantType type = kTypes[data[0] % std::size(kTypes)];
  const uint32_t n_rows = 1 + data[1] % 20;
  const uint32_t n_activations = 1 + data[2] % 9;
  const FormatTraits& format = format_traits(type);
  const uint32_t n_cols = format.block_elems * (1 + data[3] % (format.block_elems == 1 ? 70 : 3));
  data += 4;
  size -= 4;

  std::vector<std::byte> file(row_bytes(type, n_cols) * n_rows);
  const size_t n_file = std::min(size, file.size());
  if (n_file != 0) std::memcpy(file.data(), data, n_file);
  data += n_file;
  size -= n_file;
  const uint32_t stride = (n_cols + 31) / 32 * 32;
  std::vector<float> values(size_t{n_activations} * stride);
  const size_t n_values = std::min(size, values.size() * sizeof(float));
  if (n_values != 0) std::memcpy(values.data(), data, n_values);
  // Columns past n_cols are zero by contract.
  for (uint32_t r = 0; r < n_activations; ++r) {
    for (uint32_t c = n_cols; c < stride; ++c) values[size_t{r} * stride + c] = 0;
  }

  PackedMatrix matrix = packed_shape(type, n_cols, n_rows, 1);
  // Aligned as stores align it; the exact size lets the sanitizer see a read past the end.
  const size_t bytes = (matrix.size_bytes() + 63) / 64 * 64;
  auto* packed = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  pack_groups(matrix, file.data(), packed, 0, matrix.n_groups);
  matrix.data = packed;

  std::vector<float> expected(n_cols);
  std::vector<float> row(n_cols);
  for (uint32_t r = 0; r < n_rows; ++r) {
    format.decode(file.data() + r * row_bytes(type, n_cols), expected.data(), n_cols);
    decode_row(matrix, 0, r, row.data());
    require(same_values(expected, row), "a packed row decodes differently", type);
  }

  const Blocks reference_blocks = quantize(reference_kernels(), values, stride);
  const ActivationRows x = {n_cols, stride, values.data(), reference_blocks.data()};
  std::vector<float> reference(size_t{n_activations} * n_rows);
  reference_kernels().matmul(matrix, 0, 0, matrix.n_groups, x, nullptr, n_activations,
                             reference.data(), n_rows);
  for (const KernelTable* table : machine_kernels()) {
    require(std::ranges::equal(quantize(*table, values, stride), reference_blocks, same_block),
            "activations are quantised differently", type);
    std::vector<float> out(reference.size());
    table->matmul(matrix, 0, 0, matrix.n_groups, x, nullptr, n_activations, out.data(), n_rows);
    require(same_values(reference, out), "a product differs", type);
  }
  std::free(packed);
  return 0;
}

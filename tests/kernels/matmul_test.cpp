#include "kernels/kernel_cases.h"

namespace floe {
namespace {

class Matmul : public ::testing::TestWithParam<QuantType> {};

std::string format_name(const ::testing::TestParamInfo<QuantType>& info) {
  return format_traits(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(Formats, Matmul, ::testing::ValuesIn(kAllFormats), format_name);

std::vector<float> multiply(const KernelTable& table, const TestMatrix& matrix, uint32_t plane,
                            const TestRows& x, uint32_t n_rows, const uint32_t* ids = nullptr) {
  const uint32_t width = matrix.shape.n_rows;
  std::vector<float> out(size_t{n_rows} * width, -77.0f);
  // The form that the weights do not need may be absent.
  ActivationRows view = x.view;
  if (is_plain(matrix.shape.type)) {
    view.q8 = nullptr;
  } else {
    view.values = nullptr;
  }
  table.matmul(matrix.shape, plane, 0, matrix.shape.n_groups, view, ids, n_rows, out.data(), width);
  return out;
}

// A row of the product in float64 from the decoded weights and the activations that the kernel
// reads, with the bound that float32 accumulation must keep: a few roundings of the sum of
// magnitudes.
struct Expected {
  double value = 0;
  double magnitude = 0;
};

Expected expected(const TestMatrix& matrix, uint32_t plane, uint32_t row, const TestRows& x,
                  uint32_t x_row) {
  Expected result;
  const float* w = matrix.row(plane, row);
  const size_t start = size_t{x_row} * x.view.stride;
  for (uint32_t c = 0; c < matrix.shape.n_cols; ++c) {
    const double activation =
        is_plain(matrix.shape.type)
            ? x.values[start + c]
            : static_cast<double>(x.q8[(start + c) / 32].scale) * x.q8[(start + c) / 32].q[c % 32];
    result.value += activation * w[c];
    result.magnitude += std::abs(activation * w[c]);
  }
  return result;
}

// Formats with a minimum add two large parts: the bound knows the parts, not only their sum.
double bound(const TestMatrix& matrix, const Expected& e) {
  const double roundings = is_plain(matrix.shape.type) ? matrix.shape.n_cols / 4.0 + 4 : 64.0;
  return roundings * 0x1p-24 * e.magnitude + 1e-6 * e.magnitude + 1e-30;
}

TEST_P(Matmul, DecodedRowsEqualTheFormatsDecode) {
  std::mt19937 rng(1);
  for (const uint32_t n_cols : test_widths(GetParam())) {
    const TestMatrix matrix(rng, GetParam(), n_cols, 11, 3);
    std::vector<float> row(n_cols);
    for (uint32_t plane = 0; plane < 3; ++plane) {
      for (uint32_t r = 0; r < 11; ++r) {
        decode_row(matrix.shape, plane, r, row.data());
        ASSERT_EQ(std::memcmp(row.data(), matrix.row(plane, r), n_cols * sizeof(float)), 0)
            << "width " << n_cols << " plane " << plane << " row " << r;
      }
    }
  }
}

TEST_P(Matmul, MatchesFloat64) {
  std::mt19937 rng(2);
  for (const uint32_t n_cols : test_widths(GetParam())) {
    for (const uint32_t n_rows : {1u, 7u, 8u, 9u, 40u}) {
      const TestMatrix matrix(rng, GetParam(), n_cols, n_rows, 3);
      const TestRows x = random_rows(rng, n_cols, 5);
      for (const KernelTable* table : all_tables()) {
        for (const uint32_t plane : {0u, 2u}) {
          const std::vector<float> out = multiply(*table, matrix, plane, x, 5);
          for (uint32_t i = 0; i < 5; ++i) {
            for (uint32_t r = 0; r < n_rows; ++r) {
              const Expected e = expected(matrix, plane, r, x, i);
              ASSERT_NEAR(out[i * n_rows + r], e.value, bound(matrix, e))
                  << table->isa << " width " << n_cols << " rows " << n_rows << " row " << r;
            }
          }
        }
      }
    }
  }
}

TEST_P(Matmul, AllTablesAgreeInEveryBit) {
  std::mt19937 rng(3);
  for (const uint32_t n_cols : test_widths(GetParam())) {
    for (const uint32_t n_rows : {3u, 8u, 21u}) {
      const TestMatrix matrix(rng, GetParam(), n_cols, n_rows);
      const TestRows x = random_rows(rng, n_cols, 33);
      for (const uint32_t n : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 13u, 16u, 33u}) {
        const std::vector<float> reference = multiply(reference_kernels(), matrix, 0, x, n);
        for (const KernelTable* table : fast_tables()) {
          ASSERT_TRUE(same_bits(reference, multiply(*table, matrix, 0, x, n)))
              << table->isa << " width " << n_cols << " rows " << n_rows << " activations " << n;
        }
      }
    }
  }
}

// What the benchmark measures, with prompts only against the smaller shapes, and few different
// rows, repeated: the reference takes its time.
TEST_P(Matmul, MeasuredCases) {
  constexpr uint32_t kDifferent = 3;
  constexpr uint64_t kMostMacs = 1u << 27;
  std::mt19937 rng(10);
  for (const MatmulShape& shape : kMatmulShapes) {
    const TestMatrix matrix(rng, GetParam(), shape.n_cols, shape.n_rows);
    const TestRows x = random_rows(rng, shape.n_cols, kDifferent);
    const std::vector<float> reference = multiply(reference_kernels(), matrix, 0, x, kDifferent);
    for (const uint32_t n : kRowCounts) {
      if (uint64_t{shape.n_cols} * shape.n_rows * n > kMostMacs) continue;
      std::vector<uint32_t> ids(n);
      for (uint32_t i = 0; i < n; ++i) ids[i] = i % kDifferent;
      for (const KernelTable* table : fast_tables()) {
        const std::vector<float> out = multiply(*table, matrix, 0, x, n, ids.data());
        for (uint32_t i = 0; i < n; ++i) {
          ASSERT_EQ(
              std::memcmp(&out[size_t{i} * shape.n_rows], &reference[size_t{ids[i]} * shape.n_rows],
                          shape.n_rows * sizeof(float)),
              0)
              << table->isa << " " << shape.n_cols << "x" << shape.n_rows << " row " << i << " of "
              << n;
        }
      }
    }
  }
}

// More rows than the second-level cache holds of their quantised form: groups pass by twice.
TEST_P(Matmul, MoreRowsThanABlock) {
  constexpr uint32_t kCols = 4096;
  constexpr uint32_t kActivations = 80;
  static_assert(kActivations * (kCols / kActivationBlockCols) * sizeof(ActivationBlock) >
                384 * 1024);
  std::mt19937 rng(11);
  const TestMatrix matrix(rng, GetParam(), kCols, 21);
  const TestRows x = random_rows(rng, kCols, kActivations);
  const std::vector<float> reference = multiply(reference_kernels(), matrix, 0, x, kActivations);
  for (const KernelTable* table : fast_tables()) {
    ASSERT_TRUE(same_bits(reference, multiply(*table, matrix, 0, x, kActivations))) << table->isa;
  }
}

TEST_P(Matmul, ARowDoesNotDependOnItsNeighbours) {
  std::mt19937 rng(4);
  const uint32_t n_cols = test_widths(GetParam()).back();
  const uint32_t n_rows = 37;
  const TestMatrix matrix(rng, GetParam(), n_cols, n_rows, 2);
  const TestRows x = random_rows(rng, n_cols, 33);
  for (const KernelTable* table : all_tables()) {
    const std::vector<float> all = multiply(*table, matrix, 1, x, 33);
    for (const uint32_t n : {1u, 2u, 3u, 5u, 9u, 17u}) {
      std::vector<uint32_t> ids(n);
      for (uint32_t& id : ids) id = rng() % 33;
      const std::vector<float> some = multiply(*table, matrix, 1, x, n, ids.data());
      for (uint32_t i = 0; i < n; ++i) {
        ASSERT_EQ(std::memcmp(&some[i * n_rows], &all[ids[i] * n_rows], n_rows * sizeof(float)), 0)
            << table->isa << " " << n << " rows";
      }
    }
  }
}

TEST_P(Matmul, WritesOnlyTheGroupsAsked) {
  std::mt19937 rng(5);
  const uint32_t n_cols = test_widths(GetParam()).front();
  const uint32_t n_rows = 29;
  const uint32_t stride = 40;
  const TestMatrix matrix(rng, GetParam(), n_cols, n_rows);
  const TestRows x = random_rows(rng, n_cols, 6);
  for (const KernelTable* table : all_tables()) {
    const std::vector<float> all = multiply(*table, matrix, 0, x, 6);
    for (const auto& [begin, end] : {std::pair{0u, 1u}, std::pair{1u, 3u}, std::pair{3u, 4u},
                                     std::pair{2u, 2u}, std::pair{0u, 4u}}) {
      std::vector<float> out(6 * stride, -5.0f);
      table->matmul(matrix.shape, 0, begin, end, x.view, nullptr, 6, out.data(), stride);
      for (uint32_t i = 0; i < 6; ++i) {
        for (uint32_t r = 0; r < stride; ++r) {
          const bool inside = r >= begin * 8 && r < std::min(end * 8, n_rows);
          ASSERT_EQ(out[i * stride + r], inside ? all[i * n_rows + r] : -5.0f) << table->isa;
        }
      }
    }
  }
}

// Largest quants against largest activations of both signs: nothing saturates or wraps.
TEST_P(Matmul, LargestMagnitudes) {
  std::mt19937 rng(6);
  const uint32_t n_cols = test_widths(GetParam()).back();
  for (const Fill fill : {Fill::ones, Fill::zeros, Fill::random}) {
    std::vector<std::byte> file = file_rows(rng, GetParam(), 16, n_cols, fill);
    if (fill == Fill::zeros && !is_plain(GetParam())) {
      // The lowest code with a scale of 1.
      const FormatTraits& format = format_traits(GetParam());
      const HalfFields fields = half_fields(GetParam());
      for (size_t start = 0; start < file.size(); start += format.block_bytes) {
        const uint16_t one = f32_to_f16(1.0f);
        if (fields.d >= 0) std::memcpy(&file[start + fields.d], &one, 2);
        if (GetParam() == QuantType::Q3_K || GetParam() == QuantType::IQ4_XS) continue;
        if (GetParam() == QuantType::Q6_K) {
          for (int i = 192; i < 208; ++i) file[start + i] = std::byte{0x80};  // scale -128
        }
      }
    }
    const TestMatrix matrix(GetParam(), n_cols, 16, 1, file);
    std::vector<float> dense(size_t{n_cols} * 6);
    for (uint32_t c = 0; c < n_cols; ++c) {
      dense[c] = 1.0f;
      dense[n_cols + c] = -1.0f;
      dense[2 * n_cols + c] = c % 2 != 0 ? 1.0f : -1.0f;
      dense[3 * n_cols + c] = c % 4 < 2 ? 1.0f : -1.0f;
      dense[4 * n_cols + c] = matrix.decoded[c] < 0 ? -1.0f : 1.0f;
      dense[5 * n_cols + c] = matrix.decoded[c] < 0 ? 1.0f : -1.0f;
    }
    const TestRows x(n_cols, 6, dense);
    for (const KernelTable* table : all_tables()) {
      const std::vector<float> out = multiply(*table, matrix, 0, x, 6);
      for (uint32_t i = 0; i < 6; ++i) {
        for (uint32_t r = 0; r < 16; ++r) {
          const Expected e = expected(matrix, 0, r, x, i);
          ASSERT_NEAR(out[i * 16 + r], e.value, bound(matrix, e)) << table->isa << " row " << r;
        }
      }
      ASSERT_TRUE(same_bits(multiply(reference_kernels(), matrix, 0, x, 6), out)) << table->isa;
    }
  }
}

// Q8_0's -128, which encoders avoid and files may hold.
TEST(MatmulQ8, MinusOneHundredTwentyEight) {
  std::vector<std::byte> file(row_bytes(QuantType::Q8_0, 64) * 8, std::byte{0x80});
  const uint16_t one = f32_to_f16(1.0f);
  for (size_t start = 0; start < file.size(); start += 34) std::memcpy(&file[start], &one, 2);
  const TestMatrix matrix(QuantType::Q8_0, 64, 8, 1, file);
  for (const float value : {1.0f, -1.0f}) {
    const TestRows x(64, 1, std::vector<float>(64, value));
    for (const KernelTable* table : all_tables()) {
      for (const float out : multiply(*table, matrix, 0, x, 1)) {
        EXPECT_FLOAT_EQ(out, -128.0f * 64.0f * value) << table->isa;
      }
    }
  }
}

TEST_P(Matmul, ZeroRowsAndNaN) {
  std::mt19937 rng(7);
  const uint32_t n_cols = test_widths(GetParam()).back();
  const TestMatrix matrix(rng, GetParam(), n_cols, 8);
  std::vector<float> dense(size_t{n_cols} * 3, 0.0f);
  dense[n_cols + n_cols / 2] = NAN;
  dense[2 * n_cols + n_cols - 1] = INFINITY;
  const TestRows x(n_cols, 3, dense);
  for (const KernelTable* table : all_tables()) {
    const std::vector<float> out = multiply(*table, matrix, 0, x, 3);
    for (uint32_t r = 0; r < 8; ++r) {
      EXPECT_EQ(out[r], 0.0f) << table->isa;
      EXPECT_TRUE(std::isnan(out[8 + r])) << table->isa;
      EXPECT_FALSE(std::isfinite(out[16 + r])) << table->isa;
    }
    // No activation rows: nothing is touched.
    table->matmul(matrix.shape, 0, 0, 1, x.view, nullptr, 0, nullptr, 0);
  }
}

// Blocks of arbitrary bytes: NaN and infinite scales included.
TEST_P(Matmul, ArbitraryBlocks) {
  std::mt19937 rng(8);
  const uint32_t n_cols = test_widths(GetParam()).back();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::byte> file(row_bytes(GetParam(), n_cols) * 16);
    for (std::byte& byte : file) byte = static_cast<std::byte>(rng() & 255u);
    const TestMatrix matrix(GetParam(), n_cols, 16, 1, file);
    const TestRows x = random_rows(rng, n_cols, 3);
    std::vector<float> row(n_cols);
    for (uint32_t r = 0; r < 16; ++r) {
      decode_row(matrix.shape, 0, r, row.data());
      for (uint32_t c = 0; c < n_cols; ++c) ASSERT_TRUE(same_bits(row[c], matrix.row(0, r)[c]));
    }
    const std::vector<float> reference = multiply(reference_kernels(), matrix, 0, x, 3);
    for (const KernelTable* table : fast_tables()) {
      ASSERT_TRUE(same_bits(reference, multiply(*table, matrix, 0, x, 3))) << table->isa;
    }
  }
}

TEST(QuantizeRow, FollowsItsDefinition) {
  std::mt19937 rng(9);
  for (const float sigma : {1.0f, 1e-30f, 1e30f, 1e-37f}) {
    std::vector<float> x = random_values(rng, 256, sigma);
    for (int i = 32; i < 64; ++i) x[i] = 0;
    x[70] = -0.0f;
    for (int i = 96; i < 128; ++i) x[i] = i % 2 != 0 ? 0.5f * sigma : 127.0f * sigma;  // ties
    x[130] = NAN;
    x[170] = -INFINITY;
    x[200] = 1e-42f;
    std::vector<ActivationBlock> blocks(8);
    reference_kernels().quantize_row(x.data(), 256, blocks.data());
    for (int block = 0; block < 8; ++block) {
      const auto& [scale, sums, q] = blocks[block];
      double amax = 0;
      bool finite = true;
      for (int i = 32 * block; i < 32 * block + 32; ++i) {
        finite = finite && std::isfinite(x[i]);
        amax = std::max(amax, std::abs(static_cast<double>(x[i])));
      }
      int sum[2] = {0, 0};
      for (int i = 32 * block; i < 32 * block + 32; ++i) {
        sum[i / 16 % 2] += q[i % 32];
        EXPECT_GE(q[i % 32], -127);
        if (!finite || amax < 1e-36) {
          EXPECT_EQ(q[i % 32], 0);
        } else {
          EXPECT_NEAR(q[i % 32], x[i] / (amax / 127), 0.5 + 1e-4);
        }
      }
      EXPECT_EQ(sums[0], sum[0]);
      EXPECT_EQ(sums[1], sum[1]);
      if (!finite) {
        EXPECT_TRUE(std::isnan(scale));
      } else if (amax < 1e-36) {
        EXPECT_EQ(scale, 0.0f);
      } else {
        EXPECT_FLOAT_EQ(scale, static_cast<float>(amax) / 127.0f);
      }
    }
    for (const KernelTable* table : fast_tables()) {
      std::vector<ActivationBlock> others(8);
      table->quantize_row(x.data(), 256, others.data());
      for (int block = 0; block < 8; ++block) {
        EXPECT_TRUE(same_block(blocks[block], others[block])) << table->isa << " block " << block;
      }
    }
  }
}

}  // namespace
}  // namespace floe

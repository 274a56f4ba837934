// The device's arithmetic, compiled for the processor: packed weights read word by word as a warp
// reads them give the reference kernels' bits. Needs no card.
#include "cuda/formats.h"

#include "kernels/kernel_cases.h"
#include "kernels/packed_access.h"

namespace floe {
namespace {

// One element of matmul, put together as the card's kernels do: words t and t + 4 of a row, exact
// integer sums of a step, blocks in order.
template <QuantType type>
float multiply_row(const uint8_t* group, uint32_t n_cols, uint32_t row, const ActivationBlock* x) {
  constexpr PackedLayout layout = kPacked<type>;
  float acc = 0.0f;
  const uint8_t* block = group;
  for (uint32_t b = 0; b < n_cols / layout.block_cols(); ++b, block += layout.block_bytes()) {
    cuda::BlockSums sums;
    for (uint32_t s = 0; s < layout.n_steps; ++s, ++x) {
      const uint8_t* step = cuda::step_at<type>(block, s);
      int half_sums[2] = {0, 0};
      for (uint32_t t = 0; t < 4; ++t) {
        const cuda::WordPair words = cuda::decode_words<type>(
            cuda::load_raw<layout.planes>(step + layout.sub_bytes, row, t), t);
        for (uint32_t i = 0; i < 4; ++i) {
          half_sums[0] += static_cast<int8_t>(words.low >> (8 * i)) * x->q[4 * t + i];
          half_sums[1] += static_cast<int8_t>(words.high >> (8 * i)) * x->q[16 + 4 * t + i];
        }
      }
      int p = 0;
      int m = 0;
      for (uint32_t half = 0; half < 2; ++half) {
        p += cuda::sub_scale<type>(step, row, half) *
             (half_sums[half] - layout.offset * x->sums[half]);
        m += cuda::sub_minimum<type>(step, row, half) * x->sums[half];
      }
      sums.add_step<type>(p, m, x->scale);
    }
    const float minimum = layout.has_min ? cuda::block_minimum(block, row) : 0.0f;
    acc = sums.add_to<type>(acc, cuda::block_scale<type>(block, row), minimum);
  }
  return acc;
}

class CardFormats : public testing::TestWithParam<QuantType> {};

TEST_P(CardFormats, WordsGiveTheReferenceBits) {
  std::mt19937 rng(7);
  constexpr uint32_t kCols = 768;
  constexpr uint32_t kRows = 21;
  const TestMatrix matrix(rng, GetParam(), kCols, kRows);
  const std::vector<float> values = random_values(rng, kCols);
  std::vector<ActivationBlock> x(kCols / kActivationBlockCols);
  reference_kernels().quantize_row(values.data(), kCols, x.data());
  std::vector<float> expected(kRows);
  reference_kernels().matmul(matrix.shape, 0, 0, matrix.shape.n_groups,
                             {kCols, kCols, nullptr, x.data()}, nullptr, 1, expected.data(), kRows);
  std::vector<float> found(kRows);
  visit_block_format(GetParam(), [&]<QuantType type>() {
    for (uint32_t r = 0; r < kRows; ++r) {
      const auto* group =
          reinterpret_cast<const uint8_t*>(matrix.shape.group(0, r / kRowsPerGroup));
      found[r] = multiply_row<type>(group, kCols, r % kRowsPerGroup, x.data());
    }
  });
  EXPECT_TRUE(same_bits(found, expected));
}

TEST_P(CardFormats, WeightsDecodeAsOnTheProcessor) {
  std::mt19937 rng(8);
  constexpr uint32_t kCols = 512;
  constexpr uint32_t kRows = 9;
  const TestMatrix matrix(rng, GetParam(), kCols, kRows);
  for (uint32_t r = 0; r < kRows; ++r) {
    std::vector<float> expected(kCols);
    decode_row(matrix.shape, 0, r, expected.data());
    std::vector<float> found(kCols);
    visit_block_format(GetParam(), [&]<QuantType type>() {
      constexpr PackedLayout layout = kPacked<type>;
      const auto* group =
          reinterpret_cast<const uint8_t*>(matrix.shape.group(0, r / kRowsPerGroup));
      for (uint32_t c = 0; c < kCols; ++c) {
        found[c] = cuda::decode_weight<type>(
            group + size_t{c / layout.block_cols()} * layout.block_bytes(), r % kRowsPerGroup,
            c % layout.block_cols() / kStepCols, c % kStepCols);
      }
    });
    EXPECT_TRUE(same_bits(found, expected)) << "row " << r;
  }
}

std::vector<QuantType> block_formats() {
  std::vector<QuantType> formats;
  for (const QuantType type : kAllFormats) {
    if (!is_plain(type)) formats.push_back(type);
  }
  return formats;
}

INSTANTIATE_TEST_SUITE_P(Formats, CardFormats, testing::ValuesIn(block_formats()),
                         [](const auto& format) { return format_traits(format.param).name; });

}  // namespace
}  // namespace floe

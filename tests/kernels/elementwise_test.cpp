#include "kernels/kernel_cases.h"

namespace floe {
namespace {

constexpr uint32_t kLengths[] = {1, 2, 7, 8, 9, 31, 32, 33, 40, 63, 64, 100, 257, 2048};

double sum_of(const std::vector<float>& x) {
  double sum = 0;
  for (const float value : x) sum += value;
  return sum;
}

TEST(RmsNorm, MatchesFloat64AndAllTablesAgree) {
  std::mt19937 rng(1);
  for (const uint32_t n : kLengths) {
    const std::vector<float> x = random_values(rng, n, 3.0f);
    const std::vector<float> weight = random_values(rng, n);
    for (const float* w : {weight.data(), static_cast<const float*>(nullptr)}) {
      double squares = 0;
      for (const float value : x) squares += static_cast<double>(value) * value;
      const double scale = 1.0 / std::sqrt(squares / n + 1e-5);
      std::vector<float> reference(n);
      reference_kernels().rms_norm(x.data(), w, 1e-5f, reference.data(), n);
      for (uint32_t i = 0; i < n; ++i) {
        const double expected = x[i] * scale * (w != nullptr ? w[i] : 1.0f);
        ASSERT_NEAR(reference[i], expected, 1e-6 * std::abs(expected) + 1e-12) << n;
      }
      for (const KernelTable* table : fast_tables()) {
        std::vector<float> out = x;  // in place
        table->rms_norm(out.data(), w, 1e-5f, out.data(), n);
        ASSERT_TRUE(same_bits(reference, out)) << table->isa << " " << n;
      }
    }
  }
}

TEST(LayerNorm, MatchesFloat64AndAllTablesAgree) {
  std::mt19937 rng(2);
  for (const uint32_t n : kLengths) {
    std::vector<float> x = random_values(rng, n, 2.0f);
    for (float& value : x) value += 1.0f;
    const std::vector<float> weight = random_values(rng, n);
    const std::vector<float> bias = random_values(rng, n);
    for (const bool plain : {false, true}) {
      const float* w = plain ? nullptr : weight.data();
      const float* b = plain ? nullptr : bias.data();
      const double mean = sum_of(x) / n;
      double variance = 0;
      for (const float value : x) variance += (value - mean) * (value - mean) / n;
      const double scale = 1.0 / std::sqrt(variance + 1e-5);
      std::vector<float> reference(n);
      reference_kernels().layer_norm(x.data(), w, b, 1e-5f, reference.data(), n);
      for (uint32_t i = 0; i < n; ++i) {
        const double scaled = (x[i] - mean) * scale;
        const double expected = plain ? scaled : scaled * weight[i] + bias[i];
        ASSERT_NEAR(reference[i], expected, 1e-5 * (std::abs(scaled) + 1)) << n;
      }
      for (const KernelTable* table : fast_tables()) {
        std::vector<float> out(n);
        table->layer_norm(x.data(), w, b, 1e-5f, out.data(), n);
        ASSERT_TRUE(same_bits(reference, out)) << table->isa << " " << n;
      }
    }
  }
}

TEST(Rope, MatchesFloat64AndAllTablesAgree) {
  std::mt19937 rng(3);
  for (const uint32_t n_pairs : {1u, 3u, 4u, 7u, 8u, 12u, 16u, 32u, 35u, 64u}) {
    for (const bool interleaved : {false, true}) {
      const std::vector<float> x = random_values(rng, 2 * n_pairs + 5);
      std::vector<float> cos_sin(2 * n_pairs);
      for (uint32_t i = 0; i < n_pairs; ++i) {
        const double angle = 0.37 * (i + 1);
        cos_sin[2 * i] = static_cast<float>(std::cos(angle));
        cos_sin[2 * i + 1] = static_cast<float>(std::sin(angle));
      }
      std::vector<float> reference = x;
      reference_kernels().rope(reference.data(), cos_sin.data(), n_pairs, interleaved);
      for (uint32_t i = 0; i < n_pairs; ++i) {
        const uint32_t a = interleaved ? 2 * i : i;
        const uint32_t b = interleaved ? 2 * i + 1 : i + n_pairs;
        const double c = cos_sin[2 * i];
        const double s = cos_sin[2 * i + 1];
        EXPECT_NEAR(reference[a], x[a] * c - x[b] * s, 1e-6);
        EXPECT_NEAR(reference[b], x[b] * c + x[a] * s, 1e-6);
      }
      for (uint32_t i = 2 * n_pairs; i < x.size(); ++i) EXPECT_EQ(reference[i], x[i]);
      for (const KernelTable* table : fast_tables()) {
        std::vector<float> out = x;
        table->rope(out.data(), cos_sin.data(), n_pairs, interleaved);
        ASSERT_TRUE(same_bits(reference, out)) << table->isa << " " << n_pairs;
      }
    }
  }
}

TEST(Swiglu, MatchesFloat64AndAllTablesAgree) {
  std::mt19937 rng(4);
  for (const uint32_t n : kLengths) {
    std::vector<float> gate = random_values(rng, n, 8.0f);
    gate[0] = n % 2 != 0 ? -100.0f : 100.0f;
    gate[n / 2] = n % 2 != 0 ? -88.0f : 0.0f;
    const std::vector<float> up = random_values(rng, n);
    std::vector<float> reference(n);
    reference_kernels().swiglu(gate.data(), up.data(), reference.data(), n);
    for (uint32_t i = 0; i < n; ++i) {
      const double expected = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
      ASSERT_NEAR(reference[i], expected, 5e-7 * std::abs(expected) + 1e-37);
    }
    for (const KernelTable* table : fast_tables()) {
      std::vector<float> out = gate;
      table->swiglu(out.data(), up.data(), out.data(), n);
      ASSERT_TRUE(same_bits(reference, out)) << table->isa;
      out = up;
      table->swiglu(gate.data(), out.data(), out.data(), n);
      ASSERT_TRUE(same_bits(reference, out)) << table->isa;
    }
  }
}

TEST(SwigluClamped, MatchesFloat64AndAllTablesAgree) {
  std::mt19937 rng(8);
  for (const uint32_t n : kLengths) {
    std::vector<float> gate = random_values(rng, n, 8.0f);
    gate[0] = n % 2 != 0 ? -100.0f : 100.0f;
    gate[n / 2] = n % 2 != 0 ? -60.0f : 0.0f;
    std::vector<float> up = random_values(rng, n, 8.0f);
    up[n / 3] = n % 2 != 0 ? 1e30f : -1e30f;
    std::vector<float> reference(n);
    reference_kernels().swiglu_clamped(gate.data(), up.data(), reference.data(), n);
    for (uint32_t i = 0; i < n; ++i) {
      const double g = std::min<double>(gate[i], 7);
      const double u = std::clamp<double>(up[i], -7, 7);
      const double expected = g / (1 + std::exp(-static_cast<double>(1.702f) * g)) * (u + 1);
      // The exponent and u + 1 are rounded once more than in swiglu.
      const double relative = 5e-7 + std::abs(1.702 * g) * 0x1p-24;
      ASSERT_NEAR(reference[i], expected, relative * std::abs(expected) + 1e-37);
    }
    for (const KernelTable* table : fast_tables()) {
      std::vector<float> out = gate;
      table->swiglu_clamped(out.data(), up.data(), out.data(), n);
      ASSERT_TRUE(same_bits(reference, out)) << table->isa;
      out = up;
      table->swiglu_clamped(gate.data(), out.data(), out.data(), n);
      ASSERT_TRUE(same_bits(reference, out)) << table->isa;
    }
  }
}

TEST(SwigluClamped, NanStays) {
  for (const KernelTable* table : all_tables()) {
    std::vector<float> gate(11, 1.0f);
    std::vector<float> up(11, 2.0f);
    gate[1] = gate[9] = NAN;
    up[2] = up[10] = NAN;
    std::vector<float> out(11);
    table->swiglu_clamped(gate.data(), up.data(), out.data(), 11);
    for (uint32_t i = 0; i < 11; ++i) {
      EXPECT_EQ(std::isnan(out[i]), i == 1 || i == 2 || i == 9 || i == 10)
          << table->isa << " " << i;
    }
  }
}

TEST(AxpyAdd, MatchFloat64AndAllTablesAgree) {
  std::mt19937 rng(5);
  for (const uint32_t n : kLengths) {
    const std::vector<float> a = random_values(rng, n);
    const std::vector<float> b = random_values(rng, n);
    std::vector<float> scaled = b;
    std::vector<float> added = b;
    reference_kernels().axpy(0.3f, a.data(), scaled.data(), n);
    reference_kernels().add(a.data(), added.data(), n);
    for (uint32_t i = 0; i < n; ++i) {
      EXPECT_NEAR(scaled[i], b[i] + 0.3 * a[i], 1e-6);
      EXPECT_EQ(added[i], b[i] + a[i]);
    }
    for (const KernelTable* table : fast_tables()) {
      std::vector<float> out = b;
      table->axpy(0.3f, a.data(), out.data(), n);
      ASSERT_TRUE(same_bits(scaled, out)) << table->isa;
      out = b;
      table->add(a.data(), out.data(), n);
      ASSERT_TRUE(same_bits(added, out)) << table->isa;
    }
  }
}

TEST(Softmax, MatchesFloat64AndAllTablesAgree) {
  std::mt19937 rng(6);
  for (const uint32_t n : kLengths) {
    for (const float sigma : {1.0f, 30.0f}) {
      std::vector<float> x = random_values(rng, n, sigma);
      if (n > 8) x[5] = -INFINITY;
      double max = -INFINITY;
      for (const float value : x) max = std::max<double>(max, value);
      double sum = 0;
      for (const float value : x) sum += std::exp(value - max);
      std::vector<float> reference = x;
      reference_kernels().softmax(reference.data(), n);
      for (uint32_t i = 0; i < n; ++i) {
        const double expected = std::exp(static_cast<double>(x[i]) - max) / sum;
        // x - max is rounded once before the exponential.
        const double relative = 1e-6 + (std::isinf(x[i]) ? 0 : (max - x[i]) * 0x1p-24);
        ASSERT_NEAR(reference[i], expected, relative * expected + 0x1p-149) << n;
      }
      for (const KernelTable* table : fast_tables()) {
        std::vector<float> out = x;
        table->softmax(out.data(), n);
        ASSERT_TRUE(same_bits(reference, out)) << table->isa << " " << n;
      }
    }
  }
}

// Single elements: softmax of (0, x) with x <= 0 is exp(x) / (1 + exp(x)); sweeps exp over its
// range.
TEST(Softmax, ExponentialWithinTwoRoundings) {
  for (const KernelTable* table : all_tables()) {
    for (float x = 0; x > -87.0f; x -= 0.00371f) {
      // Equal weights far below keep the sum at 1 for the second element's ratio.
      float pair[2] = {0.0f, x};
      table->softmax(pair, 2);
      const double e = std::exp(static_cast<double>(x));
      ASSERT_NEAR(pair[1], e / (1 + e), 3.5 * 0x1p-24 * e) << table->isa << " x " << x;
    }
    for (float x = -87.0f; x > -120.0f; x -= 0.0371f) {
      float pair[2] = {0.0f, x};
      table->softmax(pair, 2);
      ASSERT_NEAR(pair[1], std::exp(static_cast<double>(x)), 0x1p-149 + 2e-7 * std::exp(x))
          << table->isa << " x " << x;
    }
  }
}

TEST(Softmax, SpecialValues) {
  for (const KernelTable* table : all_tables()) {
    for (const uint32_t n : {1u, 3u, 8u, 11u, 40u}) {
      std::vector<float> x(n, -INFINITY);
      table->softmax(x.data(), n);
      for (const float value : x) EXPECT_EQ(value, 0.0f) << table->isa;
      x.assign(n, 1.0f);
      x[n - 1] = NAN;
      table->softmax(x.data(), n);
      for (const float value : x) EXPECT_TRUE(std::isnan(value)) << table->isa;
      x.assign(n, -3e38f);
      table->softmax(x.data(), n);
      for (const float value : x) EXPECT_FLOAT_EQ(value, 1.0f / static_cast<float>(n));
    }
  }
}

TEST(StoreKv, ConvertsAsHalfTypesDo) {
  std::mt19937 rng(7);
  for (const uint32_t n : {1u, 7u, 8u, 9u, 64u, 577u}) {
    std::vector<float> x = random_values(rng, n, 100.0f);
    for (uint32_t i = 0; i < n; ++i) {
      if (i % 3 == 0) x[i] = std::bit_cast<float>(static_cast<uint32_t>(rng()));
    }
    for (const KernelTable* table : all_tables()) {
      std::vector<std::byte> halves(2 * n + 1, std::byte{0x5a});
      table->store_kv(x.data(), KvType::F16, halves.data(), n);
      for (uint32_t i = 0; i < n; ++i) {
        uint16_t half;
        std::memcpy(&half, &halves[2 * i], 2);
        EXPECT_EQ(half, f32_to_f16(x[i])) << table->isa << " " << x[i];
      }
      EXPECT_EQ(halves[2 * n], std::byte{0x5a});
      std::vector<float> floats(n);
      table->store_kv(x.data(), KvType::F32, reinterpret_cast<std::byte*>(floats.data()), n);
      EXPECT_EQ(std::memcmp(floats.data(), x.data(), 4 * n), 0);
    }
  }
}

}  // namespace
}  // namespace floe

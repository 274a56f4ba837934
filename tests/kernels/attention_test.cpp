#include <algorithm>

#include "kernels/attend.h"
#include "kernels/kernel_cases.h"

namespace floe {
namespace {

constexpr KvType kTypes[] = {KvType::F32, KvType::F16, KvType::Q8_0};

// Cached vectors of n_slots slots with room between them, and their values as floats.
struct TestCache {
  std::vector<std::byte> storage;
  std::vector<float> values;  // [n_slots][dim]
  KvPlane plane;

  TestCache(std::mt19937& rng, KvType type, uint32_t n_slots, uint32_t dim) {
    const size_t stride = kv_vector_bytes(type, dim) + 24;
    storage.assign(stride * n_slots, std::byte{0xff});  // NaN between the vectors
    values = random_values(rng, size_t{n_slots} * dim);
    plane = {storage.data(), stride, type};
    for (uint32_t s = 0; s < n_slots; ++s) {
      float* vector = &values[size_t{s} * dim];
      const std::byte* stored = &storage[s * stride];
      reference_kernels().store_kv(vector, type, &storage[s * stride], dim);
      reference_kernels().load_kv(&stored, type, 1, dim, vector, dim);
    }
  }

  // Addresses of the slots' vectors.
  std::vector<const std::byte*> vectors(const std::vector<uint32_t>& slots) const {
    std::vector<const std::byte*> list;
    for (const uint32_t slot : slots) list.push_back(plane.base + slot * plane.stride_bytes);
    return list;
  }
};

struct Shape {
  uint32_t n_heads;
  uint32_t n_slots;
  uint32_t dim;
};

constexpr Shape kShapes[] = {
    {1, 1, 64}, {1, 9, 128},  {2, 8, 80},  {3, 17, 64},   {4, 5, 100},   {5, 33, 128},  {7, 3, 7},
    {8, 16, 1}, {16, 40, 72}, {6, 31, 13}, {12, 20, 576}, {3, 10, 1032}, {9, 11, 1027},
};

std::vector<uint32_t> random_slots(std::mt19937& rng, uint32_t n, uint32_t n_cached) {
  std::vector<uint32_t> slots(n);
  for (uint32_t& slot : slots) slot = rng() % n_cached;
  return slots;
}

TEST(AttentionScores, MatchFloat64AndAllTablesAgree) {
  std::mt19937 rng(1);
  for (const KvType type : {KvType::F32, KvType::F16}) {
    for (const auto& [n_heads, n_slots, dim] : kShapes) {
      const TestCache keys(rng, type, 50, dim);
      const std::vector<uint32_t> slots = random_slots(rng, n_slots, 50);
      const std::vector<const std::byte*> vectors = keys.vectors(slots);
      const size_t q_stride = dim + 3;
      const size_t score_stride = n_slots + 2;
      const std::vector<float> q = random_values(rng, n_heads * q_stride);
      std::vector<float> reference(n_heads * score_stride, -9.0f);
      reference_kernels().attn_scores(q.data(), q_stride, n_heads, vectors.data(), type, n_slots,
                                      dim, 0.25f, reference.data(), score_stride);
      for (uint32_t h = 0; h < n_heads; ++h) {
        for (uint32_t t = 0; t < n_slots; ++t) {
          double expected = 0;
          double magnitude = 0;
          for (uint32_t i = 0; i < dim; ++i) {
            const double product =
                static_cast<double>(q[h * q_stride + i]) * keys.values[size_t{slots[t]} * dim + i];
            expected += product;
            magnitude += std::abs(product);
          }
          ASSERT_NEAR(reference[h * score_stride + t], 0.25 * expected,
                      0.25 * magnitude * 0x1p-24 * (dim / 8.0 + 8));
        }
        EXPECT_EQ(reference[h * score_stride + n_slots], -9.0f);
      }
      for (const KernelTable* table : fast_tables()) {
        std::vector<float> out(n_heads * score_stride, -9.0f);
        table->attn_scores(q.data(), q_stride, n_heads, vectors.data(), type, n_slots, dim, 0.25f,
                           out.data(), score_stride);
        ASSERT_TRUE(same_bits(reference, out))
            << table->isa << " heads " << n_heads << " slots " << n_slots << " dim " << dim;
      }
    }
  }
}

TEST(AttentionScores, DoNotDependOnTheOtherHeadsAndSlots) {
  std::mt19937 rng(2);
  const uint32_t dim = 72;
  for (const KvType type : {KvType::F32, KvType::F16}) {
    const TestCache keys(rng, type, 40, dim);
    const std::vector<uint32_t> slots = random_slots(rng, 37, 40);
    const std::vector<const std::byte*> vectors = keys.vectors(slots);
    const std::vector<float> q = random_values(rng, 9 * dim);
    for (const KernelTable* table : all_tables()) {
      std::vector<float> all(9 * 37);
      table->attn_scores(q.data(), dim, 9, vectors.data(), type, 37, dim, 0.5f, all.data(), 37);
      for (uint32_t h = 0; h < 9; ++h) {
        for (uint32_t t = 0; t < 37; ++t) {
          float one = 0;
          table->attn_scores(&q[h * dim], dim, 1, &vectors[t], type, 1, dim, 0.5f, &one, 1);
          ASSERT_TRUE(same_bits(one, all[h * 37 + t])) << table->isa;
        }
      }
    }
  }
}

// Products that underflow to -0 in all lanes: lanes past the end must not turn the sum into 0.
TEST(AttentionScores, NegativeZeroSurvives) {
  const uint32_t dim = 12;
  const std::vector<float> q(3 * dim, 1e-30f);
  const std::vector<float> key(dim, -1e-30f);
  const auto* vector = reinterpret_cast<const std::byte*>(key.data());
  for (const KernelTable* table : all_tables()) {
    for (const uint32_t n_heads : {1u, 2u, 3u}) {
      std::vector<float> scores(n_heads, 1.0f);
      table->attn_scores(q.data(), dim, n_heads, &vector, KvType::F32, 1, dim, 1.0f, scores.data(),
                         1);
      for (const float score : scores) {
        EXPECT_EQ(std::bit_cast<uint32_t>(score), 0x80000000u) << table->isa;
      }
    }
  }
}

TEST(AttentionValues, MatchFloat64AndAllTablesAgree) {
  std::mt19937 rng(3);
  for (const KvType type : {KvType::F32, KvType::F16}) {
    for (const auto& [n_heads, n_slots, dim] : kShapes) {
      const TestCache values(rng, type, 50, dim);
      const std::vector<uint32_t> slots = random_slots(rng, n_slots, 50);
      const std::vector<const std::byte*> vectors = values.vectors(slots);
      const size_t weight_stride = n_slots + 1;
      const size_t out_stride = dim + 5;
      const std::vector<float> weights = random_values(rng, n_heads * weight_stride);
      const std::vector<float> factors = random_values(rng, n_heads);
      const std::vector<float> before = random_values(rng, n_heads * out_stride);
      std::vector<float> reference = before;
      reference_kernels().attn_values(weights.data(), weight_stride, factors.data(), n_heads,
                                      vectors.data(), type, n_slots, dim, reference.data(),
                                      out_stride);
      for (uint32_t h = 0; h < n_heads; ++h) {
        for (uint32_t i = 0; i < dim; ++i) {
          double expected = static_cast<double>(factors[h]) * before[h * out_stride + i];
          double magnitude = std::abs(expected);
          for (uint32_t t = 0; t < n_slots; ++t) {
            const double product = static_cast<double>(weights[h * weight_stride + t]) *
                                   values.values[size_t{slots[t]} * dim + i];
            expected += product;
            magnitude += std::abs(product);
          }
          ASSERT_NEAR(reference[h * out_stride + i], expected, magnitude * 0x1p-24 * (n_slots + 3));
        }
        EXPECT_EQ(reference[h * out_stride + dim], before[h * out_stride + dim]);
      }
      for (const KernelTable* table : fast_tables()) {
        std::vector<float> out = before;
        table->attn_values(weights.data(), weight_stride, factors.data(), n_heads, vectors.data(),
                           type, n_slots, dim, out.data(), out_stride);
        ASSERT_TRUE(same_bits(reference, out))
            << table->isa << " heads " << n_heads << " slots " << n_slots << " dim " << dim;
      }
    }
  }
}

TEST(LoadKv, AllTablesAgreeAndWriteNothingElse) {
  std::mt19937 rng(4);
  for (const KvType type : kTypes) {
    for (const uint32_t dim : {1u, 7u, 8u, 31u, 32u, 33u, 40u, 71u, 128u, 576u}) {
      const TestCache cache(rng, type, 9, dim);
      const std::vector<uint32_t> slots = random_slots(rng, 11, 9);
      const std::vector<const std::byte*> vectors = cache.vectors(slots);
      for (const KernelTable* table : all_tables()) {
        std::vector<float> tile(11 * (dim + 2), -9.0f);
        table->load_kv(vectors.data(), type, 11, dim, tile.data(), dim + 2);
        for (uint32_t t = 0; t < 11; ++t) {
          const float* vector = &tile[t * (dim + 2)];
          ASSERT_EQ(std::memcmp(vector, &cache.values[size_t{slots[t]} * dim], 4 * dim), 0)
              << table->isa << " dim " << dim;
          EXPECT_EQ(vector[dim], -9.0f);
          EXPECT_EQ(vector[dim + 1], -9.0f);
        }
      }
    }
  }
}

TEST(SoftmaxBlock, BlocksAddUpToASoftmaxAndAllTablesAgree) {
  std::mt19937 rng(5);
  for (const uint32_t n : {1u, 5u, 8u, 29u, 32u}) {
    const uint32_t n_heads = 21;  // no whole vectors of factors
    const uint32_t n_blocks = 4;
    std::vector<std::vector<float>> blocks;
    for (uint32_t b = 0; b < n_blocks; ++b)
      blocks.push_back(random_values(rng, n_heads * 32, 9.0f));
    std::vector<float> reference_sums;
    for (const KernelTable* table : all_tables()) {
      std::vector<float> maxima(n_heads, -INFINITY);
      std::vector<float> sums(n_heads, 0.0f);
      std::vector<float> factors(n_heads);
      std::vector<double> values(n_heads, 0.0);  // what position b * n + t holds, weighted
      for (uint32_t b = 0; b < n_blocks; ++b) {
        std::vector<float> x = blocks[b];
        table->softmax_block(x.data(), 32, n_heads, n, maxima.data(), sums.data(), factors.data());
        for (uint32_t h = 0; h < n_heads; ++h) {
          values[h] *= factors[h];
          for (uint32_t t = 0; t < n; ++t) values[h] += (b * n + t) * double{x[h * 32 + t]};
          if (n < 32) {
            EXPECT_EQ(x[h * 32 + n], blocks[b][h * 32 + n]);
          }
        }
      }
      for (uint32_t h = 0; h < n_heads; ++h) {
        double sum = 0;
        double value = 0;
        for (uint32_t b = 0; b < n_blocks; ++b) {
          for (uint32_t t = 0; t < n; ++t) {
            const double weight = std::exp(double{blocks[b][h * 32 + t]} - maxima[h]);
            EXPECT_LE(weight, 1.0);
            sum += weight;
            value += (b * n + t) * weight;
          }
        }
        EXPECT_NEAR(sums[h], sum, 4e-6 * sum) << table->isa;
        EXPECT_NEAR(values[h], value, 4e-6 * value) << table->isa;
      }
      if (reference_sums.empty()) reference_sums = sums;
      EXPECT_TRUE(same_bits(reference_sums, sums)) << table->isa << " n " << n;
    }
  }
}

TEST(SoftmaxBlock, KeepsNaNAndTakesNothing) {
  for (const KernelTable* table : all_tables()) {
    for (const uint32_t n : {3u, 32u}) {
      // Head 0 has a NaN, head 1 nothing but -infinity, head 2 is sane.
      std::vector<float> x(3 * 32, 1.0f);
      x[1] = NAN;
      for (uint32_t t = 0; t < n; ++t) x[32 + t] = -INFINITY;
      std::vector<float> maxima(3, -INFINITY);
      std::vector<float> sums(3, 0.0f);
      std::vector<float> factors(3);
      table->softmax_block(x.data(), 32, 3, n, maxima.data(), sums.data(), factors.data());
      EXPECT_TRUE(std::isnan(sums[0])) << table->isa;
      EXPECT_EQ(maxima[0], 1.0f);
      EXPECT_EQ(sums[1], 0.0f);
      EXPECT_EQ(x[32], 0.0f);
      EXPECT_EQ(sums[2], static_cast<float>(n));
    }
  }
}

// Rows of one sequence over a cache, and what attend() makes of them.
struct Attention {
  uint32_t n_rows;
  uint32_t n_heads;
  uint32_t key_dim;
  uint32_t value_dim;
  TestCache keys;
  TestCache values;
  std::vector<uint32_t> slots;
  std::vector<float> q;
  std::vector<float> sinks;  // of the heads; empty: none
  bool values_in_keys;
  bool over_spans = false;  // rows see up to 2500 positions, which take turns at the slots

  Attention(std::mt19937& rng, uint32_t rows, uint32_t heads, uint32_t kd, uint32_t vd, KvType kt,
            KvType vt, bool in_keys)
      : n_rows(rows),
        n_heads(heads),
        key_dim(kd),
        value_dim(vd),
        keys(rng, kt, 120, kd),
        values(rng, vt, 120, vd),
        slots(random_slots(rng, 110, 120)),
        q(random_values(rng, size_t{rows} * heads * kd)),
        values_in_keys(in_keys) {}

  AttendRow row(uint32_t r, std::vector<float>& out) const {
    const uint32_t first[2][5] = {{0, 0, 31, 33, 40}, {0, 0, 1023, 1030, 2060}};
    const uint32_t end[2][5] = {{1, 63, 64, 100, 110}, {1024, 1025, 2048, 2100, 2500}};
    return {&q[size_t{r} * n_heads * key_dim], &out[size_t{r} * n_heads * value_dim],
            first[over_spans][r % 5], end[over_spans][r % 5]};
  }

  void see_spans() {
    over_spans = true;
    for (size_t p = 0; slots.size() < 2500; ++p) slots.push_back(slots[p]);
  }

  SharedHeads shared_heads(uint32_t head, uint32_t heads) const {
    SharedHeads shared;
    shared.n_heads = heads;
    shared.keys = keys.plane;
    if (!values_in_keys) shared.values = values.plane;
    shared.key_dim = key_dim;
    shared.value_dim = value_dim;
    shared.scale = 0.3f;
    if (!sinks.empty()) shared.sinks = &sinks[head];
    shared.q_stride = key_dim;
    shared.out_stride = value_dim;
    return shared;
  }

  // Rows [begin, begin + n) and heads [head, head + heads) in one call.
  void run(const KernelTable& table, uint32_t begin, uint32_t n, uint32_t head, uint32_t heads,
           std::vector<float>& out) const {
    const SharedHeads shared = shared_heads(head, heads);
    std::vector<AttendRow> rows;
    for (uint32_t r = begin; r < begin + n; ++r) {
      rows.push_back(row(r, out));
      rows.back().q += size_t{head} * key_dim;
      rows.back().out += size_t{head} * value_dim;
    }
    std::vector<float> memory(AttendScratch::size(key_dim, value_dim), NAN);
    attend(table, shared, slots.data(), rows, AttendScratch(memory.data(), key_dim, value_dim));
  }

  // All rows and heads, a span at a time from the last to the first.
  void run_in_spans(const KernelTable& table, std::vector<float>& out) const {
    const SharedHeads shared = shared_heads(0, n_heads);
    const uint32_t n_spans = count_spans(static_cast<uint32_t>(slots.size()));
    const size_t row_parts = size_t{n_heads} * n_spans * attend_part_size(value_dim);
    std::vector<float> parts(n_rows * row_parts, NAN);
    std::vector<AttendRow> rows;
    for (uint32_t r = 0; r < n_rows; ++r) {
      rows.push_back(row(r, out));
      rows.back().out = &parts[r * row_parts];
    }
    std::vector<float> memory(AttendScratch::size(key_dim, value_dim), NAN);
    for (uint32_t span = n_spans; span-- > 0;) {
      attend_span(table, shared, slots.data(), rows, span, n_spans,
                  AttendScratch(memory.data(), key_dim, value_dim));
    }
    for (uint32_t r = 0; r < n_rows; ++r) {
      join_spans(table, shared, &parts[r * row_parts], n_spans, row(r, out));
    }
  }

  double expected(uint32_t r, uint32_t h, uint32_t i) const {
    std::vector<float> unused(size_t{n_rows} * n_heads * value_dim);
    const AttendRow at = row(r, unused);
    std::vector<double> scores;
    for (uint32_t p = at.first; p < at.end; ++p) {
      double dot = 0;
      for (uint32_t k = 0; k < key_dim; ++k) {
        dot += double{at.q[size_t{h} * key_dim + k]} * keys.values[size_t{slots[p]} * key_dim + k];
      }
      scores.push_back(0.3 * dot);
    }
    double max = *std::max_element(scores.begin(), scores.end());
    if (!sinks.empty()) max = std::max(max, double{sinks[h]});
    double sum = sinks.empty() ? 0 : std::exp(sinks[h] - max);
    double value = 0;
    for (uint32_t p = at.first; p < at.end; ++p) {
      const double weight = std::exp(scores[p - at.first] - max);
      const TestCache& cache = values_in_keys ? keys : values;
      const uint32_t stride = values_in_keys ? key_dim : value_dim;
      sum += weight;
      value += weight * cache.values[size_t{slots[p]} * stride + i];
    }
    return value / sum;
  }
};

TEST(Attend, RowsAndHeadsTogetherAreAsAlone) {
  std::mt19937 rng(6);
  struct Case {
    uint32_t n_rows, n_heads, key_dim, value_dim;
    bool values_in_keys, has_sinks, over_spans;
  };
  for (const Case& c : {Case{5, 8, 64, 40, false, false, false},
                        {5, 8, 64, 64, false, true, false},
                        {5, 1, 33, 7, false, false, false},
                        {5, 12, 72, 64, true, false, false},
                        {5, 3, 40, 24, false, true, true},
                        {5, 3, 40, 32, true, false, true}}) {
    for (const KvType key_type : kTypes) {
      for (const KvType value_type : kTypes) {
        if (c.values_in_keys && value_type != key_type) continue;
        Attention attention(rng, c.n_rows, c.n_heads, c.key_dim, c.value_dim, key_type, value_type,
                            c.values_in_keys);
        if (c.has_sinks) attention.sinks = random_values(rng, c.n_heads, 4.0f);
        if (c.over_spans) attention.see_spans();
        const size_t n_out = size_t{c.n_rows} * c.n_heads * c.value_dim;
        std::vector<float> reference(n_out, NAN);
        attention.run(reference_kernels(), 0, c.n_rows, 0, c.n_heads, reference);
        for (uint32_t r = 0; r < c.n_rows; ++r) {
          for (uint32_t i = 0; i < c.value_dim; ++i) {
            const uint32_t h = i % c.n_heads;
            EXPECT_NEAR(reference[(size_t{r} * c.n_heads + h) * c.value_dim + i],
                        attention.expected(r, h, i), 1e-5);
          }
        }
        for (const KernelTable* table : all_tables()) {
          std::vector<float> together(n_out, NAN);
          attention.run(*table, 0, c.n_rows, 0, c.n_heads, together);
          ASSERT_TRUE(same_bits(reference, together)) << table->isa;
          std::vector<float> alone(n_out, NAN);
          for (uint32_t r = 0; r < c.n_rows; ++r) {
            for (uint32_t h = 0; h < c.n_heads; ++h) attention.run(*table, r, 1, h, 1, alone);
          }
          ASSERT_TRUE(same_bits(reference, alone)) << table->isa;
          std::vector<float> in_spans(n_out, NAN);
          attention.run_in_spans(*table, in_spans);
          ASSERT_TRUE(same_bits(reference, in_spans)) << table->isa;
        }
      }
    }
  }
}

TEST(Attend, NothingSeenGivesZeros) {
  std::mt19937 rng(7);
  const Attention attention(rng, 1, 2, 16, 8, KvType::F16, KvType::F16, false);
  SharedHeads shared{2, attention.keys.plane, attention.values.plane, 16, 8, 1.0f, nullptr, 16, 8};
  std::vector<float> out(16, NAN);
  std::vector<float> memory(AttendScratch::size(16, 8));
  const AttendRow row{attention.q.data(), out.data(), 0, 0};
  attend(kernels(), shared, attention.slots.data(), {&row, 1}, AttendScratch(memory.data(), 16, 8));
  for (const float value : out) EXPECT_EQ(value, 0.0f);
}

TEST(StoreKv, QuantisedVectorsStayWithinHalfAStep) {
  std::mt19937 rng(8);
  for (const uint32_t n : {1u, 31u, 32u, 40u, 576u}) {
    for (const float sigma : {1e-9f, 1e-4f, 1.0f, 1e4f}) {
      const std::vector<float> x = random_values(rng, n, sigma);
      const size_t size = kv_vector_bytes(KvType::Q8_0, n);
      std::vector<std::byte> reference(size);
      reference_kernels().store_kv(x.data(), KvType::Q8_0, reference.data(), n);
      const std::byte* vector = reference.data();
      std::vector<float> back(n);
      reference_kernels().load_kv(&vector, KvType::Q8_0, 1, n, back.data(), n);
      for (uint32_t begin = 0; begin < n; begin += 32) {
        float largest = 0;
        const uint32_t end = std::min(n, begin + 32);
        for (uint32_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(x[i]));
        // Half a step, the scale's own rounding at 127 steps, and half of f16's smallest number.
        const float bound = largest * (0.5f / 127 + 0x1p-11f) + 127 * 0x1p-25f;
        for (uint32_t i = begin; i < end; ++i) EXPECT_NEAR(back[i], x[i], bound);
      }
      for (const KernelTable* table : fast_tables()) {
        std::vector<std::byte> out(size + 1, std::byte{0x5a});
        table->store_kv(x.data(), KvType::Q8_0, out.data(), n);
        EXPECT_EQ(std::memcmp(out.data(), reference.data(), size), 0) << table->isa << " " << n;
        EXPECT_EQ(out[size], std::byte{0x5a});
      }
    }
  }
}

TEST(StoreKv, QuantisedValuesBeyondTheLargestScaleAreCut) {
  std::vector<float> x(32, 1e9f);
  x[1] = -1e9f;
  x[2] = -3e38f;
  x[3] = 65504.0f * 3;
  for (const KernelTable* table : all_tables()) {
    std::vector<std::byte> stored(34);
    table->store_kv(x.data(), KvType::Q8_0, stored.data(), 32);
    const std::byte* vector = stored.data();
    std::vector<float> back(32);
    table->load_kv(&vector, KvType::Q8_0, 1, 32, back.data(), 32);
    EXPECT_EQ(back[0], 65504.0f * 127) << table->isa;
    EXPECT_EQ(back[1], -65504.0f * 127) << table->isa;
    EXPECT_EQ(back[2], -65504.0f * 127) << table->isa;
    EXPECT_EQ(back[3], 65504.0f * 3) << table->isa;
  }
}

TEST(StoreKv, QuantisedNaNAndInfinitySpoilTheirBlock) {
  for (const KernelTable* table : all_tables()) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> x(64, 1.0f);
      x[40] = bad;
      std::vector<std::byte> stored(68);
      table->store_kv(x.data(), KvType::Q8_0, stored.data(), 64);
      const std::byte* vector = stored.data();
      std::vector<float> back(64);
      table->load_kv(&vector, KvType::Q8_0, 1, 64, back.data(), 64);
      EXPECT_NEAR(back[31], 1.0f, 0x1p-10f);
      EXPECT_TRUE(std::isnan(back[32]) && std::isnan(back[63])) << table->isa;
    }
  }
}

TEST(IndexerScores, MatchFloat64AndAllTablesAgree) {
  std::mt19937 rng(5);
  for (const KvType type : {KvType::F32, KvType::F16}) {
    for (const auto& [n_heads, n_slots, dim] : kShapes) {
      const TestCache keys(rng, type, 50, dim);
      const std::vector<uint32_t> slots = random_slots(rng, n_slots, 50);
      const std::vector<float> q = random_values(rng, size_t{n_heads} * dim);
      const std::vector<float> head_weights = random_values(rng, n_heads);
      const std::vector<const std::byte*> vectors = keys.vectors(slots);
      std::vector<float> reference(n_slots);
      reference_kernels().indexer_scores(q.data(), head_weights.data(), n_heads, vectors.data(),
                                         type, n_slots, dim, reference.data());
      for (uint32_t t = 0; t < n_slots; ++t) {
        double expected = 0;
        double magnitude = 0;
        for (uint32_t h = 0; h < n_heads; ++h) {
          double product = 0;
          for (uint32_t i = 0; i < dim; ++i) {
            const double term = static_cast<double>(q[size_t{h} * dim + i]) *
                                keys.values[size_t{slots[t]} * dim + i];
            product += term;
            magnitude += std::abs(term * head_weights[h]);
          }
          if (product > 0) expected += product * head_weights[h];
        }
        ASSERT_NEAR(reference[t], expected, magnitude * 0x1p-24 * (dim / 8.0 + n_heads + 8));
      }
      for (const KernelTable* table : fast_tables()) {
        std::vector<float> out(n_slots);
        table->indexer_scores(q.data(), head_weights.data(), n_heads, vectors.data(), type, n_slots,
                              dim, out.data());
        ASSERT_TRUE(same_bits(reference, out)) << table->isa << " heads " << n_heads;
      }
    }
  }
}

}  // namespace
}  // namespace floe

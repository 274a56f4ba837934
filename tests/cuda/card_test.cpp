// The card's kernels against the reference kernels, bit by bit. Skipped where there is no card.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <set>
#include <span>

#include "cuda/cards.h"
#include "cuda/launch.h"
#include "kernels/attend.h"
#include "kernels/kernel_cases.h"
#include "model/router.h"

namespace floe {
namespace {

// Bytes on the card, from and to the host.
template <typename T>
class OnCard {
 public:
  explicit OnCard(size_t n) : n_(n) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T) + 256), cudaSuccess);
    cudaMemset(data_, 0xa5, n * sizeof(T) + 256);  // what nobody writes shows
  }
  explicit OnCard(std::span<const T> host) : OnCard(host.size()) {
    cudaMemcpy(data_, host.data(), host.size_bytes(), cudaMemcpyHostToDevice);
  }
  ~OnCard() { cudaFree(data_); }
  OnCard(const OnCard&) = delete;
  OnCard& operator=(const OnCard&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> host(n_);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(host.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t n_;
};

template <typename T>
OnCard<T> upload(const std::vector<T>& host) {
  return OnCard<T>(std::span<const T>(host));
}

#define SKIP_WITHOUT_CARD() \
  if (list_cards().empty()) GTEST_SKIP() << "no card"

cuda::Matrix on_card(const PackedMatrix& shape, const OnCard<std::byte>& data) {
  cuda::Matrix matrix;
  matrix.type = shape.type;
  matrix.n_cols = shape.n_cols;
  matrix.n_rows = shape.n_rows;
  matrix.n_groups = shape.n_groups;
  matrix.group_bytes = shape.group_bytes;
  matrix.plane_bytes = shape.plane_bytes();
  matrix.data = reinterpret_cast<const uint8_t*>(data.data());
  return matrix;
}

// Activation rows in both forms, on the host and on the card.
struct Rows {
  std::vector<float> values;
  std::vector<ActivationBlock> q8;
  uint32_t n_cols, stride;

  Rows(std::mt19937& rng, uint32_t n_rows, uint32_t cols)
      : values(size_t{n_rows} * ((cols + 31) & ~31u)), n_cols(cols), stride((cols + 31) & ~31u) {
    q8.resize(values.size() / kActivationBlockCols);
    for (uint32_t r = 0; r < n_rows; ++r) {
      const std::vector<float> row = random_values(rng, cols);
      std::copy(row.begin(), row.end(), values.begin() + size_t{r} * stride);
      reference_kernels().quantize_row(values.data() + size_t{r} * stride, stride,
                                       q8.data() + size_t{r} * stride / kActivationBlockCols);
    }
  }
  ActivationRows view() const { return {n_cols, stride, values.data(), q8.data()}; }
};

class CardMatmul : public testing::TestWithParam<QuantType> {};

TEST_P(CardMatmul, OneMatrix) {
  SKIP_WITHOUT_CARD();
  std::mt19937 rng(1);
  for (const MatmulShape shape :
       {MatmulShape{2048, 768}, {768, 2048}, {256, 21}, {4608, 40}, {1088, 40}, {256, 11300}}) {
    if (shape.n_cols % format_traits(GetParam()).block_elems != 0) continue;
    const TestMatrix matrix(rng, GetParam(), shape.n_cols, shape.n_rows);
    const OnCard<std::byte> data(std::span(matrix.shape.data, matrix.shape.size_bytes()));
    const std::vector<float> bias = random_values(rng, shape.n_rows);
    const auto card_bias = upload(bias);
    // The last shape is for kernels that many tiles choose.
    for (const uint32_t n : {1u, 2u, 5u, 8u, 9u, 16u, 17u, 33u, 70u}) {
      if (shape.n_rows > 10000 && n > 9) continue;
      const Rows x(rng, n, shape.n_cols);
      const auto values = upload(x.values);
      const auto q8 = upload(x.q8);
      std::vector<float> expected(size_t{n} * shape.n_rows);
      reference_kernels().matmul(matrix.shape, 0, 0, matrix.shape.n_groups, x.view(), nullptr, n,
                                 expected.data(), shape.n_rows);
      for (uint32_t i = 0; i < n; ++i) {
        reference_kernels().add(bias.data(), expected.data() + size_t{i} * shape.n_rows,
                                shape.n_rows);
      }
      const OnCard<float> out(expected.size());
      const cuda::Product product{on_card(matrix.shape, data), out.data(), shape.n_rows,
                                  card_bias.data()};
      cuda::PlaneRows rows;
      rows.n = n;
      cuda::matmul(nullptr, &product, 1, {x.n_cols, x.stride, values.data(), q8.data()}, rows);
      EXPECT_TRUE(same_bits(out.read(), expected))
          << shape.n_cols << " x " << shape.n_rows << ", " << n << " rows";
    }
  }
}

TEST_P(CardMatmul, Experts) {
  SKIP_WITHOUT_CARD();
  std::mt19937 rng(2);
  constexpr uint32_t kExperts = 6;
  constexpr uint32_t kCols = 512;
  constexpr uint32_t kWidth = 72;
  const TestMatrix matrix(rng, GetParam(), kCols, kWidth, kExperts);
  const OnCard<std::byte> data(std::span(matrix.shape.data, matrix.shape.size_bytes()));
  for (const uint32_t n_rows : {3u, 50u}) {
    const Rows x(rng, n_rows, kCols);
    const auto values = upload(x.values);
    const auto q8 = upload(x.q8);
    // Expert 2 has nobody, expert 4 most.
    std::vector<uint32_t> begin(kExperts + 1);
    std::vector<uint32_t> used;
    std::vector<uint32_t> row_of_pair;
    for (uint32_t e = 0; e < kExperts; ++e) {
      const uint32_t n = e == 2 ? 0 : e == 4 ? n_rows : (n_rows + e) / 2;
      for (uint32_t i = 0; i < n; ++i) row_of_pair.push_back((i * 7 + e) % n_rows);
      begin[e + 1] = static_cast<uint32_t>(row_of_pair.size());
      if (n != 0) used.push_back(e);
    }
    std::vector<float> expected(row_of_pair.size() * kWidth);
    for (const uint32_t e : used) {
      reference_kernels().matmul(matrix.shape, e, 0, matrix.shape.n_groups, x.view(),
                                 row_of_pair.data() + begin[e], begin[e + 1] - begin[e],
                                 expected.data() + size_t{begin[e]} * kWidth, kWidth);
    }
    const OnCard<float> out(expected.size());
    const auto card_begin = upload(begin);
    const auto card_used = upload(used);
    const auto card_pairs = upload(row_of_pair);
    const auto n_used = upload(std::vector<uint32_t>{static_cast<uint32_t>(used.size())});
    const cuda::Product product{on_card(matrix.shape, data), out.data(), kWidth};
    cuda::PlaneRows rows;
    rows.kind = cuda::PlaneRows::Kind::experts;
    rows.n = n_rows;
    rows.n_planes = kExperts;
    rows.used = card_used.data();
    rows.n_used = n_used.data();
    rows.begin = card_begin.data();
    rows.row_of_pair = card_pairs.data();
    cuda::matmul(nullptr, &product, 1, {x.n_cols, x.stride, values.data(), q8.data()}, rows);
    EXPECT_TRUE(same_bits(out.read(), expected)) << n_rows << " rows";
  }
}

// Gate and up of experts (and, with one plane, of a network for all rows), activated.
TEST_P(CardMatmul, Gated) {
  SKIP_WITHOUT_CARD();
  std::mt19937 rng(7);
  constexpr uint32_t kExperts = 3;
  constexpr uint32_t kCols = 512;
  constexpr uint32_t kWidth = 72;
  constexpr uint32_t kStride = 96;
  const TestMatrix gate(rng, GetParam(), kCols, kWidth, kExperts);
  const TestMatrix up(rng, GetParam(), kCols, kWidth, kExperts);
  const OnCard<std::byte> gate_data(std::span(gate.shape.data, gate.shape.size_bytes()));
  const OnCard<std::byte> up_data(std::span(up.shape.data, up.shape.size_bytes()));
  const std::vector<float> bias = random_values(rng, kExperts * kWidth);
  const auto card_bias = upload(bias);
  for (const uint32_t n_rows : {1u, 6u, 20u, 40u}) {
    for (const bool experts : {false, true}) {
      const Rows x(rng, n_rows, kCols);
      const auto values = upload(x.values);
      const auto q8 = upload(x.q8);
      // Expert 1 has nobody, expert 2 everybody.
      const std::vector<uint32_t> begin =
          experts ? std::vector<uint32_t>{0, 1, 1, 1 + n_rows} : std::vector<uint32_t>{0, n_rows};
      std::vector<uint32_t> row_of_pair;
      if (experts) row_of_pair.push_back(n_rows - 1);
      for (uint32_t i = 0; i < n_rows; ++i) row_of_pair.push_back(i);
      const size_t n_pairs = row_of_pair.size();
      const bool clamped = experts;
      std::vector<float> gates(n_pairs * kStride);
      std::vector<float> ups(n_pairs * kStride);
      for (uint32_t e = 0; e + 1 < begin.size(); ++e) {
        for (const auto& [matrix, out] : {std::pair(&gate, &gates), std::pair(&up, &ups)}) {
          reference_kernels().matmul(matrix->shape, e, 0, matrix->shape.n_groups, x.view(),
                                     row_of_pair.data() + begin[e], begin[e + 1] - begin[e],
                                     out->data() + size_t{begin[e]} * kStride, kStride);
        }
        for (uint32_t i = begin[e]; i < begin[e + 1]; ++i) {
          reference_kernels().add(bias.data() + e * kWidth, gates.data() + i * kStride, kWidth);
        }
      }
      const auto activate =
          clamped ? reference_kernels().swiglu_clamped : reference_kernels().swiglu;
      std::vector<ActivationBlock> expected(n_pairs * kStride / 32);
      for (size_t i = 0; i < n_pairs; ++i) {
        float* row = gates.data() + i * kStride;
        activate(row, ups.data() + i * kStride, row, kWidth);
        std::fill(row + kWidth, row + kStride, 0.0f);
        reference_kernels().quantize_row(row, kStride, expected.data() + i * kStride / 32);
      }
      const auto card_begin = upload(begin);
      const auto card_used = upload(std::vector<uint32_t>{0, 2});
      const auto card_pairs = upload(row_of_pair);
      const auto n_used = upload(std::vector<uint32_t>{2});
      cuda::PlaneRows rows;
      rows.n = n_rows;
      if (experts) {
        rows.kind = cuda::PlaneRows::Kind::experts;
        rows.n_planes = kExperts;
        rows.used = card_used.data();
        rows.n_used = n_used.data();
        rows.begin = card_begin.data();
        rows.row_of_pair = card_pairs.data();
      }
      const auto card_gates = upload(std::vector<float>(n_pairs * kStride));
      const auto card_ups = upload(std::vector<float>(n_pairs * kStride));
      const OnCard<ActivationBlock> card_q8(expected.size());
      const cuda::Product gate_product{on_card(gate.shape, gate_data), card_gates.data(), kStride,
                                       card_bias.data()};
      const cuda::Product up_product{on_card(up.shape, up_data), card_ups.data(), kStride};
      const cuda::GatedRows out{card_gates.data(), card_q8.data(), kStride, clamped};
      cuda::matmul_gated(nullptr, gate_product, up_product,
                         {x.n_cols, x.stride, values.data(), q8.data()}, rows,
                         static_cast<uint32_t>(n_pairs), out);
      const std::vector<ActivationBlock> found = card_q8.read();
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_TRUE(same_block(found[i], expected[i])) << n_rows << " rows, block " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, CardMatmul, testing::ValuesIn(kAllFormats),
                         [](const auto& format) { return format_traits(format.param).name; });

TEST(CardRows, NormAndEightBitForm) {
  SKIP_WITHOUT_CARD();
  std::mt19937 rng(3);
  for (const uint32_t n : {7u, 32u, 96u, 100u, 2048u, 6144u}) {
    constexpr uint32_t kRows = 3;
    const uint32_t stride = (n + 31) & ~31u;
    std::vector<float> hidden = random_values(rng, kRows * n);
    hidden[n] = INFINITY;
    const std::vector<float> branch = random_values(rng, kRows * n);
    const std::vector<float> weight = random_values(rng, n);
    std::vector<float> sums = hidden;
    std::vector<float> normed(kRows * stride);
    std::vector<ActivationBlock> q8(kRows * stride / 32);
    for (uint32_t r = 0; r < kRows; ++r) {
      reference_kernels().add(branch.data() + r * n, sums.data() + r * n, n);
      reference_kernels().rms_norm(sums.data() + r * n, weight.data(), 1e-6f,
                                   normed.data() + r * stride, n);
      reference_kernels().quantize_row(normed.data() + r * stride, stride,
                                       q8.data() + r * stride / 32);
    }
    const auto card_hidden = upload(hidden);
    const auto card_branch = upload(branch);
    const auto card_weight = upload(weight);
    const auto out = upload(std::vector<float>(kRows * stride));
    const OnCard<ActivationBlock> card_q8(q8.size());
    cuda::FinishRow what;
    what.n = n;
    what.hidden = card_hidden.data();
    what.branch = card_branch.data();
    what.norm = card_weight.data();
    what.eps = 1e-6f;
    what.out = out.data();
    what.out_stride = stride;
    what.q8 = card_q8.data();
    cuda::finish_rows(nullptr, what, kRows);
    EXPECT_TRUE(same_bits(card_hidden.read(), sums)) << n;
    EXPECT_TRUE(same_bits(out.read(), normed)) << n;
    const std::vector<ActivationBlock> found = card_q8.read();
    for (size_t i = 0; i < q8.size(); ++i)
      EXPECT_TRUE(same_block(found[i], q8[i])) << n << ", " << i;
  }
}

TEST(CardRows, Activations) {
  SKIP_WITHOUT_CARD();
  std::mt19937 rng(4);
  constexpr uint32_t kCols = 100;
  constexpr uint32_t kStride = 128;
  std::vector<float> gate = random_values(rng, 2 * kStride, 20.0f);
  const std::vector<float> up = random_values(rng, 2 * kStride, 5.0f);
  gate[3] = NAN;
  gate[4] = -INFINITY;
  for (const bool clamped : {false, true}) {
    std::vector<float> expected = gate;
    const auto activate = clamped ? reference_kernels().swiglu_clamped : reference_kernels().swiglu;
    for (uint32_t r = 0; r < 2; ++r) {
      activate(gate.data() + r * kStride, up.data() + r * kStride, expected.data() + r * kStride,
               kCols);
    }
    const auto card_gate = upload(gate);
    const auto card_up = upload(up);
    cuda::activate_rows(nullptr, card_gate.data(), card_up.data(), kCols, kStride, clamped, nullptr,
                        2);
    EXPECT_TRUE(same_bits(card_gate.read(), expected)) << clamped;
  }
}

// Every type of cache, windows, sinks, one or several spans, slots out of order.
TEST(CardAttention, OverCachedPositions) {
  SKIP_WITHOUT_CARD();
  std::mt19937 rng(5);
  constexpr uint32_t kHeads = 4;
  constexpr uint32_t kSlots = 3000;
  constexpr uint32_t kDim = 64;
  for (const KvType type : {KvType::F32, KvType::F16, KvType::Q8_0}) {
    const size_t stride = kv_vector_bytes(type, kDim);
    std::vector<std::byte> keys(kSlots * stride);
    std::vector<std::byte> values(kSlots * stride);
    for (std::vector<std::byte>* plane : {&keys, &values}) {
      for (uint32_t s = 0; s < kSlots; ++s) {
        const std::vector<float> vector = random_values(rng, kDim);
        reference_kernels().store_kv(vector.data(), type, plane->data() + s * stride, kDim);
      }
    }
    std::vector<uint32_t> slots(kSlots);
    for (uint32_t i = 0; i < kSlots; ++i) slots[i] = (i * 1571u) % kSlots;
    const std::vector<float> sinks = random_values(rng, kHeads);
    const auto card_keys = upload(keys);
    const auto card_values = upload(values);
    const auto card_slots = upload(slots);
    const auto card_sinks = upload(sinks);
    for (const uint32_t n : {1u, 31u, 33u, 300u, 1025u, 2990u}) {
      for (const uint32_t window : {0u, 100u}) {
        for (const bool with_sinks : {false, true}) {
          const std::vector<float> q = random_values(rng, kHeads * kDim);
          SharedHeads heads;
          heads.n_heads = kHeads;
          heads.keys = {keys.data(), stride, type};
          heads.values = {values.data(), stride, type};
          heads.key_dim = heads.value_dim = kDim;
          heads.scale = 0.125f;
          heads.sinks = with_sinks ? sinks.data() : nullptr;
          heads.q_stride = heads.out_stride = kDim;
          std::vector<float> expected(kHeads * kDim);
          const AttendRow row{q.data(), expected.data(), window != 0 && window < n ? n - window : 0,
                              n};
          std::vector<float> memory(AttendScratch::size(kDim, kDim));
          attend(reference_kernels(), heads, slots.data(), {&row, 1},
                 AttendScratch(memory.data(), kDim, kDim));
          const auto card_q = upload(q);
          const auto rows = upload(std::vector<cuda::RowInfo>{{0, n - 1, 0, 0}});
          for (const uint32_t n_spans : {1u, 4u}) {
            const OnCard<float> out(expected.size());
            const OnCard<float> parts(size_t{kHeads} * n_spans * attend_part_size(kDim));
            cuda::Attention what{};
            what.n_heads = kHeads;
            what.heads_per_kv = kHeads;
            what.key_dim = what.value_dim = kDim;
            what.scale = heads.scale;
            what.sinks = with_sinks ? card_sinks.data() : nullptr;
            what.window = window;
            what.queries = card_q.data();
            what.query_stride = kHeads * kDim;
            what.out = out.data();
            what.row_stride = kHeads * kDim;
            what.head_stride = kDim;
            what.keys = {card_keys.data(), stride, 0, type};
            what.values = {card_values.data(), stride, 0, type};
            what.slots = card_slots.data();
            what.n_spans = n_spans;
            what.parts = parts.data();
            cuda::attend(nullptr, what, rows.data(), 1);
            EXPECT_TRUE(same_bits(out.read(), expected))
                << n << " positions, window " << window << ", sinks " << with_sinks << ", spans "
                << n_spans << ", type " << static_cast<int>(type);
          }
        }
      }
    }
  }
}

TEST(CardRouter, ChoosesAndSortsAsTheProcessor) {
  SKIP_WITHOUT_CARD();
  std::mt19937 rng(6);
  constexpr uint32_t kExperts = 48;
  constexpr uint32_t kActive = 5;
  const std::vector<float> bias = random_values(rng, kExperts, 0.1f);
  for (const uint32_t n_rows : {1u, 7u, 40u}) {
    for (const Gating gating : {Gating::softmax, Gating::sigmoid, Gating::softmax_selected}) {
      for (const uint32_t n_groups : {1u, 4u}) {
        for (const bool corrected : {false, true}) {
          std::vector<float> logits = random_values(rng, n_rows * kExperts);
          for (uint32_t i = 0; i < kExperts && n_rows > 1; ++i)
            logits[kExperts + i] = 0.5f;  // all ties
          logits[n_rows / 3 * kExperts + 3] = NAN;
          RouterRules rules;
          rules.n_experts = kExperts;
          rules.n_active = kActive;
          rules.gating = gating;
          rules.correction_bias = corrected ? bias.data() : nullptr;
          rules.n_groups = n_groups;
          rules.n_active_groups = n_groups == 1 ? 1 : 2;
          rules.normalise = corrected;
          rules.scale = 2.5f;
          std::vector<uint32_t> chosen(n_rows * kActive);
          std::vector<float> weights(n_rows * kActive);
          std::vector<float> scratch(3 * kExperts);
          for (uint32_t r = 0; r < n_rows; ++r) {
            choose_experts(reference_kernels(), rules, logits.data() + r * kExperts,
                           chosen.data() + r * kActive, weights.data() + r * kActive,
                           scratch.data());
          }
          const auto card_logits = upload(logits);
          const auto card_bias = upload(bias);
          const OnCard<uint32_t> card_chosen(chosen.size());
          const OnCard<float> card_weights(weights.size());
          const OnCard<uint32_t> pair_of(chosen.size());
          const OnCard<uint32_t> row_of_pair(chosen.size());
          const OnCard<uint32_t> begin(kExperts + 1);
          const OnCard<uint32_t> used(kExperts);
          const OnCard<uint32_t> n_used(1);
          cuda::Routing what{};
          what.n_experts = kExperts;
          what.n_active = kActive;
          what.gating = static_cast<uint8_t>(gating);
          what.correction_bias = corrected ? card_bias.data() : nullptr;
          what.n_groups = rules.n_groups;
          what.n_active_groups = rules.n_active_groups;
          what.normalise = rules.normalise;
          what.scale = rules.scale;
          what.logits = card_logits.data();
          what.chosen = card_chosen.data();
          what.weights = card_weights.data();
          what.pair_of = pair_of.data();
          what.row_of_pair = row_of_pair.data();
          what.begin = begin.data();
          what.used = used.data();
          const OnCard<uint32_t> n_used_result(1);
          what.n_used = n_used.data();
          what.n_used_result = n_used_result.data();
          const OnCard<uint32_t> chosen_result(chosen.size());
          what.chosen_result = chosen_result.data();
          cuda::route(nullptr, what, n_rows);
          EXPECT_EQ(card_chosen.read(), chosen);
          EXPECT_TRUE(same_bits(card_weights.read(), weights));
          // Sorted by expert, rows ascending: a stable sort.
          std::vector<uint32_t> order(chosen.size());
          for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
          std::stable_sort(order.begin(), order.end(),
                           [&](uint32_t a, uint32_t b) { return chosen[a] < chosen[b]; });
          const std::vector<uint32_t> places = pair_of.read();
          const std::vector<uint32_t> rows = row_of_pair.read();
          for (uint32_t i = 0; i < order.size(); ++i) {
            EXPECT_EQ(places[order[i]], i);
            EXPECT_EQ(rows[i], order[i] / kActive);
          }
          const std::set<uint32_t> distinct(chosen.begin(), chosen.end());
          EXPECT_EQ(n_used.read()[0], distinct.size());
          EXPECT_EQ(n_used_result.read(), n_used.read());
          EXPECT_EQ(chosen_result.read(), chosen);
          EXPECT_EQ(chosen_result.read(), chosen);
        }
      }
    }
  }
}

TEST(Cards, ReadBandwidthIsMeasured) {
  SKIP_WITHOUT_CARD();
  const Result<double> rate = measure_card_bandwidth(0, size_t{256} << 20);
  ASSERT_TRUE(rate.ok()) << rate.error().message;
  EXPECT_GT(*rate, 0.0);
}

}  // namespace
}  // namespace floe

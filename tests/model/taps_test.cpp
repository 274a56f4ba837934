// The residual stream behind layers, as heads that guess read it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/harness.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

constexpr uint32_t kHidden = 32;  // of the tiny models

std::vector<float> taps_of(const std::string& path, TapLayers layers, uint32_t chunk,
                           uint32_t n_threads, std::span<const int32_t> tokens,
                           std::vector<float>* hidden = nullptr) {
  RunSetup setup;
  setup.n_threads = n_threads;
  setup.tap_layers = layers;
  auto loaded = LoadedModel::load(path, setup);
  FLOE_CHECK(loaded.ok());
  const std::vector<uint32_t> slots = loaded->take_slots(64);
  const SequenceSlots sequence{slots};
  std::vector<float> taps;
  const uint32_t hidden_dim = loaded->model->info().hidden_dim;
  for (uint32_t first = 0; first < tokens.size(); first += chunk) {
    std::vector<ForwardRow> rows;
    for (uint32_t p = first; p < std::min<size_t>(first + chunk, tokens.size()); ++p) {
      rows.push_back({tokens[p], p, 0, false});
    }
    const ForwardOutput output =
        loaded->model->forward({rows, {&sequence, 1}, *loaded->cache}).value();
    taps.insert(taps.end(), output.taps, output.taps + rows.size() * kTaps * hidden_dim);
    if (hidden != nullptr) {
      hidden->insert(hidden->end(), output.hidden, output.hidden + rows.size() * hidden_dim);
    }
  }
  return taps;
}

// The tap behind the last layer is what the output norm reads; the model that ends behind an
// earlier layer has that layer's tap there.
TEST(Taps, AreTheResidualStreamBehindALayer) {
  const ScratchFolder folder;
  const std::vector<int32_t> tokens = tiny_tokens(20);
  TinyModel whole = tiny_llama();
  const std::string path = folder.write("whole.gguf", whole.bytes());
  RunSetup setup;
  const uint32_t n_layers = LoadedModel::load(path, setup)->model->info().n_layers;
  ASSERT_GE(n_layers, 2u);
  const std::vector<float> taps = taps_of(path, {0, n_layers - 1, 0}, 64, 1, tokens);
  for (const uint32_t layer : {0u, n_layers - 1}) {
    TinyModel cut = tiny_llama();
    cut.set("block_count", layer + 1);
    std::erase_if(cut.tensors(), [&](const TinyTensor& tensor) {
      for (uint32_t i = layer + 1; i < n_layers; ++i) {
        if (tensor.name.starts_with("blk." + std::to_string(i) + ".")) return true;
      }
      return false;
    });
    std::vector<float> hidden;
    taps_of(folder.write("cut.gguf", cut.bytes()), {0, 0, 0}, 64, 1, tokens, &hidden);
    const std::span<const float> weight = cut.find("output_norm.weight")->values();
    for (uint32_t row = 0; row < tokens.size(); ++row) {
      const size_t place = layer == 0 ? 0 : 1;
      const float* tap = taps.data() + (row * kTaps + place) * kHidden;
      double sum = 0;
      for (uint32_t i = 0; i < kHidden; ++i) sum += double{tap[i]} * tap[i];
      const double factor = 1.0 / std::sqrt(sum / kHidden + 1e-5);
      for (uint32_t i = 0; i < kHidden; ++i) {
        const double expected = tap[i] * factor * weight[i];
        EXPECT_NEAR(hidden[row * kHidden + i], expected, 1e-5 * (1 + std::abs(expected)));
      }
      EXPECT_EQ(std::memcmp(taps.data() + row * kTaps * kHidden,
                            taps.data() + (row * kTaps + 2) * kHidden, kHidden * sizeof(float)),
                0);
    }
  }
}

TEST(Taps, DoNotDependOnTheBatch) {
  const ScratchFolder folder;
  const std::vector<int32_t> tokens = tiny_tokens(30);
  for (const auto& [name, model] : all_tiny_models()) {
    const std::string path = folder.write("model.gguf", model.bytes());
    const TapLayers layers{1, 0, 1};
    const std::vector<float> expected = taps_of(path, layers, 64, 1, tokens);
    for (const uint32_t chunk : {1u, 7u}) {
      EXPECT_EQ(taps_of(path, layers, chunk, 2, tokens), expected) << name << ", chunk " << chunk;
    }
  }
}

TEST(Taps, AreThereOnlyWhereAskedFor) {
  const ScratchFolder folder;
  const std::string path = folder.write("model.gguf", tiny_llama().bytes());
  RunSetup setup;
  auto loaded = LoadedModel::load(path, setup);
  ASSERT_TRUE(loaded.ok());
  const std::vector<uint32_t> slots = loaded->take_slots(8);
  const SequenceSlots sequence{slots};
  const ForwardRow row{1, 0, 0, true};
  EXPECT_EQ(loaded->model->forward({{&row, 1}, {&sequence, 1}, *loaded->cache}).value().taps,
            nullptr);
  ForwardLimits limits;
  limits.tap_layers = TapLayers{0, 1, loaded->model->info().n_layers};
  const auto reserved = loaded->model->reserve(limits);
  ASSERT_FALSE(reserved.ok());
  EXPECT_EQ(reserved.error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace floe::test

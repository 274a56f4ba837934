#pragma once
// An EAGLE-3 head of random weights for tiny_llama(), made in memory, in pieces that a test may
// break.
#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace floe::test {

struct TinyHeadTensor {
  std::string name;
  std::string dtype = "F32";
  std::vector<uint32_t> shape;  // slowest-varying first
  std::vector<std::byte> bytes;
};

struct TinyHead {
  static constexpr uint32_t kTrunkHidden = 32;
  static constexpr uint32_t kFfn = 40;
  static constexpr uint32_t kHeads = 4;
  static constexpr uint32_t kKvHeads = 2;
  static constexpr uint32_t kHeadDim = 8;
  static constexpr uint32_t kDraftVocab = 20;
  static constexpr double kEps = 1e-5;
  static constexpr double kTheta = 500.0;

  Json config;
  std::vector<TinyHeadTensor> tensors;
  std::mt19937 random{11};

  // Draft id i stands for token 2 i + 1 up to i = 9, then for 2 i + 2.
  static uint32_t target_of(uint32_t i) { return i < 10 ? 2 * i + 1 : 2 * i + 2; }

  // Random values of standard deviation gain / sqrt(n_cols), or 1 plus noise for vectors.
  TinyHeadTensor& add(const std::string& name, std::vector<uint32_t> shape, double gain = 1.0);
  template <typename T>
  void add_raw(const std::string& name, const std::string& dtype, const std::vector<T>& values) {
    const auto raw = std::as_bytes(std::span(values));
    tensors.push_back(
        {name, dtype, {static_cast<uint32_t>(values.size())}, {raw.begin(), raw.end()}});
  }
  TinyHeadTensor& find(std::string_view name);  // the tensor must exist
  bool has(std::string_view name) const;
  void remove(std::string_view name);

  std::vector<std::byte> config_file() const;                                 // config.json
  std::vector<std::byte> weights_file(uint64_t* header_end = nullptr) const;  // model.safetensors
};

// prefix: of the layer's tensors, "midlayer." or "layers.0.".
TinyHead tiny_head(uint32_t hidden = TinyHead::kTrunkHidden,
                   const std::string& prefix = "midlayer.");

}  // namespace floe::test

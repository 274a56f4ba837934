#pragma once
// Small models with random weights, made in memory: every architecture's shape without a file
// beside the repository, and a place to break one thing at a time.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "quant/format.h"
#include "store/gguf.h"

namespace floe::test {

using MetadataValue =
    std::variant<uint32_t, uint64_t, float, bool, std::string, std::vector<int32_t>>;

struct TinyTensor {
  std::string name;
  QuantType type = QuantType::F32;
  TensorDims dims;
  std::vector<std::byte> data;

  // F32 tensors only.
  std::span<float> values() {
    return {reinterpret_cast<float*>(data.data()), data.size() / sizeof(float)};
  }
};

class TinyModel {
 public:
  explicit TinyModel(std::string architecture, uint64_t seed = 1);

  // Keys without a dot-separated architecture prefix get it; "general." and "tokenizer." stay.
  void set(std::string_view key, MetadataValue value);
  void erase(std::string_view key);

  // Random values of standard deviation gain / sqrt(n_cols), or 1 plus noise for vectors.
  TinyTensor& add(const std::string& name, TensorDims dims, float gain = 1.0f);
  TinyTensor* find(std::string_view name);
  void remove(std::string_view name);
  std::vector<TinyTensor>& tensors() { return tensors_; }

  std::vector<std::byte> bytes() const;  // the GGUF file

 private:
  std::string full_key(std::string_view key) const;

  std::string architecture_;
  uint64_t seed_;
  uint64_t n_drawn_ = 0;
  std::vector<std::pair<std::string, MetadataValue>> metadata_;
  std::vector<TinyTensor> tensors_;
};

inline constexpr uint32_t kTinyVocab = 48;
std::vector<int32_t> tiny_tokens(uint32_t n, uint32_t seed = 3);  // random ones

TinyModel tiny_llama();
TinyModel tiny_llama_moe();
TinyModel tiny_qwen3moe();
TinyModel tiny_deepseek2();  // q_lora, groups, one dense layer, YaRN
// Indexer types 1 0 1, top_k 6, a draft head whose router has more experts than the trunk's.
TinyModel tiny_glm_dsa();
TinyModel tiny_gpt_oss();  // a window of 6 positions in the first of two layers, YaRN
std::vector<std::pair<std::string, TinyModel>> all_tiny_models();

}  // namespace floe::test

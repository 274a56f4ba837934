#include "tiny/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "base/rng.h"
#include "store/gguf_writer.h"

namespace floe::test {

namespace {

constexpr uint32_t kHidden = 32;

// One of 2^24 evenly spaced values in [-sqrt(3), sqrt(3)): variance 1.
float random_value(uint64_t seed, uint64_t index) {
  const double unit = static_cast<double>(random_bits(seed, index) >> 40) * 0x1p-24;
  return static_cast<float>((2.0 * unit - 1.0) * std::sqrt(3.0));
}

std::string blk(uint32_t layer) {
  return "blk." + std::to_string(layer) + ".";
}

void add_frame(TinyModel& model, uint32_t n_blocks, uint32_t n_heads, uint32_t n_kv_heads) {
  model.set("block_count", n_blocks);
  model.set("context_length", 512u);
  model.set("embedding_length", kHidden);
  model.set("feed_forward_length", 48u);
  model.set("vocab_size", kTinyVocab);
  model.set("attention.head_count", n_heads);
  model.set("attention.head_count_kv", n_kv_heads);
  model.set("attention.layer_norm_rms_epsilon", 1e-5f);
  model.set("rope.freq_base", 10000.0f);
  model.add("token_embd.weight", {kHidden, kTinyVocab}, 5.0f);
  model.add("output_norm.weight", {kHidden});
  model.add("output.weight", {kHidden, kTinyVocab}, 3.0f);
}

void add_gqa(TinyModel& model, const std::string& p, uint32_t n_heads, uint32_t n_kv_heads,
             uint32_t head_dim) {
  model.add(p + "attn_norm.weight", {kHidden});
  model.add(p + "attn_q.weight", {kHidden, n_heads * head_dim}, 2.0f);
  model.add(p + "attn_k.weight", {kHidden, n_kv_heads * head_dim}, 2.0f);
  model.add(p + "attn_v.weight", {kHidden, n_kv_heads * head_dim});
  model.add(p + "attn_output.weight", {n_heads * head_dim, kHidden});
  model.add(p + "ffn_norm.weight", {kHidden});
}

void add_dense(TinyModel& model, const std::string& p, uint32_t ffn_dim) {
  model.add(p + "ffn_gate.weight", {kHidden, ffn_dim});
  model.add(p + "ffn_up.weight", {kHidden, ffn_dim});
  model.add(p + "ffn_down.weight", {ffn_dim, kHidden});
}

void add_experts(TinyModel& model, const std::string& p, uint32_t n_experts, uint32_t ffn_dim) {
  model.add(p + "ffn_gate_inp.weight", {kHidden, n_experts}, 2.0f);
  model.add(p + "ffn_gate_exps.weight", {kHidden, ffn_dim, n_experts});
  model.add(p + "ffn_up_exps.weight", {kHidden, ffn_dim, n_experts});
  model.add(p + "ffn_down_exps.weight", {ffn_dim, kHidden, n_experts});
}

void add_shared(TinyModel& model, const std::string& p, uint32_t n_experts, uint32_t ffn_dim) {
  for (float& bias : model.add(p + "exp_probs_b.bias", {n_experts}).values())
    bias = 0.2f * (bias - 1);
  model.add(p + "ffn_gate_shexp.weight", {kHidden, ffn_dim});
  model.add(p + "ffn_up_shexp.weight", {kHidden, ffn_dim});
  model.add(p + "ffn_down_shexp.weight", {ffn_dim, kHidden});
}

// Values about 0, where add() draws vectors about 1.
void add_bias(TinyModel& model, const std::string& name, TensorDims dims) {
  TinyTensor& bias = model.add(name, dims);
  const float centre = dims.size() == 1 ? 1.0f : 0.0f;
  for (float& value : bias.values()) value -= centre;
}

constexpr uint32_t kMlaHeads = 4;
constexpr uint32_t kNope = 12;
constexpr uint32_t kRope = 8;
constexpr uint32_t kValue = 16;
constexpr uint32_t kQLora = 16;
constexpr uint32_t kKvLora = 24;

void set_mla(TinyModel& model) {
  model.set("rope.dimension_count", kRope);
  model.set("attention.key_length", kKvLora + kRope);
  model.set("attention.value_length", kKvLora);
  model.set("attention.key_length_mla", kNope + kRope);
  model.set("attention.value_length_mla", kValue);
  model.set("attention.q_lora_rank", kQLora);
  model.set("attention.kv_lora_rank", kKvLora);
}

void add_mla(TinyModel& model, const std::string& p) {
  model.add(p + "attn_norm.weight", {kHidden});
  model.add(p + "attn_q_a.weight", {kHidden, kQLora});
  model.add(p + "attn_q_a_norm.weight", {kQLora});
  model.add(p + "attn_q_b.weight", {kQLora, kMlaHeads * (kNope + kRope)}, 2.0f);
  model.add(p + "attn_kv_a_mqa.weight", {kHidden, kKvLora + kRope}, 2.0f);
  model.add(p + "attn_kv_a_norm.weight", {kKvLora});
  model.add(p + "attn_k_b.weight", {kNope, kKvLora, kMlaHeads});
  model.add(p + "attn_v_b.weight", {kKvLora, kValue, kMlaHeads});
  model.add(p + "attn_output.weight", {kMlaHeads * kValue, kHidden});
  model.add(p + "ffn_norm.weight", {kHidden});
}

void set_router(TinyModel& model, uint32_t n_experts, uint32_t n_active, uint32_t ffn_dim) {
  model.set("expert_count", n_experts);
  model.set("expert_used_count", n_active);
  model.set("expert_feed_forward_length", ffn_dim);
}

void set_sigmoid_router(TinyModel& model) {
  model.set("expert_shared_count", 1u);
  model.set("expert_weights_scale", 2.5f);
  model.set("expert_weights_norm", true);
  model.set("expert_gating_func", 2u);
}

}  // namespace

TinyModel::TinyModel(std::string architecture, uint64_t seed)
    : architecture_(std::move(architecture)), seed_(seed) {
  set("general.architecture", architecture_);
  set("general.name", "tiny " + architecture_);
}

std::string TinyModel::full_key(std::string_view key) const {
  if (key.starts_with("general.") || key.starts_with("tokenizer.")) return std::string(key);
  return architecture_ + "." + std::string(key);
}

void TinyModel::set(std::string_view key, MetadataValue value) {
  const std::string full = full_key(key);
  for (auto& [name, old] : metadata_) {
    if (name != full) continue;
    old = std::move(value);
    return;
  }
  metadata_.emplace_back(full, std::move(value));
}

void TinyModel::erase(std::string_view key) {
  const std::string full = full_key(key);
  std::erase_if(metadata_, [&](const auto& pair) { return pair.first == full; });
}

TinyTensor& TinyModel::add(const std::string& name, TensorDims dims, float gain) {
  TinyTensor tensor;
  tensor.name = name;
  tensor.dims = dims;
  tensor.data.resize(dims.n_elems() * sizeof(float));
  const bool is_vector = dims.size() == 1;
  const float scale = is_vector ? 0.1f : gain / std::sqrt(static_cast<float>(dims.n_cols()));
  for (float& value : tensor.values()) {
    value = (is_vector ? 1.0f : 0.0f) + scale * random_value(seed_, n_drawn_++);
  }
  tensors_.push_back(std::move(tensor));
  return tensors_.back();
}

TinyTensor* TinyModel::find(std::string_view name) {
  for (TinyTensor& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

void TinyModel::remove(std::string_view name) {
  std::erase_if(tensors_, [&](const TinyTensor& tensor) { return tensor.name == name; });
}

std::vector<std::byte> TinyModel::bytes() const {
  GgufHeaderBuilder header;
  struct Adder {
    GgufHeaderBuilder& header;
    const std::string& key;
    void operator()(uint32_t value) const { header.add_u32(key, value); }
    void operator()(uint64_t value) const { header.add_u64(key, value); }
    void operator()(float value) const { header.add_f32(key, value); }
    void operator()(bool value) const { header.add_bool(key, value); }
    void operator()(const std::string& value) const { header.add_string(key, value); }
    void operator()(const std::vector<int32_t>& value) const { header.add_i32_array(key, value); }
  };
  for (const auto& [key, value] : metadata_) std::visit(Adder{header, key}, value);
  for (const TinyTensor& tensor : tensors_)
    header.add_tensor(tensor.name, tensor.type, tensor.dims);
  auto serialised = header.serialise();
  FLOE_CHECK(serialised.ok());
  std::vector<std::byte> file = std::move(serialised).value();
  for (const TinyTensor& tensor : tensors_) {
    file.insert(file.end(), tensor.data.begin(), tensor.data.end());
    file.resize((file.size() + kDefaultAlignment - 1) / kDefaultAlignment * kDefaultAlignment);
  }
  return file;
}

TinyModel tiny_llama() {
  TinyModel model("llama");
  add_frame(model, 2, 4, 2);
  for (uint32_t i = 0; i < 2; ++i) {
    add_gqa(model, blk(i), 4, 2, kHidden / 4);
    add_dense(model, blk(i), 48);
  }
  return model;
}

TinyModel tiny_llama_moe() {
  TinyModel model("llama", 2);
  add_frame(model, 2, 4, 2);
  set_router(model, 6, 2, 24);
  for (uint32_t i = 0; i < 2; ++i) {
    add_gqa(model, blk(i), 4, 2, kHidden / 4);
    add_experts(model, blk(i), 6, 24);
  }
  return model;
}

TinyModel tiny_qwen3moe() {
  TinyModel model("qwen3moe", 3);
  add_frame(model, 2, 4, 2);
  set_router(model, 8, 3, 16);
  model.set("attention.key_length", 16u);
  model.set("attention.value_length", 16u);
  for (uint32_t i = 0; i < 2; ++i) {
    add_gqa(model, blk(i), 4, 2, 16);
    model.add(blk(i) + "attn_q_norm.weight", {16});
    model.add(blk(i) + "attn_k_norm.weight", {16});
    add_experts(model, blk(i), 8, 16);
  }
  return model;
}

TinyModel tiny_deepseek2() {
  TinyModel model("deepseek2", 4);
  add_frame(model, 2, kMlaHeads, 1);
  set_mla(model);
  set_router(model, 8, 3, 16);
  set_sigmoid_router(model);
  model.set("expert_group_count", 4u);
  model.set("expert_group_used_count", 2u);
  model.set("leading_dense_block_count", 1u);
  model.set("rope.scaling.type", std::string("yarn"));
  model.set("rope.scaling.factor", 8.0f);
  model.set("rope.scaling.original_context_length", 64u);
  model.set("rope.scaling.yarn_log_multiplier", 0.1f);
  add_mla(model, blk(0));
  add_dense(model, blk(0), 48);
  add_mla(model, blk(1));
  add_experts(model, blk(1), 8, 16);
  add_shared(model, blk(1), 8, 16);
  return model;
}

TinyModel tiny_glm_dsa() {
  TinyModel model("glm-dsa", 5);
  add_frame(model, 4, kMlaHeads, 1);
  set_mla(model);
  set_router(model, 8, 2, 16);
  set_sigmoid_router(model);
  model.set("leading_dense_block_count", 1u);
  model.set("nextn_predict_layers", 1u);
  model.set("attention.indexer.head_count", 2u);
  model.set("attention.indexer.key_length", 16u);
  model.set("attention.indexer.top_k", 6u);
  model.set("attention.indexer.types", std::vector<int32_t>{1, 0, 1});
  for (uint32_t i = 0; i < 4; ++i) {
    const std::string p = blk(i);
    add_mla(model, p);
    if (i == 0 || i == 2) {
      model.add(p + "indexer.attn_q_b.weight", {kQLora, 2 * 16});
      model.add(p + "indexer.attn_k.weight", {kHidden, 16});
      model.add(p + "indexer.proj.weight", {kHidden, 2});
      model.add(p + "indexer.k_norm.weight", {16});
      model.add(p + "indexer.k_norm.bias", {16});
    }
    if (i == 0) {
      add_dense(model, p, 48);
    } else {
      // The trunk has lost some of its experts; the metadata speaks of the head's.
      const uint32_t n_experts = i == 3 ? 8 : 5;
      add_experts(model, p, n_experts, 16);
      add_shared(model, p, n_experts, 16);
    }
  }
  model.add(blk(3) + "nextn.eh_proj.weight", {2 * kHidden, kHidden});
  model.add(blk(3) + "nextn.enorm.weight", {kHidden});
  model.add(blk(3) + "nextn.hnorm.weight", {kHidden});
  model.add(blk(3) + "nextn.shared_head_norm.weight", {kHidden});
  return model;
}

TinyModel tiny_gpt_oss() {
  TinyModel model("gpt-oss", 6);
  add_frame(model, 2, 4, 2);
  set_router(model, 8, 3, 16);
  model.set("attention.key_length", 16u);
  model.set("attention.value_length", 16u);
  model.set("attention.sliding_window", 6u);
  model.set("rope.scaling.type", std::string("yarn"));
  model.set("rope.scaling.factor", 8.0f);
  model.set("rope.scaling.original_context_length", 64u);
  for (uint32_t i = 0; i < 2; ++i) {
    const std::string p = blk(i);
    add_gqa(model, p, 4, 2, 16);
    model.find(p + "ffn_norm.weight")->name = p + "post_attention_norm.weight";
    add_bias(model, p + "attn_q.bias", {4 * 16});
    add_bias(model, p + "attn_k.bias", {2 * 16});
    add_bias(model, p + "attn_v.bias", {2 * 16});
    add_bias(model, p + "attn_output.bias", {kHidden});
    model.add(p + "attn_sinks.weight", {4});
    add_experts(model, p, 8, 16);
    add_bias(model, p + "ffn_gate_inp.bias", {8});
    add_bias(model, p + "ffn_gate_exps.bias", {16, 8});
    add_bias(model, p + "ffn_up_exps.bias", {16, 8});
    add_bias(model, p + "ffn_down_exps.bias", {kHidden, 8});
  }
  return model;
}

std::vector<int32_t> tiny_tokens(uint32_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % kTinyVocab);
  return tokens;
}

std::vector<std::pair<std::string, TinyModel>> all_tiny_models() {
  std::vector<std::pair<std::string, TinyModel>> models;
  models.emplace_back("llama", tiny_llama());
  models.emplace_back("llama_moe", tiny_llama_moe());
  models.emplace_back("qwen3moe", tiny_qwen3moe());
  models.emplace_back("deepseek2", tiny_deepseek2());
  models.emplace_back("glm_dsa", tiny_glm_dsa());
  models.emplace_back("gpt_oss", tiny_gpt_oss());
  return models;
}

}  // namespace floe::test

// Files whose metadata or tensor table does not make a model: refused in one line that names the
// file, the key or tensor, what was expected and what was found.
#include <unistd.h>

#include <cmath>
#include <limits>
#include <random>

#include "fuzz/model_properties.h"
#include "model/architecture.h"
#include "model/harness.h"
#include "model/hparams.h"
#include "store/gguf_writer.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

class Hostile : public testing::Test {
 protected:
  Result<LoadedModel> load(const TinyModel& model) {
    const std::string path = folder_.write("model.gguf", model.bytes());
    RunSetup setup;
    setup.max_rows = 8;
    return LoadedModel::load(path, setup);
  }

  void expect_refused(const TinyModel& model, const std::string& named, const std::string& what) {
    const auto loaded = load(model);
    ASSERT_FALSE(loaded.ok()) << what;
    const Error& error = loaded.error();
    EXPECT_EQ(error.kind, ErrorKind::model) << what << ": " << error.message;
    EXPECT_NE(error.message.find("model.gguf"), std::string::npos) << what << ": " << error.message;
    EXPECT_NE(error.message.find(named), std::string::npos) << what << ": " << error.message;
    EXPECT_NE(error.message.find("expected"), std::string::npos) << what << ": " << error.message;
    EXPECT_NE(error.message.find("found"), std::string::npos) << what << ": " << error.message;
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << what << ": " << error.message;
  }

  ScratchFolder folder_;
};

TEST_F(Hostile, TheModelsThemselvesLoad) {
  for (const auto& [name, model] : all_tiny_models()) {
    const auto loaded = load(model);
    EXPECT_TRUE(loaded.ok()) << name << ": " << loaded.error().message;
  }
}

TEST_F(Hostile, EveryKeyRefusesWrongTypes) {
  for (const HparamSpec& spec : hparam_table()) {
    TinyModel model = tiny_glm_dsa();
    const bool is_text = std::holds_alternative<std::string Hparams::*>(spec.field);
    model.set(spec.key, is_text ? MetadataValue(1u) : MetadataValue(std::string("12")));
    expect_refused(model, spec.key, "text or number");
    const bool is_bool = std::holds_alternative<bool Hparams::*>(spec.field);
    model.set(spec.key, is_bool ? MetadataValue(1u) : MetadataValue(true));
    expect_refused(model, spec.key, "flag");
    const bool is_list = std::holds_alternative<std::vector<uint8_t> Hparams::*>(spec.field);
    model.set(spec.key, is_list ? MetadataValue(1u) : MetadataValue(std::vector<int32_t>{1, 2}));
    expect_refused(model, spec.key, "list");
  }
}

TEST_F(Hostile, EveryNumberRefusesWhatLiesOutsideItsRange) {
  for (const HparamSpec& spec : hparam_table()) {
    if (std::holds_alternative<uint32_t Hparams::*>(spec.field)) {
      std::vector<uint64_t> bad{0xffffffffu, uint64_t{1} << 40, UINT64_MAX,
                                static_cast<uint64_t>(spec.max) + 1};
      if (spec.max < 0x7fffffff) bad.push_back(0x7fffffffu);
      if (spec.min > 0) bad.push_back(static_cast<uint64_t>(spec.min) - 1);
      for (uint64_t value : bad) {
        TinyModel model = tiny_glm_dsa();
        if (value <= UINT32_MAX) {
          model.set(spec.key, static_cast<uint32_t>(value));
        } else {
          model.set(spec.key, value);
        }
        expect_refused(model, spec.key, std::to_string(value));
      }
    } else if (std::holds_alternative<float Hparams::*>(spec.field)) {
      std::vector<float> bad{std::nanf(""), INFINITY, -INFINITY, -1.0f,
                             std::numeric_limits<float>::max()};
      if (spec.min > 0) bad.push_back(0.0f);
      for (float value : bad) {
        TinyModel model = tiny_glm_dsa();
        model.set(spec.key, value);
        expect_refused(model, spec.key, std::to_string(value));
      }
    }
  }
}

TEST_F(Hostile, RequiredKeys) {
  for (const auto& [name, tiny] : all_tiny_models()) {
    for (const HparamSpec& spec : hparam_table()) {
      if (!spec.required) continue;
      TinyModel model = tiny;
      model.erase(spec.key);
      expect_refused(model, spec.key, name);
    }
  }
  for (const char* key : {"attention.kv_lora_rank", "attention.q_lora_rank", "rope.dimension_count",
                          "attention.indexer.top_k", "expert_feed_forward_length"}) {
    TinyModel model = tiny_glm_dsa();
    model.erase(key);
    expect_refused(model, key, "glm-dsa");
  }
  for (const char* key :
       {"attention.sliding_window", "expert_used_count", "expert_feed_forward_length"}) {
    TinyModel model = tiny_gpt_oss();
    model.erase(key);
    expect_refused(model, key, "gpt-oss");
  }
}

TEST_F(Hostile, KeysThatContradictEachOther) {
  struct Contradiction {
    TinyModel model;
    const char* key;
    MetadataValue value;
    const char* named;
  };
  const Contradiction cases[] = {
      {tiny_llama(), "attention.head_count_kv", 3u, "attention.head_count_kv"},
      {tiny_llama(), "attention.head_count_kv", 8u, "attention.head_count_kv"},
      {tiny_llama(), "attention.head_count", 3u, "attention.head_count"},
      {tiny_llama(), "attention.key_length", 7u, "rope.dimension_count"},  // an odd head
      {tiny_llama(), "rope.dimension_count", 10u, "rope.dimension_count"},
      {tiny_llama(), "rope.dimension_count", 5u, "rope.dimension_count"},
      {tiny_llama(), "rope.scaling.type", std::string("longrope"), "rope.scaling.type"},
      {tiny_llama(), "block_count", 3u, "blk.2."},
      {tiny_llama(), "block_count", 1u, "blk.1."},
      {tiny_llama(), "block_count", 512u, "blk.2."},
      {tiny_llama(), "vocab_size", 47u, "token_embd.weight"},
      {tiny_llama(), "embedding_length", 64u, "token_embd.weight"},
      {tiny_llama(), "feed_forward_length", 24u, "ffn_gate.weight"},
      {tiny_llama_moe(), "expert_used_count", 7u, "expert_used_count"},
      {tiny_llama_moe(), "expert_used_count", 0u, "expert_used_count"},
      {tiny_llama_moe(), "expert_count", 0u, "ffn_gate.weight"},
      {tiny_llama_moe(), "expert_group_count", 4u, "expert_group_count"},
      {tiny_llama_moe(), "expert_group_count", 6u, "expert_group_used_count"},
      {tiny_qwen3moe(), "expert_count", 0u, "expert_count"},
      {tiny_deepseek2(), "expert_group_used_count", 5u, "expert_group_used_count"},
      {tiny_deepseek2(), "rope.dimension_count", 20u, "rope.dimension_count"},
      {tiny_deepseek2(), "attention.kv_lora_rank", 32u, "attn_kv_a_mqa.weight"},
      {tiny_glm_dsa(), "attention.q_lora_rank", 0u, "attention.q_lora_rank"},
      {tiny_glm_dsa(), "attention.indexer.key_length", 6u, "attention.indexer.key_length"},
      {tiny_glm_dsa(), "attention.indexer.types", std::vector<int32_t>{0, 1, 1},
       "attention.indexer.types"},
      {tiny_glm_dsa(), "attention.indexer.types", std::vector<int32_t>{1, 1},
       "attention.indexer.types"},
      {tiny_glm_dsa(), "attention.indexer.types", std::vector<int32_t>{1, 2, 1},
       "attention.indexer.types"},
      // The trunk's routers have 5 rows, whatever expert_count says.
      {tiny_glm_dsa(), "expert_used_count", 6u, "blk.1.ffn_gate_inp.weight"},
      {tiny_gpt_oss(), "attention.sliding_window", 0u, "attention.sliding_window"},
      {tiny_gpt_oss(), "expert_count", 0u, "expert_count"},
      {tiny_llama(), "general.architecture", std::string("mamba"), "general.architecture"},
  };
  for (const Contradiction& c : cases) {
    TinyModel model = c.model;
    model.set(c.key, c.value);
    expect_refused(model, c.named, c.key);
  }
}

TEST_F(Hostile, AnUnsupportedArchitectureNamesTheSupportedOnes) {
  TinyModel model("mamba\x1b[2J");
  model.add("token_embd.weight", {4, 4});
  const auto loaded = load(model);
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.error().message.find(supported_architectures()), std::string::npos);
  EXPECT_EQ(loaded.error().message.find('\x1b'), std::string::npos);
}

TEST_F(Hostile, VocabularyAndEmbeddingDisagree) {
  TinyModel model = tiny_llama();
  model.set("tokenizer.ggml.tokens", std::vector<int32_t>(kTinyVocab - 1, 0));
  expect_refused(model, "token_embd.weight", "tokens");
}

TEST_F(Hostile, EveryTensorIsRequiredInItsShape) {
  for (const auto& [name, tiny] : all_tiny_models()) {
    TinyModel copy = tiny;
    for (const TinyTensor& tensor : copy.tensors()) {
      const bool optional =
          tensor.name == "output.weight" || tensor.name.ends_with("exp_probs_b.bias");
      TinyModel missing = tiny;
      missing.remove(tensor.name);
      if (optional) {
        EXPECT_TRUE(load(missing).ok()) << name << " without " << tensor.name;
      } else {
        // Without eh_proj the draft head counts as absent and its other tensors as strangers;
        // without a stack of experts the old layout is looked for, and its first tensor named.
        const bool eh_proj = tensor.name.ends_with("eh_proj.weight");
        expect_refused(missing, eh_proj ? std::string("blk.") : tensor.name, name + " missing");
      }

      TinyModel turned = tiny;
      TensorDims& dims = turned.find(tensor.name)->dims;
      if (dims.size() == 1) {
        dims = TensorDims{dims[0] / 2, 2};
      } else if (dims[0] == dims[1]) {
        dims = TensorDims{dims[0] / 2, dims.n_rows() * 2};
      } else if (dims.size() == 2) {
        dims = TensorDims{dims[1], dims[0]};
      } else {
        dims = TensorDims{dims[1], dims[0], dims[2]};
      }
      expect_refused(turned, tensor.name, name + " turned");

      if (tensor.dims.size() == 1) {
        TinyModel half = tiny;
        TinyTensor& norm = *half.find(tensor.name);
        norm.type = QuantType::F16;
        norm.data.resize(norm.data.size() / 2);
        expect_refused(half, tensor.name, name + " in F16");
      }
    }
  }
}

TEST_F(Hostile, AnUnknownTensorIsRefused) {
  for (const char* stranger : {"blk.0.attn_q.bias", "blk.7.attn_norm.weight", "cls.weight"}) {
    TinyModel model = tiny_llama();
    model.add(stranger, {32});
    expect_refused(model, stranger, "stranger");
  }
}

TEST_F(Hostile, RopeDivisorsMustBePositive) {
  for (float bad : {0.0f, -1.0f, INFINITY, std::nanf("")}) {
    TinyModel model = tiny_llama();
    model.add("rope_freqs.weight", {4}).values()[2] = bad;
    expect_refused(model, "rope_freqs.weight", std::to_string(bad));
  }
}

TEST_F(Hostile, ExpertsOfOneLayerShareAType) {
  TinyModel model = tiny_llama_moe();
  model.remove("blk.0.ffn_up_exps.weight");
  for (uint32_t e = 0; e < 6; ++e) {
    TinyTensor& up = model.add("blk.0.ffn_up." + std::to_string(e) + ".weight", {32, 24});
    if (e != 4) continue;
    up.type = QuantType::F16;
    up.data.resize(up.data.size() / 2);
  }
  expect_refused(model, "blk.0.ffn_up.4.weight", "one expert in F16");
}

// 64 GiB of embedding in a sparse file: refused before anything of that size is touched.
TEST_F(Hostile, TooLargeForTheMachine) {
  constexpr uint64_t kRows = uint64_t{1} << 23;
  GgufHeaderBuilder header;
  header.add_string("general.architecture", "llama");
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, uint32_t>>{{"llama.block_count", 1},
                                                     {"llama.context_length", 64},
                                                     {"llama.embedding_length", 2048},
                                                     {"llama.feed_forward_length", 32},
                                                     {"llama.attention.head_count", 16}}) {
    header.add_u32(key, value);
  }
  header.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  header.add_tensor("token_embd.weight", QuantType::F32, {2048, kRows});
  for (const char* name :
       {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"}) {
    header.add_tensor(name, QuantType::F32, {2048});
  }
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
    header.add_tensor(fmt::format("blk.0.{}.weight", name), QuantType::F32, {2048, 2048});
  }
  header.add_tensor("blk.0.ffn_gate.weight", QuantType::F32, {2048, 32});
  header.add_tensor("blk.0.ffn_up.weight", QuantType::F32, {2048, 32});
  header.add_tensor("blk.0.ffn_down.weight", QuantType::F32, {32, 2048});
  const auto bytes = header.serialise();
  ASSERT_TRUE(bytes.ok());
  const std::string path = folder_.write("huge.gguf", bytes.value());
  if (truncate(path.c_str(), static_cast<off_t>(bytes->size() + header.data_bytes())) != 0) {
    GTEST_SKIP() << "the file system takes no sparse files of this size";
  }
  if (total_memory_bytes() > header.data_bytes()) GTEST_SKIP() << "this machine is large enough";
  const auto loaded = LoadedModel::load(path, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().kind, ErrorKind::memory) << loaded.error().message;
  EXPECT_NE(loaded.error().message.find(" GB"), std::string::npos);
}

TEST_F(Hostile, AWorkspaceTooLargeForTheMachine) {
  auto loaded = load(tiny_glm_dsa());
  ASSERT_TRUE(loaded.ok());
  ForwardLimits limits;
  limits.max_rows = 1u << 30;
  const auto reserved = loaded->model->reserve(limits);
  ASSERT_FALSE(reserved.ok());
  EXPECT_EQ(reserved.error().kind, ErrorKind::memory);
  EXPECT_NE(reserved.error().message.find(" GB"), std::string::npos);
}

// What the fuzzer does, from a fixed start: a few changed bytes, in the header more often than not.
TEST(HostileBytes, AFewChangedBytes) {
  std::mt19937 random(17);
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<uint8_t> input{static_cast<uint8_t>(random())};
    const uint32_t n_edits = 1 + random() % 4;
    for (uint32_t i = 0; i < n_edits; ++i) {
      const uint32_t place = random() | (random() % 4 != 0 ? 0x800000u : 0u);
      for (uint32_t shift : {0u, 8u, 16u}) input.push_back(static_cast<uint8_t>(place >> shift));
      input.push_back(static_cast<uint8_t>(random()));
    }
    ASSERT_EQ(check_model_properties(input), "") << "trial " << trial;
  }
}

}  // namespace
}  // namespace floe::test

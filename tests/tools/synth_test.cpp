#include "tools/synth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "repo_path.h"
#include "store/gguf.h"
#include "text/tokenizer.h"
#include "tools/synth_shapes.h"
#include "tools/synth_weights.h"

namespace floe {
namespace {

TEST(SynthWeights, EveryFormatHasTheDeviationAskedFor) {
  for (const std::string& name : synth_types()) {
    const FormatTraits& traits = format_traits(*parse_format(name));
    const size_t n_elems = 256 * 4096;
    std::vector<std::byte> blocks(row_bytes(traits.type, n_elems));
    fill_random_blocks(traits.type, 0.03f, 7, blocks);
    std::vector<float> values(n_elems);
    traits.decode(blocks.data(), values.data(), n_elems);
    double sum = 0;
    double square = 0;
    for (const float value : values) {
      ASSERT_TRUE(std::isfinite(value)) << name;
      sum += value;
      square += static_cast<double>(value) * value;
    }
    const double mean = sum / n_elems;
    const double deviation = std::sqrt(square / n_elems - mean * mean);
    // MXFP4's scale is a power of two: off by up to a factor of sqrt(2).
    EXPECT_NEAR(deviation, 0.03, traits.type == QuantType::MXFP4 ? 0.0125 : 0.001) << name;
    EXPECT_NEAR(mean, 0, 0.0003) << name;
  }
}

TEST(SynthWeights, BytesDependOnTheSeedOnly) {
  std::vector<std::byte> a(18 * 64), b(18 * 64), c(18 * 64);
  fill_random_blocks(QuantType::Q4_0, 1, 5, a);
  fill_random_blocks(QuantType::Q4_0, 1, 5, b);
  fill_random_blocks(QuantType::Q4_0, 1, 6, c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

class SynthFile : public testing::Test {
 protected:
  std::string path_ = testing::TempDir() + "floe_synth_test.gguf";
  void TearDown() override { std::filesystem::remove(path_); }

  SynthOptions options(const char* like) {
    SynthOptions options;
    options.like = like;
    options.n_layers = 2;
    options.n_vocab = 64;
    options.output_path = path_;
    options.show_progress = false;
    return options;
  }
};

TEST_F(SynthFile, LoadsWithTheShapeAskedFor) {
  SynthOptions wanted = options("glm-5.2");
  wanted.n_experts = 8;
  wanted.type = QuantType::Q4_K;
  const auto result = synthesize(wanted);
  ASSERT_TRUE(result.ok()) << result.error().message;
  const auto file = GgufFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const TensorView* experts = file->find_tensor("blk.1.ffn_gate_exps.weight");
  ASSERT_NE(experts, nullptr);
  EXPECT_EQ(experts->dims, (TensorDims{6144, 2048, 8}));
  EXPECT_EQ(experts->type, QuantType::Q4_K);
  EXPECT_EQ(file->find_tensor("blk.0.ffn_gate_exps.weight"), nullptr);
  // 192-wide rows are no multiple of a 256-wide block.
  EXPECT_EQ(file->find_tensor("blk.0.attn_k_b.weight")->type, QuantType::Q5_0);
}

TEST_F(SynthFile, RowsThatNoBlockOf256FitsTakeTheFormatThatLlamaCppChooses) {
  const std::pair<QuantType, QuantType> cases[] = {{QuantType::Q4_K, QuantType::Q5_0},
                                                   {QuantType::Q5_K, QuantType::Q5_1},
                                                   {QuantType::Q6_K, QuantType::Q8_0},
                                                   {QuantType::Q4_0, QuantType::Q4_0},
                                                   {QuantType::MXFP4, QuantType::MXFP4}};
  for (const auto& [asked, chosen] : cases) {
    SynthOptions wanted = options("gpt-oss-20b");
    wanted.n_experts = 4;
    wanted.type = asked;
    const auto result = synthesize(wanted);
    ASSERT_TRUE(result.ok()) << result.error().message;
    const auto file = GgufFile::open(path_);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->find_tensor("blk.1.ffn_down_exps.weight")->type, chosen);  // 2880 wide
    EXPECT_EQ(file->find_tensor("blk.1.attn_output.weight")->type, asked);     // 4096 wide
  }
}

// What llama.cpp's loader asks of gpt-oss beside the tensors that every family has.
TEST_F(SynthFile, GptOssHasItsBiasesSinksAndKeys) {
  SynthOptions wanted = options("gpt-oss-20b");
  wanted.n_experts = 4;
  wanted.type = QuantType::MXFP4;
  const auto result = synthesize(wanted);
  ASSERT_TRUE(result.ok()) << result.error().message;
  const auto file = GgufFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const std::pair<const char*, TensorDims> plain[] = {
      {"attn_q.bias", {4096}},         {"attn_k.bias", {512}},
      {"attn_v.bias", {512}},          {"attn_output.bias", {2880}},
      {"attn_sinks.weight", {64}},     {"post_attention_norm.weight", {2880}},
      {"ffn_gate_inp.bias", {4}},      {"ffn_gate_exps.bias", {2880, 4}},
      {"ffn_up_exps.bias", {2880, 4}}, {"ffn_down_exps.bias", {2880, 4}}};
  for (const auto& [name, dims] : plain) {
    for (const char* layer : {"blk.0.", "blk.1."}) {
      const TensorView* tensor = file->find_tensor(std::string(layer) + name);
      ASSERT_NE(tensor, nullptr) << name;
      EXPECT_EQ(tensor->dims, dims) << name;
      EXPECT_EQ(tensor->type, QuantType::F32) << name;
    }
  }
  EXPECT_EQ(file->find_tensor("blk.0.ffn_norm.weight"), nullptr);
  EXPECT_EQ(file->require_uint("gpt-oss.attention.sliding_window", 1, 4096).value(), 128u);
  EXPECT_EQ(file->require_uint("gpt-oss.expert_feed_forward_length", 1, 4096).value(), 2880u);
  EXPECT_EQ(file->require_string("gpt-oss.rope.scaling.type").value(), "yarn");
  EXPECT_EQ(file->require_float("gpt-oss.rope.scaling.factor", 1, 64).value(), 32.0f);
  EXPECT_EQ(file->require_uint("gpt-oss.rope.scaling.original_context_length", 1, 131072).value(),
            4096u);
}

TEST_F(SynthFile, WordsAreThoseOfTheFileAndNumberedOnes) {
  const std::string bundled = repo_path("models/floe-nano.gguf");
  SynthOptions wanted = options("qwen3-30b-a3b");
  wanted.n_experts = 8;
  wanted.n_vocab = 9000;
  wanted.words_path = bundled;
  const auto result = synthesize(wanted);
  ASSERT_TRUE(result.ok()) << result.error().message;
  const auto file = GgufFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto padded = Tokenizer::load(*file);
  ASSERT_TRUE(padded.ok()) << padded.error().message;
  const auto original = Tokenizer::load(*GgufFile::open(bundled));
  ASSERT_TRUE(original.ok());
  EXPECT_EQ((*padded)->n_vocab(), 9000);
  for (const std::string text : {"The cat sat. w8999", "<|user|> 1 + 1 = ", "\xF0\x9F\x90\xB1"}) {
    EXPECT_EQ((*padded)->encode(text, true, true), (*original)->encode(text, true, true)) << text;
  }
  const std::vector<int32_t> added = {8192, 8999};
  EXPECT_EQ((*padded)->decode(added, false), " w8192 w8999");

  SynthOptions too_small = wanted;
  too_small.n_vocab = 64;
  EXPECT_EQ(synthesize(too_small).error().kind, ErrorKind::usage);
  SynthOptions wordless = options("qwen3-30b-a3b");
  wordless.n_experts = 8;
  ASSERT_TRUE(synthesize(wordless).ok());
  wanted.words_path = path_;
  EXPECT_EQ(synthesize(wanted).error().kind, ErrorKind::usage);
}

TEST_F(SynthFile, ImpossibleChangesAreUsageErrors) {
  SynthOptions few_experts = options("qwen3-30b-a3b");
  few_experts.n_experts = 7;
  SynthOptions unequal_groups = options("deepseek-v3");
  unequal_groups.n_experts = 77;
  SynthOptions dense = options("qwen3-30b-a3b");
  dense.n_dense = 1;
  SynthOptions unknown = options("gpt-9");
  SynthOptions type = options("qwen3-30b-a3b");
  type.type = QuantType::Q2_K;
  for (const SynthOptions& bad : {few_experts, unequal_groups, dense, unknown, type}) {
    const auto result = synthesize(bad);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind, ErrorKind::usage) << result.error().message;
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace floe

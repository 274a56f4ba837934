// A draft head in a file of its own.
#include <cstring>
#include <functional>

#include "model/harness.h"
#include "store/gguf.h"
#include "store/gguf_writer.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

constexpr const char* kHead = "blk.3.";  // of the tiny model

std::vector<int32_t> some_tokens(uint32_t n_vocab) {
  std::vector<int32_t> tokens;
  for (uint32_t i = 0; i < 20; ++i) tokens.push_back(static_cast<int32_t>(i * 7919 % n_vocab));
  return tokens;
}

// Logits of the trunk, then of the head over the trunk's hidden states.
Result<std::vector<float>> run(const std::string& path, const std::string& mtp_path) {
  RunSetup setup;
  setup.mtp_path = mtp_path;
  FLOE_TRY(LoadedModel loaded, LoadedModel::load(path, setup));
  if (!loaded.model->info().has_mtp) return model_error("no head");
  const std::vector<int32_t> tokens = some_tokens(loaded.model->info().n_vocab);
  const std::vector<uint32_t> slots = loaded.take_slots(32);
  const Rows trunk = run_tokens(loaded, slots, tokens, 0, 64);
  const Rows head = run_mtp(loaded, slots, tokens, trunk.hidden, 64);
  std::vector<float> logits = trunk.logits;
  logits.insert(logits.end(), head.logits.begin(), head.logits.end());
  return logits;
}

void expect_same_logits(const Result<std::vector<float>>& found,
                        const Result<std::vector<float>>& expected) {
  ASSERT_TRUE(found.ok()) << found.error().message;
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  ASSERT_EQ(found->size(), expected->size());
  EXPECT_EQ(std::memcmp(found->data(), expected->data(), found->size() * sizeof(float)), 0);
}

class MtpFile : public testing::Test {
 protected:
  std::string write(const std::string& name, const TinyModel& model) {
    return folder_.write(name, model.bytes());
  }
  static TinyModel keep(TinyModel model, const std::function<bool(const TinyTensor&)>& wanted) {
    std::erase_if(model.tensors(), [&](const TinyTensor& t) { return !wanted(t); });
    return model;
  }
  static bool in_head(const TinyTensor& tensor) { return tensor.name.starts_with(kHead); }
  static TinyModel trunk_only() {
    return keep(tiny_glm_dsa(), [](const TinyTensor& t) { return !in_head(t); });
  }
  static TinyModel head_only() { return keep(tiny_glm_dsa(), in_head); }

  void expect_refused(const TinyModel& trunk, const TinyModel& head, const std::string& named,
                      const std::string& found) {
    const auto logits = run(write("trunk.gguf", trunk), write("head.gguf", head));
    ASSERT_FALSE(logits.ok()) << named;
    const std::string& message = logits.error().message;
    EXPECT_EQ(logits.error().kind, ErrorKind::model) << message;
    for (const std::string& part :
         {std::string("head.gguf: "), named, std::string("expected"), "found " + found}) {
      EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
    }
  }

  ScratchFolder folder_;
};

TEST_F(MtpFile, TwoFilesGiveTheLogitsOfOne) {
  const auto whole = run(write("whole.gguf", tiny_glm_dsa()), "");
  const std::string head = write("head.gguf", head_only());
  expect_same_logits(run(write("trunk.gguf", trunk_only()), head), whole);

  // As a pruned trunk's metadata says it: its own number of experts, and no head at all.
  TinyModel pruned = trunk_only();
  pruned.set("expert_count", 5u);
  pruned.set("block_count", 3u);
  pruned.erase("nextn_predict_layers");
  expect_same_logits(run(write("pruned.gguf", pruned), head), whole);
}

TEST_F(MtpFile, ATrunkAloneHasNoHead) {
  auto loaded = LoadedModel::load(write("trunk.gguf", trunk_only()), {});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_FALSE(loaded->model->info().has_mtp);
}

TEST_F(MtpFile, TheFileOfTheHeadWins) {
  TinyModel other = tiny_glm_dsa();
  for (TinyTensor& tensor : other.tensors()) {
    for (float& value : tensor.values()) value *= 0.75f;
  }
  TinyModel joined = tiny_glm_dsa();
  for (TinyTensor& tensor : joined.tensors()) {
    if (in_head(tensor)) tensor.data = other.find(tensor.name)->data;
  }
  const auto expected = run(write("joined.gguf", joined), "");
  // The other file is a whole model: only its head is read.
  expect_same_logits(run(write("whole.gguf", tiny_glm_dsa()), write("other.gguf", other)),
                     expected);
}

TEST_F(MtpFile, AnotherModelsHeadIsRefused) {
  const TinyModel trunk = trunk_only();
  TinyModel head = head_only();
  head.set("embedding_length", 64u);
  expect_refused(trunk, head, "glm-dsa.embedding_length", "64");
  head = head_only();
  head.set("vocab_size", kTinyVocab + 1);
  expect_refused(trunk, head, "glm-dsa.vocab_size", std::to_string(kTinyVocab + 1));
  head = head_only();
  head.set("general.architecture", std::string("deepseek2"));
  expect_refused(trunk, head, "general.architecture", "deepseek2");
  head = head_only();
  head.remove("blk.3.nextn.eh_proj.weight");
  expect_refused(trunk, head, "blk.3.nextn.eh_proj.weight", "no such tensor");
  head = head_only();
  head.remove("blk.3.ffn_gate_inp.weight");
  head.add("blk.3.ffn_gate_inp.weight", {32, 1});
  expect_refused(trunk, head, "blk.3.ffn_gate_inp.weight", "");
  head = head_only();
  head.add("blk.3.more.weight", {32});
  expect_refused(trunk, head, "blk.3.more.weight", "[32] of F32");
  TinyModel other_layers = trunk_only();
  other_layers.set("block_count", 3u);  // a trunk of two layers and a head
  const auto logits = run(write("trunk.gguf", other_layers), write("head.gguf", head_only()));
  ASSERT_FALSE(logits.ok());
  EXPECT_EQ(logits.error().kind, ErrorKind::model);
  expect_refused(tiny_llama(), tiny_llama(), "general.architecture", "llama");
}

// The reference models with a head, taken apart as a converter would.
class MtpFileGolden : public testing::TestWithParam<GoldenCase> {};

void copy_tensors(const GgufFile& file, const std::string& path,
                  const std::function<bool(const TensorView&)>& wanted) {
  GgufHeaderBuilder header;
  for (const MetadataEntry& entry : file.entries()) header.add_copy(entry);
  for (const TensorView& t : file.tensors()) {
    if (wanted(t)) header.add_tensor(t.name, t.type, t.dims);
  }
  auto writer = GgufWriter::create(path, header);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  for (const TensorView& t : file.tensors()) {
    if (!wanted(t)) continue;
    ASSERT_TRUE(writer->append(t.name, {t.data, t.size_bytes}).ok());
  }
  ASSERT_TRUE(writer->finish().ok());
}

TEST_P(MtpFileGolden, TwoFilesGiveTheLogitsOfOne) {
  const GoldenCase& c = GetParam();
  auto file = GgufFile::open(c.model_path);
  ASSERT_TRUE(file.ok());
  const uint64_t n_blocks = file->require_uint(c.architecture + ".block_count", 1, 512).value();
  const std::string prefix = "blk." + std::to_string(n_blocks - 1) + ".";
  const auto in_head = [&](const TensorView& t) { return t.name.starts_with(prefix); };
  const ScratchFolder folder;
  const std::string trunk = folder.file("trunk.gguf");
  const std::string head = folder.file("head.gguf");
  copy_tensors(*file, trunk, [&](const TensorView& t) { return !in_head(t); });
  copy_tensors(*file, head, in_head);
  expect_same_logits(run(trunk, head), run(c.model_path, ""));
}

std::vector<GoldenCase> cases_with_head() {
  std::vector<GoldenCase> cases = golden_cases();
  std::erase_if(cases, [](const GoldenCase& c) { return !c.mtp; });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Cases, MtpFileGolden, testing::ValuesIn(cases_with_head()), golden_name);

}  // namespace
}  // namespace floe::test

// Token ids and detokenised bytes of the reference set.
#include <gtest/gtest.h>

#include "base/json.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

class GoldenTokenizer : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, EveryTextGivesTheReferenceIdsAndBytes) {
  const Tokenizer* tokenizer = testing::reference_tokenizer(GetParam());
  const std::string json =
      testing::read_file(testing::shared_dir() + "/golden/tokenizer_golden.json");
  if (tokenizer == nullptr || json.empty())
    GTEST_SKIP() << "reference data not beside the checkout";
  const auto parsed = parse_json(json);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  const Json& golden = *parsed;
  const auto& vocab = golden["vocabs"][std::string("ggml-vocab-") + GetParam() + ".gguf"];
  ASSERT_EQ(tokenizer->n_vocab(), vocab["n_vocab"].get<int32_t>());
  ASSERT_EQ(golden["texts"].size(), vocab["ids"].size());
  size_t n_checked = 0;
  for (size_t i = 0; i < golden["texts"].size(); ++i) {
    const std::string text = golden["texts"][i];
    const std::vector<int32_t> expected = vocab["ids"][i];
    const std::vector<int32_t> ids = tokenizer->encode(text, false, false);
    EXPECT_EQ(ids, expected) << "text " << i << ": " << text;
    const auto differs = vocab["detok_diff_hex"].find(std::to_string(i));
    const std::string bytes =
        differs == vocab["detok_diff_hex"].end() ? text : from_hex(differs->get<std::string>());
    EXPECT_EQ(tokenizer->decode_tidy(expected, true), bytes) << "text " << i;
    if (tokenizer->model_name() == "gpt2") {
      EXPECT_EQ(tokenizer->decode(ids, true), text) << "text " << i;
    }
    ++n_checked;
  }
  EXPECT_EQ(n_checked, 148u);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, GoldenTokenizer,
                         ::testing::ValuesIn(testing::kReferenceVocabularies));

}  // namespace
}  // namespace floe

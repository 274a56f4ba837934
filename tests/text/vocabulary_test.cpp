// Vocabularies as model files state them.
#include "text/vocabulary.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "store/gguf.h"
#include "store/gguf_writer.h"
#include "text/small_vocabulary.h"
#include "text/tokenizer.h"

namespace floe {
namespace {

// What a file says: the keys of a small vocabulary, each of which a test may say otherwise.
struct FileSays {
  Vocabulary vocabulary = testing::small_byte_vocabulary({{"<|im_end|>", TokenType::control}});
  bool with_model = true;
  bool with_merges = true;
  bool with_types = true;
  std::function<void(GgufHeaderBuilder&)> more = [](GgufHeaderBuilder&) {};

  Result<std::unique_ptr<const Tokenizer>> load() const {
    GgufHeaderBuilder header;
    if (with_model) header.add_string("tokenizer.ggml.model", vocabulary.model);
    header.add_string("tokenizer.ggml.pre", vocabulary.pre);
    header.add_string_array("tokenizer.ggml.tokens",
                            std::span<const std::string>(vocabulary.tokens));
    if (with_merges) {
      header.add_string_array("tokenizer.ggml.merges",
                              std::span<const std::string>(vocabulary.merges));
    }
    if (with_types) {
      std::vector<int32_t> types;
      for (const TokenType type : vocabulary.types) types.push_back(static_cast<int32_t>(type));
      header.add_i32_array("tokenizer.ggml.token_type", types);
    }
    more(header);
    const auto bytes = header.serialise();
    FLOE_CHECK(bytes.ok());
    const auto index = parse_gguf(*bytes, "test.gguf");
    FLOE_CHECK(index.ok());
    return Tokenizer::load(index->metadata);
  }
};

void expect_refused(const FileSays& file, const std::string& part) {
  const auto tokenizer = file.load();
  ASSERT_FALSE(tokenizer.ok()) << "expected a refusal that says " << part;
  EXPECT_EQ(tokenizer.error().kind, ErrorKind::model);
  EXPECT_NE(tokenizer.error().message.find(part), std::string::npos) << tokenizer.error().message;
  EXPECT_NE(tokenizer.error().message.find("test.gguf"), std::string::npos);
}

TEST(LoadVocabulary, ReadsWhatTheFileSays) {
  FileSays file;
  const auto last = static_cast<uint32_t>(file.vocabulary.tokens.size()) - 1;
  file.more = [last](GgufHeaderBuilder& header) {
    header.add_u32("tokenizer.ggml.bos_token_id", last);
    header.add_u32("tokenizer.ggml.eos_token_id", 7);
    header.add_bool("tokenizer.ggml.add_bos_token", true);
    header.add_string("tokenizer.chat_template", "{{ x }}");
  };
  const auto tokenizer = file.load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->bos_id(), static_cast<int32_t>(last));
  EXPECT_EQ((*tokenizer)->eos_id(), 7);
  EXPECT_EQ((*tokenizer)->unknown_id(), -1);
  EXPECT_TRUE((*tokenizer)->is_end_of_generation(7));
  const std::vector<int32_t> ends = (*tokenizer)->end_of_generation_ids();
  EXPECT_TRUE(std::is_sorted(ends.begin(), ends.end()));
  for (int32_t id = 0; id < (*tokenizer)->n_vocab(); ++id) {
    EXPECT_EQ(std::binary_search(ends.begin(), ends.end(), id),
              (*tokenizer)->is_end_of_generation(id));
  }
  EXPECT_TRUE((*tokenizer)->is_end_of_generation(static_cast<int32_t>(last)));  // <|im_end|>
  EXPECT_TRUE((*tokenizer)->adds_bos());
  EXPECT_EQ((*tokenizer)->chat_template(), "{{ x }}");
  EXPECT_EQ((*tokenizer)->source(), "test.gguf");
  EXPECT_EQ((*tokenizer)->encode("hello", true, false).size(), 2u);
}

TEST(LoadVocabulary, FilesWithoutVocabularySayHowToGoOn) {
  FileSays file;
  for (const char* model : {"none", "no_vocab"}) {
    file.vocabulary.model = model;
    expect_refused(file, "token ids can still be run");
  }
  file.with_model = false;
  expect_refused(file, "tokenizer.ggml.model is absent");
}

TEST(LoadVocabulary, IdsOfNoTokenAreAbsent) {
  for (const char* name : {"bos", "eos", "eot", "eom", "unknown", "padding"}) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    using Add = std::function<void(GgufHeaderBuilder&)>;
    const Add writers[] = {
        [&](GgufHeaderBuilder& header) { header.add_u32(key, 4294967295u); },
        [&](GgufHeaderBuilder& header) { header.add_i32(key, -1); },
        [&](GgufHeaderBuilder& header) { header.add_i32(key, -5); },
        [&](GgufHeaderBuilder& header) { header.add_u32(key, 100000); },
    };
    for (const Add& write : writers) {
      FileSays file;
      file.more = write;
      const auto tokenizer = file.load();
      ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
      EXPECT_EQ((*tokenizer)->bos_id(), -1);
      EXPECT_EQ((*tokenizer)->eos_id(), -1);
      // Found by what it spells.
      EXPECT_TRUE((*tokenizer)->is_end_of_generation((*tokenizer)->eot_id()));
      EXPECT_EQ((*tokenizer)->unknown_id(), -1);
      EXPECT_EQ((*tokenizer)->pad_id(), -1);
      EXPECT_EQ((*tokenizer)->encode("hello", true, false).size(), 1u);
    }
  }
}

TEST(LoadVocabulary, RefusesWrongTypesAndRanges) {
  FileSays file;
  file.vocabulary.model = "bert";
  expect_refused(file, "found 'bert'");
  file = {};
  file.with_merges = false;
  expect_refused(file, "tokenizer.ggml.merges");
  file = {};
  file.more = [](GgufHeaderBuilder& header) {
    header.add_string("tokenizer.ggml.eos_token_id", "x");
  };
  expect_refused(file, "tokenizer.ggml.eos_token_id");
  file.more = [](GgufHeaderBuilder& header) {
    const std::vector<std::string> words = {"a"};
    header.add_string_array("tokenizer.ggml.scores", std::span<const std::string>(words));
  };
  expect_refused(file, "tokenizer.ggml.scores");
  file.more = [](GgufHeaderBuilder& header) {
    const std::vector<float> scores = {1, 2};
    header.add_f32_array("tokenizer.ggml.scores", scores);
  };
  expect_refused(file, "tokenizer.ggml.scores");
  file = {};
  file.with_types = false;
  file.more = [](GgufHeaderBuilder& header) {
    const std::vector<int32_t> types = {1, 2, 9};
    header.add_i32_array("tokenizer.ggml.token_type", types);
  };
  expect_refused(file, "tokenizer.ggml.token_type");
  file.more = [](GgufHeaderBuilder& header) { header.add_u32("tokenizer.ggml.token_type", 1); };
  expect_refused(file, "tokenizer.ggml.token_type");
}

void expect_other(const Vocabulary& vocabulary, const std::string& message) {
  Vocabulary reference = testing::small_byte_vocabulary({{"<|im_end|>", TokenType::control}});
  reference.source = "trunk.gguf";
  const auto same = expect_same_tokens(vocabulary, reference);
  ASSERT_FALSE(same.ok()) << message;
  EXPECT_EQ(same.error().kind, ErrorKind::model);
  EXPECT_EQ(same.error().message, message);
}

TEST(SameTokens, NamesWhatDiffersFirst) {
  Vocabulary reference = testing::small_byte_vocabulary({{"<|im_end|>", TokenType::control}});
  reference.source = "trunk.gguf";
  reference.eos_id = 5;
  Vocabulary same = reference;
  same.source = "draft.gguf";
  same.scores.clear();
  EXPECT_TRUE(expect_same_tokens(same, reference).ok());

  reference.eos_id = -1;
  same.eos_id = -1;
  Vocabulary other = same;
  const std::string left = other.tokens[40];
  other.tokens[40] = "a\x1b";
  other.tokens[41] = "b";
  expect_other(other, "draft.gguf: tokenizer.ggml.tokens: token 40: expected '" + left +
                          "' as in trunk.gguf, found 'a\\x1b'");
  other = same;
  other.tokens.push_back("more");
  expect_other(other, fmt::format("draft.gguf: tokenizer.ggml.tokens: expected {} tokens as in "
                                  "trunk.gguf, found {}",
                                  same.tokens.size(), other.tokens.size()));
  other = same;
  other.bos_id = 3;
  expect_other(other, fmt::format("draft.gguf: tokenizer.ggml.bos_token_id: expected {} as in "
                                  "trunk.gguf, found 3",
                                  same.bos_id < 0 ? "none" : std::to_string(same.bos_id)));
  other = same;
  other.eos_id = 7;
  expect_other(other,
               "draft.gguf: tokenizer.ggml.eos_token_id: expected none as in trunk.gguf, "
               "found 7");
}

}  // namespace
}  // namespace floe

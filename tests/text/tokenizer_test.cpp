#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <random>
#include <thread>

#include "repo_path.h"
#include "text/byte_pair.h"
#include "text/score_merge.h"
#include "text/small_vocabulary.h"
#include "text/special_tokens.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

using testing::reference_tokenizer;
using testing::small_byte_vocabulary;
using testing::small_score_vocabulary;

std::unique_ptr<const Tokenizer> build(Vocabulary vocabulary) {
  auto tokenizer = Tokenizer::build(std::move(vocabulary));
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return std::move(tokenizer).value();
}

void expect_refused(Vocabulary vocabulary, const std::string& part) {
  const auto tokenizer = Tokenizer::build(std::move(vocabulary));
  ASSERT_FALSE(tokenizer.ok()) << "expected a refusal that says " << part;
  EXPECT_EQ(tokenizer.error().kind, ErrorKind::model);
  EXPECT_NE(tokenizer.error().message.find(part), std::string::npos) << tokenizer.error().message;
  EXPECT_NE(tokenizer.error().message.find("small.gguf"), std::string::npos);
  EXPECT_EQ(tokenizer.error().message.find('\n'), std::string::npos);
}

const std::vector<std::pair<std::string, TokenType>> kMarkers = {
    {"<|im_start|>", TokenType::control}, {"<|im_end|>", TokenType::control},
    {"<think>", TokenType::user_defined}, {"</think>", TokenType::user_defined},
    {"<unk>", TokenType::unknown},        {"fine grained", TokenType::user_defined}};

TEST(Tokenizer, MergesByRankLeftmostFirst) {
  const auto tokenizer = build(small_byte_vocabulary({}));
  const auto text_of = [&](const std::vector<int32_t>& ids) {
    std::vector<std::string> out;
    for (const int32_t id : ids) out.emplace_back(tokenizer->token_bytes(id));
    return out;
  };
  using Words = std::vector<std::string>;
  EXPECT_EQ(text_of(tokenizer->encode("hello world", false, false)),
            (Words{"hello", " w", "or", "l", "d"}));
  EXPECT_EQ(text_of(tokenizer->encode("aaaaaaa", false, false)), (Words{"aaaa", "aa", "a"}));
  EXPECT_EQ(text_of(tokenizer->encode("hells", false, false)), (Words{"hell", "s"}));
  EXPECT_TRUE(tokenizer->encode("", false, false).empty());
}

// The merge list applied without a heap: the lowest rank anywhere, leftmost first, until none
// applies.
std::vector<std::string> merge_naively(const Vocabulary& vocabulary, const std::string& word) {
  std::vector<std::string> symbols;
  for (const char byte : word) {
    symbols.push_back(vocabulary.tokens[static_cast<uint8_t>(byte)]);
  }
  while (true) {
    size_t best_rank = vocabulary.merges.size();
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = std::find(vocabulary.merges.begin(), vocabulary.merges.end(),
                                   symbols[i] + " " + symbols[i + 1]);
      const size_t rank = static_cast<size_t>(found - vocabulary.merges.begin());
      if (rank < best_rank) {
        best_rank = rank;
        best_at = i;
      }
    }
    if (best_rank == vocabulary.merges.size()) break;
    symbols[best_at] += symbols[best_at + 1];
    symbols.erase(symbols.begin() + static_cast<long>(best_at) + 1);
  }
  for (std::string& symbol : symbols) symbol = decode_byte_level_text(symbol);
  return symbols;
}

TEST(Tokenizer, EqualsTheNaiveMergeOnRandomMergeLists) {
  std::mt19937 random(99);
  for (int round = 0; round < 300; ++round) {
    Vocabulary vocabulary = small_byte_vocabulary({});
    vocabulary.merges.clear();
    vocabulary.tokens.resize(256);
    vocabulary.types.resize(256);
    std::vector<std::string> parts = {"a", "b", "c"};
    for (int i = 0; i < 12; ++i) {
      const std::string left = parts[random() % parts.size()];
      const std::string right = parts[random() % parts.size()];
      vocabulary.merges.push_back(left + " " + right);
      if (std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), left + right) ==
          vocabulary.tokens.end()) {
        vocabulary.tokens.push_back(left + right);
        vocabulary.types.push_back(TokenType::normal);
      }
      parts.push_back(left + right);
    }
    const Vocabulary copy = vocabulary;
    const auto tokenizer = build(std::move(vocabulary));
    for (int i = 0; i < 20; ++i) {
      std::string word(1 + random() % 30, 'a');
      for (char& c : word) c = static_cast<char>('a' + random() % 3);
      std::vector<std::string> pieces;
      for (const int32_t id : tokenizer->encode(word, false, false)) {
        pieces.emplace_back(tokenizer->token_bytes(id));
      }
      ASSERT_EQ(pieces, merge_naively(copy, word)) << word;
    }
  }
}

// The best score first, leftmost among equals, tried on texts without spaces, where words are long.
std::vector<int32_t> merge_scores_naively(const Vocabulary& vocabulary, const std::string& text) {
  const auto id_of = [&](const std::string& piece) {
    const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), piece);
    return found == vocabulary.tokens.end()
               ? -1
               : static_cast<int32_t>(found - vocabulary.tokens.begin());
  };
  std::vector<std::string> pieces;
  for (const char c : text) pieces.emplace_back(1, c);
  for (;;) {
    int32_t best = -1;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const int32_t id = id_of(pieces[i] + pieces[i + 1]);
      if (id < 0) continue;
      if (best < 0 || vocabulary.scores[id] > vocabulary.scores[best]) {
        best = id;
        best_at = i;
      }
    }
    if (best < 0) break;
    pieces[best_at] += pieces[best_at + 1];
    pieces.erase(pieces.begin() + static_cast<long>(best_at) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& piece : pieces) ids.push_back(id_of(piece));
  return ids;
}

TEST(Tokenizer, EqualsTheNaiveMergeOnRandomScores) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    Vocabulary vocabulary = small_score_vocabulary();
    vocabulary.add_space_prefix = Vocabulary::Choice::no;
    const auto add = [&](const std::string& text) {
      if (std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), text) !=
          vocabulary.tokens.end()) {
        return;
      }
      vocabulary.tokens.push_back(text);
      vocabulary.types.push_back(TokenType::normal);
      vocabulary.scores.push_back(-static_cast<float>(random() % 6));  // many equals
    };
    for (const char* letter : {"x", "y", "z"}) add(letter);
    for (int i = 0; i < 14; ++i) {
      std::string text(2 + random() % 4, 'x');
      for (char& c : text) c = static_cast<char>('x' + random() % 3);
      add(text);
    }
    const Vocabulary copy = vocabulary;
    const auto tokenizer = build(std::move(vocabulary));
    for (int i = 0; i < 20; ++i) {
      std::string text(1 + random() % 40, 'x');
      for (char& c : text) c = static_cast<char>('x' + random() % 3);
      ASSERT_EQ(tokenizer->encode(text, false, false), merge_scores_naively(copy, text)) << text;
    }
  }
}

// Texts of others: what nobody will use is not encoded.
TEST(Tokenizer, AnEncodingEndsAtItsLimits) {
  for (const auto& tokenizer :
       {build(small_byte_vocabulary({})), build(small_score_vocabulary())}) {
    for (const std::string& text : {std::string(500'000, 'a'), std::string(500'000, ' '), [] {
                                      std::string words;
                                      while (words.size() < 500'000) words += "the ";
                                      return words;
                                    }()}) {
      const std::vector<int32_t> whole = tokenizer->encode(text, false, true);
      const Encoded complete = tokenizer->encode_within(text, false, true, {});
      EXPECT_EQ(complete.end, Encoded::End::complete);
      EXPECT_EQ(complete.ids, whole);
      EXPECT_EQ(complete.n_tokens_at_least, whole.size());

      const Encoded exact = tokenizer->encode_within(text, false, true, {whole.size(), {}});
      EXPECT_EQ(exact.end, Encoded::End::complete);
      const Encoded over = tokenizer->encode_within(text, false, true, {whole.size() - 1, {}});
      EXPECT_EQ(over.end, Encoded::End::too_long);
      EXPECT_GE(over.n_tokens_at_least, whole.size());

      const Encoded few = tokenizer->encode_within(text, false, true, {100, {}});
      EXPECT_EQ(few.end, Encoded::End::too_long);
      EXPECT_GT(few.n_tokens_at_least, 100u);
      EXPECT_LE(few.n_tokens_at_least, whole.size());
      EXPECT_LT(few.ids.size(), whole.size());

      int n_asked = 0;
      const Encoded left =
          tokenizer->encode_within(text, false, true, {SIZE_MAX, [&] { return ++n_asked == 2; }});
      EXPECT_EQ(left.end, Encoded::End::cancelled);
      EXPECT_EQ(n_asked, 2);
    }
  }
}

TEST(Tokenizer, UserTextNeverProducesSpecialTokens) {
  const auto tokenizer = build(small_byte_vocabulary(kMarkers));
  std::string everything;
  for (int32_t id = 0; id < tokenizer->n_vocab(); ++id) everything += tokenizer->token_bytes(id);
  for (const auto& [text, type] : kMarkers) everything += " " + text + text;
  for (const int32_t id : tokenizer->encode(everything, false, false)) {
    EXPECT_FALSE(tokenizer->is_special(id)) << tokenizer->token_bytes(id);
  }
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(everything, false, false), true), everything);
  const auto parsed = tokenizer->encode("a<|im_start|>b<think>", false, true);
  EXPECT_EQ(parsed.size(), 4u);
  EXPECT_EQ(parsed[1], *tokenizer->find_special("<|im_start|>"));
  EXPECT_EQ(parsed[3], *tokenizer->find_special("<think>"));
  // Words the vocabulary's author defined are ordinary text as a whole.
  const auto word = tokenizer->encode("xfine grainedy", false, false);
  ASSERT_EQ(word.size(), 3u);
  EXPECT_EQ(tokenizer->token_bytes(word[1]), "fine grained");
}

TEST(Tokenizer, UserTextNeverProducesSpecialTokensOfReferenceVocabularies) {
  size_t n_tokenizers = 0;
  for (const char* name : testing::kReferenceVocabularies) {
    const Tokenizer* tokenizer = reference_tokenizer(name);
    if (tokenizer == nullptr) continue;
    ++n_tokenizers;
    std::string text;
    size_t n_special = 0;
    for (int32_t id = 0; id < tokenizer->n_vocab(); ++id) {
      if (!tokenizer->is_special(id)) continue;
      ++n_special;
      text += tokenizer->token_bytes(id);
      text += " x";
    }
    EXPECT_GT(n_special, 0u);
    for (const int32_t id : tokenizer->encode(text, false, false)) {
      ASSERT_FALSE(tokenizer->is_special(id)) << name << " " << tokenizer->token_bytes(id);
    }
  }
  if (n_tokenizers == 0) GTEST_SKIP() << "reference data not beside the checkout";
}

TEST(Tokenizer, PartsJoinIntoWordsAndOnlyTrustedPartsMakeMarkers) {
  const auto tokenizer = build(small_byte_vocabulary(kMarkers));
  const TextPart parts[] = {
      {"<|im_start|>he", true}, {"llo<|im_end|>", false}, {"<|im_end|>", true}};
  std::vector<int32_t> expected = {*tokenizer->find_special("<|im_start|>")};
  const auto middle = tokenizer->encode("hello<|im_end|>", false, false);
  expected.insert(expected.end(), middle.begin(), middle.end());
  expected.push_back(*tokenizer->find_special("<|im_end|>"));
  EXPECT_EQ(tokenizer->encode_parts(parts), expected);
}

TEST(Tokenizer, ByteLevelRoundTripsAnyBytes) {
  const auto tokenizer = build(small_byte_vocabulary(kMarkers));
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 60, '\0');
    for (char& byte : text)
      byte = static_cast<char>(random() % 3 == 0 ? random() : 'a' + random() % 8);
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, false, false), true), text);
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, false, true), true), text);
  }
}

TEST(Tokenizer, DecodeIsTotal) {
  for (const auto& tokenizer :
       {build(small_byte_vocabulary(kMarkers)), build(small_score_vocabulary())}) {
    std::vector<int32_t> ids = {-1, INT32_MIN, INT32_MAX, tokenizer->n_vocab()};
    for (int32_t id = 0; id < tokenizer->n_vocab(); ++id) ids.push_back(id);
    EXPECT_FALSE(tokenizer->decode(ids, true).empty());
    EXPECT_TRUE(tokenizer->token_bytes(-1).empty());
    EXPECT_TRUE(tokenizer->token_bytes(tokenizer->n_vocab()).empty());
    EXPECT_FALSE(tokenizer->is_special(-1));
    EXPECT_FALSE(tokenizer->is_end_of_generation(tokenizer->n_vocab()));
  }
}

TEST(Tokenizer, ScoreVocabularyEncodesAndDecodes) {
  const auto tokenizer = build(small_score_vocabulary());
  const auto pieces = [&](const std::string& text) {
    std::vector<std::string> out;
    for (const int32_t id : tokenizer->encode(text, false, false)) {
      out.emplace_back(tokenizer->token_bytes(id));
    }
    return out;
  };
  using Words = std::vector<std::string>;
  EXPECT_EQ(pieces("the in"), (Words{" the", " ", "in"}));
  EXPECT_EQ(pieces("  t"), (Words{"  ", " t"}));
  EXPECT_EQ(pieces("\xC3\xA9"), (Words{" ", "\xC3", "\xA9"}));
  EXPECT_EQ(pieces("<s>"), (Words{" ", "<", "s>"}));
  const std::string text = "the  inn \xF0\x9F\x98\x80 <s> t";
  const auto ids = tokenizer->encode(text, true, false);
  EXPECT_EQ(ids.front(), tokenizer->bos_id());
  EXPECT_EQ(tokenizer->decode(ids, false), text);
  EXPECT_EQ(tokenizer->encode("", true, false), std::vector<int32_t>{tokenizer->bos_id()});
}

// Splitting at spaces must not change what merging over the whole text gives.
TEST(Tokenizer, ScoreVocabularyMatchesReferenceOnLongText) {
  const Tokenizer* tokenizer = reference_tokenizer("llama-spm");
  if (tokenizer == nullptr) GTEST_SKIP() << "reference data not beside the checkout";
  const std::string text = testing::read_file(repo_path("LICENSE"));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, true, false), false), text);
}

TEST(Tokenizer, AddsBosAndEosWhereTheFileSaysSo) {
  Vocabulary vocabulary = small_byte_vocabulary({{"<s>", TokenType::control}});
  vocabulary.bos_id = vocabulary.eos_id = static_cast<int32_t>(vocabulary.tokens.size()) - 1;
  vocabulary.add_eos = Vocabulary::Choice::yes;
  const int32_t id = vocabulary.bos_id;
  EXPECT_EQ(build(vocabulary)->encode("a", true, false), (std::vector<int32_t>{'a', id}));
  vocabulary.add_bos = Vocabulary::Choice::yes;
  EXPECT_EQ(build(vocabulary)->encode("a", true, false), (std::vector<int32_t>{id, 'a', id}));
  EXPECT_EQ(build(vocabulary)->encode("a", false, false), (std::vector<int32_t>{'a'}));
}

TEST(Tokenizer, EndOfGenerationFollowsKeysAndTexts) {
  Vocabulary vocabulary = small_byte_vocabulary({{"<|end|>", TokenType::control},
                                                 {"<|user|>", TokenType::control},
                                                 {"<|endoftext|>", TokenType::control}});
  const int32_t n = static_cast<int32_t>(vocabulary.tokens.size());
  auto tokenizer = build(vocabulary);
  EXPECT_TRUE(tokenizer->is_end_of_generation(n - 3));
  EXPECT_FALSE(tokenizer->is_end_of_generation(n - 2));
  EXPECT_TRUE(tokenizer->is_end_of_generation(n - 1));
  EXPECT_EQ(tokenizer->eot_id(), n - 3);
  vocabulary.eot_id = n - 2;  // as GLM files have it
  tokenizer = build(vocabulary);
  EXPECT_TRUE(tokenizer->is_end_of_generation(n - 2));
  EXPECT_EQ(tokenizer->eot_id(), n - 2);
}

TEST(Vocabulary, RefusesWhatDoesNotFitTogether) {
  Vocabulary vocabulary = small_byte_vocabulary({});
  vocabulary.pre = "who-knows";
  expect_refused(vocabulary, "'who-knows'");
  vocabulary = small_byte_vocabulary({});
  vocabulary.model = "bert";
  expect_refused(vocabulary, "tokenizer.ggml.model");
  vocabulary = small_byte_vocabulary({});
  vocabulary.types.pop_back();
  expect_refused(vocabulary, "token_type");
  vocabulary = small_score_vocabulary();
  vocabulary.scores.push_back(1);
  expect_refused(vocabulary, "scores");
  vocabulary = small_score_vocabulary();
  vocabulary.scores.clear();
  expect_refused(vocabulary, "scores");
  vocabulary = small_byte_vocabulary({});
  vocabulary.tokens.clear();
  expect_refused(vocabulary, "tokens");
  for (int32_t Vocabulary::*id :
       {&Vocabulary::bos_id, &Vocabulary::eos_id, &Vocabulary::eot_id, &Vocabulary::eom_id,
        &Vocabulary::unknown_id, &Vocabulary::pad_id}) {
    vocabulary = small_byte_vocabulary({});
    vocabulary.*id = static_cast<int32_t>(vocabulary.tokens.size());
    expect_refused(vocabulary, "token_id: expected 0 to");
    vocabulary.*id = -2;
    expect_refused(vocabulary, "found -2");
  }
  vocabulary = small_byte_vocabulary({});
  vocabulary.merges.push_back("nospace");
  expect_refused(vocabulary, "merges[11]");
  vocabulary = small_byte_vocabulary({});
  vocabulary.merges.push_back("a ");
  expect_refused(vocabulary, "merges[11]");
  vocabulary = small_byte_vocabulary({});
  vocabulary.tokens[5] = std::string(70000, 'x');
  expect_refused(vocabulary, "tokens[5]");
  vocabulary = small_byte_vocabulary({});
  vocabulary.add_bos = Vocabulary::Choice::yes;
  expect_refused(vocabulary, "bos_token_id");
}

TEST(Vocabulary, ByteTokensAreParsedStrictly) {
  EXPECT_EQ(parse_byte_token("<0x0A>"), 0x0A);
  EXPECT_EQ(parse_byte_token("<0xff>"), 0xFF);
  for (const char* text : {"<0x-1>", "<0xGG>", "<0x100>", "<0x1>", "", "<0x0A", "0x0A>", "<0X0A>",
                           "<0x0A>x", "<0x 1>"}) {
    EXPECT_FALSE(parse_byte_token(text).has_value()) << text;
    Vocabulary vocabulary = small_score_vocabulary();
    vocabulary.tokens[7] = text;
    expect_refused(vocabulary, "tokens[7]");
  }
}

TEST(Vocabulary, OddButHarmlessPartsHaveDefinedMeaning) {
  Vocabulary vocabulary = small_byte_vocabulary({});
  const size_t n = vocabulary.tokens.size();
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"hello", "", "<0x-1>"});
  vocabulary.types.insert(vocabulary.types.end(), 3, TokenType::normal);
  vocabulary.merges.insert(vocabulary.merges.end(), {"x y", "xy z", "hell o", "z z"});
  const auto tokenizer = build(vocabulary);
  // A duplicate token never comes out; the first one does. Both decode.
  const auto hello = tokenizer->encode("hello", false, false);
  ASSERT_EQ(hello.size(), 1u);
  EXPECT_LT(hello[0], static_cast<int32_t>(n));
  EXPECT_EQ(tokenizer->token_bytes(static_cast<int32_t>(n)), "hello");
  // An empty token decodes to nothing.
  EXPECT_EQ(tokenizer->token_bytes(static_cast<int32_t>(n) + 1), "");
  // Merges whose parts or results are no tokens fall back to the tokens of their bytes.
  EXPECT_EQ(tokenizer->encode("xyz", false, false), (std::vector<int32_t>{'x', 'y', 'z'}));
  EXPECT_EQ(tokenizer->encode("zz", false, false), (std::vector<int32_t>{'z', 'z'}));
}

TEST(Vocabulary, BytesWithoutTokensBecomeTheReplacementCharacterOrNothing) {
  Vocabulary vocabulary = small_byte_vocabulary({});
  vocabulary.tokens['q'] = "unrelated";
  const auto with_replacement = build(vocabulary);
  EXPECT_EQ(with_replacement->decode(with_replacement->encode("aqb", false, false), true),
            "a\xEF\xBF\xBD"
            "b");
  vocabulary.tokens[0xEF] = "gone";
  const auto without = build(vocabulary);
  EXPECT_EQ(without->decode(without->encode("aqb", false, false), true), "ab");
  vocabulary = small_score_vocabulary();
  vocabulary.unknown_id = -1;
  vocabulary.types[0] = TokenType::normal;
  vocabulary.tokens[9] = "nobyte";
  vocabulary.types[9] = TokenType::normal;
  expect_refused(vocabulary, "256 byte tokens");
}

TEST(SpecialMatcher, PrefersLeftmostThenLongest) {
  SpecialMatcher matcher;
  matcher.add("<a>", 1);
  matcher.add("<a><b>", 2);
  matcher.add("a>", 3);
  matcher.add("", 4);
  matcher.add(std::string(300, 'x'), 5);
  matcher.add("<a>", 6);
  const auto match = matcher.find("..<a><b>", 0);
  ASSERT_TRUE(match.has_value());
  EXPECT_EQ(match->offset, 2u);
  EXPECT_EQ(match->id, 2);
  EXPECT_EQ(matcher.find("<a><c", 0)->id, 1);
  EXPECT_FALSE(matcher.find(std::string(400, 'x'), 0).has_value());
  EXPECT_EQ(matcher.find_exact("a>"), 3);
  EXPECT_FALSE(matcher.find_exact("<").has_value());
  EXPECT_FALSE(matcher.find_exact("").has_value());
}

// ---- Linear time (the K1 inputs), by counting steps.

std::vector<std::pair<std::string, std::string>> long_inputs(size_t n_bytes) {
  const auto repeat = [&](const std::string& unit) {
    std::string text;
    while (text.size() < n_bytes) text += unit;
    return text;
  };
  std::mt19937 random(3);
  std::string noise(n_bytes, '\0');
  for (char& byte : noise) byte = static_cast<char>(random());
  return {{"letter", repeat("a")},
          {"Z", repeat("Z")},
          {"digits", repeat("7")},
          {"spaces", repeat(" ")},
          {"newlines", repeat("\n")},
          {"tabs and newlines", repeat("\t\n ")},
          {"us", repeat("us")},
          {"words", repeat("hello world ")},
          {"apostrophes", repeat("'")},
          {"angles", repeat("<|im_start")},
          {"cjk", repeat("\xE4\xBD\xA0")},
          {"marks", repeat("\xCC\x81")},
          {"emoji", repeat("\xF0\x9F\x91\xA8\xE2\x80\x8D")},
          {"space marks", repeat("\xE2\x96\x81")},
          {"noise", noise}};
}

void expect_linear(const Tokenizer& tokenizer, const std::string& name, size_t n_bytes) {
  const auto once = long_inputs(n_bytes);
  const auto twice = long_inputs(2 * n_bytes);
  for (size_t i = 0; i < once.size(); ++i) {
    EncodeWork one;
    EncodeWork two;
    tokenizer.encode(once[i].second, false, true, &one);
    tokenizer.encode(twice[i].second, false, true, &two);
    const std::string label = name + " on " + once[i].first;
    EXPECT_GT(one.n_character_looks, 0u) << label;
    EXPECT_LE(static_cast<double>(two.n_character_looks),
              2.1 * static_cast<double>(one.n_character_looks))
        << label;
    EXPECT_LE(static_cast<double>(two.n_merge_steps),
              2.1 * static_cast<double>(one.n_merge_steps) + 64)
        << label;
    EXPECT_LE(two.n_character_looks, 40 * twice[i].second.size()) << label;
    EXPECT_LE(two.n_merge_steps, 8 * twice[i].second.size() * 17 / 16) << label;
  }
}

TEST(LinearTime, StepsGrowWithTheTextForEverySplitter) {
  for (const char* pre : {"gpt-2", "llama-bpe", "qwen2", "qwen35", "deepseek-llm", "deepseek-coder",
                          "deepseek-v3", "glm4", "default"}) {
    expect_linear(*build(small_byte_vocabulary(kMarkers, pre)), pre, 72 * 1024);
  }
  expect_linear(*build(small_score_vocabulary()), "score", 72 * 1024);
}

TEST(LinearTime, StepsGrowWithTheTextForReferenceVocabularies) {
  size_t n_tokenizers = 0;
  for (const char* name : testing::kReferenceVocabularies) {
    if (const Tokenizer* tokenizer = reference_tokenizer(name)) {
      expect_linear(*tokenizer, name, 48 * 1024);
      ++n_tokenizers;
    }
  }
  if (n_tokenizers == 0) GTEST_SKIP() << "reference data not beside the checkout";
}

TEST(LinearTime, LongWordsEncodeAlikeWhereverTheWindowFalls) {
  const auto tokenizer = build(small_byte_vocabulary({}));
  const size_t n = 3 * kMergeWindowBytes + 12345;
  const auto ids = tokenizer->encode(std::string(n, 'a'), false, false);
  EXPECT_EQ(tokenizer->decode(ids, true).size(), n);
  // aa, aaaa: all fours, then the remainder.
  EXPECT_EQ(ids.size(), n / 4 + n % 4 / 2 + n % 2);
}

// Small enough that recursion of any depth would show; sanitizers need more for themselves.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kSmallStackBytes = 512 * 1024;
#else
constexpr size_t kSmallStackBytes = 64 * 1024;
#endif

struct StackRun {
  const Tokenizer* tokenizer;
  const std::string* text;
  size_t n_ids = 0;
};

TEST(LinearTime, ASmallStackIsEnough) {
  const auto tokenizer = build(small_byte_vocabulary(kMarkers));
  const auto score = build(small_score_vocabulary());
  tokenizer->encode("warm", false, false);
  for (const auto& [name, text] : long_inputs(256 * 1024)) {
    for (const Tokenizer* current : {tokenizer.get(), score.get()}) {
      StackRun run{current, &text, 0};
      pthread_attr_t attributes;
      pthread_attr_init(&attributes);
      ASSERT_EQ(pthread_attr_setstacksize(&attributes, kSmallStackBytes), 0);
      pthread_t thread;
      ASSERT_EQ(pthread_create(
                    &thread, &attributes,
                    [](void* argument) -> void* {
                      auto* inner = static_cast<StackRun*>(argument);
                      inner->n_ids = inner->tokenizer->encode(*inner->text, false, true).size();
                      return nullptr;
                    },
                    &run),
                0);
      pthread_join(thread, nullptr);
      pthread_attr_destroy(&attributes);
      EXPECT_GT(run.n_ids, 0u) << name;
    }
  }
}

TEST(Tokenizer, ThreadsShareOneObject) {
  const auto tokenizer = build(small_byte_vocabulary(kMarkers));
  const std::string text = "hello <think> world aaaa 12 \xE4\xBD\xA0";
  const auto expected = tokenizer->encode(text, true, true);
  std::vector<std::thread> threads;
  std::vector<int> n_equal(4, 0);
  for (size_t t = 0; t < n_equal.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) n_equal[t] += tokenizer->encode(text, true, true) == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_equal, std::vector<int>(4, 200));
}

}  // namespace
}  // namespace floe

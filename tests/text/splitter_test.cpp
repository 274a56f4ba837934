// The hand-written splitters against a regular expression engine running the published patterns.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <gtest/gtest.h>
#include <pcre2.h>

#include <random>
#include <string>
#include <vector>

#include "repo_path.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

class Collected : public WordSink {
 public:
  void word(std::string_view word) override { words.emplace_back(word); }
  std::vector<std::string> words;
};

class Pattern {
 public:
  explicit Pattern(const std::string& text) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                          PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    FLOE_CHECK(code_ != nullptr);
    context_ = pcre2_match_context_create(nullptr);
    pcre2_set_match_limit(context_, 1000000);
    pcre2_set_depth_limit(context_, 100000);
    data_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  ~Pattern() {
    pcre2_match_data_free(data_);
    pcre2_match_context_free(context_);
    pcre2_code_free(code_);
  }
  Pattern(const Pattern&) = delete;

  // Matches, and the stretches between them, in order.
  void isolate(const std::string& piece, std::vector<std::string>& out) const {
    size_t from = 0;
    while (from < piece.size()) {
      const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(),
                                    from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data_, context_);
      if (found == PCRE2_ERROR_NOMATCH) break;
      FLOE_CHECK(found > 0);
      const PCRE2_SIZE* at = pcre2_get_ovector_pointer(data_);
      if (at[0] > from) out.push_back(piece.substr(from, at[0] - from));
      out.push_back(piece.substr(at[0], at[1] - at[0]));
      from = at[1];
    }
    if (from < piece.size()) out.push_back(piece.substr(from));
  }

  bool matches_whole(const std::string& text) const {
    const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                                  0, data_, context_);
    return found > 0 && pcre2_get_ovector_pointer(data_)[1] == text.size();
  }

 private:
  pcre2_code* code_;
  pcre2_match_context* context_;
  pcre2_match_data* data_;
};

const std::string kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string kDeepseekLetters =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-"
    "ՖႠ-"
    "ჅᎠ-"
    "Ᏽᏸ-"
    "ᏽᲐ-"
    "ᲺᲽ-"
    "Ჿᴀ-"
    "ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅ"
    "Ὀ-Ὅὐ-ὗὙὛὝὟ-\\x{1F7D}ᾀ-ᾴᾶ-ᾼ\\x{1FBE}ῂ-ῄῆ-ῌῐ-\\x{1FD3}ῖ-\\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\\x{2126}"
    "ℨ\\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ"
    "Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-"
    "𐓻𐲀-"
    "𐲲𐳀-"
    "𐳲𑢠-"
    "𑣟𞤀-"
    "𞥃]+";
const std::string kCjk = "[一-龥ࠀ-一가-퟿]+";

struct Case {
  const char* name;
  Splitter splitter;
  std::vector<std::string> stages;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> table = {
      {"gpt2", Splitter::gpt2, {kGpt2}},
      {"llama3",
       Splitter::llama3,
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"qwen2",
       Splitter::qwen2,
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"qwen35",
       Splitter::qwen35,
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"deepseek_llm",
       Splitter::deepseek_llm,
       {"[\r\n]", kDeepseekLetters, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", kCjk, "\\p{N}+"}},
      {"deepseek_coder",
       Splitter::deepseek_coder,
       {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", kCjk, "\\p{N}"}},
      {"deepseek_v3",
       Splitter::deepseek_v3,
       {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"fallback",
       Splitter::fallback,
       {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
  };
  return table;
}

std::vector<std::string> split_by_patterns(const std::vector<std::unique_ptr<Pattern>>& stages,
                                           const std::string& text) {
  std::vector<std::string> pieces = {text};
  for (const auto& stage : stages) {
    std::vector<std::string> next;
    for (const std::string& piece : pieces) stage->isolate(piece, next);
    pieces = std::move(next);
  }
  return pieces;
}

std::vector<std::string> split_by_hand(Splitter splitter, const std::string& text) {
  Collected sink;
  split_words(splitter, text, sink);
  return sink.words;
}

class SplitterOracle : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    for (const std::string& stage : current().stages) {
      stages_.push_back(std::make_unique<Pattern>(stage));
    }
  }
  const Case& current() const { return cases()[GetParam()]; }
  void check(const std::string& text) {
    const auto expected = split_by_patterns(stages_, text);
    ASSERT_EQ(split_by_hand(current().splitter, text), expected)
        << current().name << " on " << ::testing::PrintToString(text);
  }
  std::vector<std::unique_ptr<Pattern>> stages_;
};

// Codepoints whose class both libraries agree on (they follow different editions of Unicode).
// U+180E is left out: Perl's \s has it, the White_Space property has not.
const std::vector<uint32_t>& agreed_codepoints() {
  static const std::vector<uint32_t> agreed = [] {
    const std::pair<std::unique_ptr<Pattern>, uint8_t> classes[] = {
        {std::make_unique<Pattern>("\\p{L}"), kClassLetter},
        {std::make_unique<Pattern>("\\p{M}"), kClassMark},
        {std::make_unique<Pattern>("\\p{N}"), kClassNumber},
        {std::make_unique<Pattern>("\\p{P}"), kClassPunctuation},
        {std::make_unique<Pattern>("\\p{S}"), kClassSymbol},
        {std::make_unique<Pattern>("\\s"), kClassWhitespace},
    };
    std::vector<uint32_t> out;
    for (uint32_t codepoint = 0; codepoint < 0x110000; ++codepoint) {
      if (codepoint >= 0xD800 && codepoint <= 0xDFFF) continue;
      // Whole planes of one class need no look at every codepoint.
      if (codepoint >= 0x32000 && codepoint < 0x10FF00 && codepoint % 97 != 0) continue;
      std::string text;
      append_utf8(text, codepoint);
      bool same = true;
      for (const auto& [pattern, bit] : classes) {
        same = same && pattern->matches_whole(text) == ((character_class(codepoint) & bit) != 0);
      }
      if (same) out.push_back(codepoint);
    }
    return out;
  }();
  return agreed;
}

TEST(SplitterOracleSet, LibrariesAgreeOnNearlyAllCodepoints) {
  // 0x110000 less surrogates and the thinned planes: what is left differs by a few Unicode editions
  // only.
  size_t n_candidates = 0;
  for (uint32_t codepoint = 0; codepoint < 0x110000; ++codepoint) {
    if (codepoint >= 0xD800 && codepoint <= 0xDFFF) continue;
    if (codepoint >= 0x32000 && codepoint < 0x10FF00 && codepoint % 97 != 0) continue;
    ++n_candidates;
  }
  EXPECT_GT(agreed_codepoints().size() + 6000, n_candidates);
}

TEST_P(SplitterOracle, AgreesOnRandomStrings) {
  const std::vector<std::string> alphabets = {
      "aZ é'sStTrReEvVmMlLdD0123 \t\n\r.,!?-_+<=>^~|`'\"",
      " \t\n\r\v\f\u00A0\u0085\u2003\u3000\u2028x1.",
      "你好，。「」一龥ぁんァヶー가힣0９ aA.",
      "e\u0301\u0300नि\u0E33\u200D😀👍🏽©½²Ⅷ①ƻǄʔꟿ\u2126\u212Aſ's'S'ſ",
      "'sS'll'LL'Ve'rE'd''  \n\n x",
      "1234567890٠١² abc.\n",
      "café ＡＢ！ａ～‘’ 。 0x1F\r\n",
  };
  std::mt19937 random(1234 + static_cast<unsigned>(GetParam()));
  for (int round = 0; round < 6000; ++round) {
    std::string text;
    const int n_characters = static_cast<int>(random() % 24);
    const std::string& alphabet = alphabets[random() % alphabets.size()];
    std::vector<uint32_t> letters;
    for (size_t i = 0; i < alphabet.size();) {
      const DecodedCharacter character = decode_utf8(alphabet, i);
      letters.push_back(character.codepoint);
      i += character.length_bytes;
    }
    for (int i = 0; i < n_characters; ++i) {
      const bool anything = random() % 8 == 0;
      append_utf8(text, anything ? agreed_codepoints()[random() % agreed_codepoints().size()]
                                 : letters[random() % letters.size()]);
    }
    check(text);
    if (HasFatalFailure()) return;
  }
}

TEST_P(SplitterOracle, AgreesOnEveryCodepointBetweenOthers) {
  for (const uint32_t codepoint : agreed_codepoints()) {
    if (codepoint >= 0x32000) break;
    // The large blocks of ideographs and syllables are sampled.
    if (codepoint >= 0x3200 && codepoint < 0xF900 && codepoint % 11 != 0) continue;
    if (codepoint >= 0x12000 && codepoint % 11 != 0) continue;
    std::string text = " x";
    append_utf8(text, codepoint);
    text += "y ";
    append_utf8(text, codepoint);
    append_utf8(text, codepoint);
    text += "\n.";
    append_utf8(text, codepoint);
    check(text);
    if (HasFatalFailure()) return;
  }
}

TEST_P(SplitterOracle, AgreesOnRunningText) {
  std::string text = testing::read_file(repo_path("LICENSE"));
  ASSERT_FALSE(text.empty());
  check(text);
  text = testing::read_file(repo_path("tests/text/splitter_test.cpp"));
  ASSERT_FALSE(text.empty());
  check(text);
}

INSTANTIATE_TEST_SUITE_P(All, SplitterOracle, ::testing::Range<size_t>(0, cases().size()),
                         [](const auto& test) { return std::string(cases()[test.param].name); });

TEST(Splitter, WordsAreTheTextByteForByteWhateverTheBytes) {
  std::mt19937 random(7);
  for (const Case& current : cases()) {
    for (int round = 0; round < 500; ++round) {
      std::string text(random() % 40, '\0');
      for (char& byte : text) byte = static_cast<char>(random());
      std::string joined;
      for (const std::string& word : split_by_hand(current.splitter, text)) {
        EXPECT_FALSE(word.empty());
        joined += word;
      }
      ASSERT_EQ(joined, text) << current.name;
    }
  }
}

TEST(Splitter, UnknownNamesAreNotGuessed) {
  EXPECT_FALSE(find_pre_tokenizer("no-such-pre-tokenizer").has_value());
  EXPECT_EQ(find_pre_tokenizer("glm4")->splitter, Splitter::llama3);
  EXPECT_FALSE(find_pre_tokenizer("glm4")->whole_word_first);
  EXPECT_TRUE(find_pre_tokenizer("llama-bpe")->whole_word_first);
  EXPECT_EQ(find_pre_tokenizer("deepseek-v3")->splitter, Splitter::deepseek_v3);
}

}  // namespace
}  // namespace floe

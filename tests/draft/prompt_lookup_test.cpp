#include "draft/prompt_lookup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/rng.h"
#include "fuzz/allocation_count.h"
#include "fuzz/lookup_properties.h"
#include "repo_path.h"

namespace floe {
namespace {

using Tokens = std::vector<int32_t>;

class NoChooser final : public TokenChooser {
 public:
  int32_t choose(const SequenceRows&, std::span<const float>) override { return -1; }
};

Tokens letters(std::string_view text) {
  return {text.begin(), text.end()};
}

Tokens random_tokens(uint64_t seed, size_t n, uint64_t n_vocab) {
  Rng rng(seed);
  Tokens tokens;
  for (size_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(rng.below(n_vocab)));
  return tokens;
}

Tokens join(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<DraftToken> draft(PromptLookup& lookup, const Tokens& tokens, uint32_t max_tokens,
                              std::vector<DraftToken> begun = {}, SequenceId sequence = 1) {
  NoChooser chooser;
  SequenceRows rows;
  rows.sequence = sequence;
  rows.tokens = tokens;
  rows.n_wanted = max_tokens;
  rows.draft = std::move(begun);
  lookup.draft({&rows, 1}, chooser);
  return rows.draft;
}

std::string text_of(const std::vector<DraftToken>& guesses) {
  std::string text;
  for (const DraftToken& guess : guesses) text += static_cast<char>(guess.token);
  return text;
}

// What one request with this text so far guesses.
std::string guess(std::string_view text, uint32_t max_tokens, std::string_view prediction = {}) {
  PromptLookup lookup(1000);
  lookup.begin(1, letters(text), 0, letters(prediction));
  return text_of(draft(lookup, letters(text), max_tokens));
}

TEST(PromptLookup, ContinuesTheLongestMatchAndOfThoseTheMostRecent) {
  // All places go on with d, most of them with 1: the longest and the last one of equals decide
  // whether it is guessed.
  EXPECT_EQ(guess("5abcd1 8abcd1 7abcd1 9abcd2 5abc", 2), "d1");
  EXPECT_EQ(guess("5abcd2 8abcd1 7abcd1 9abcd1 5abc", 2), "d");
  EXPECT_EQ(guess("6abcd2 8abcd1 7abcd1 9abcd1 5abc", 2), "d1");
  EXPECT_EQ(guess("6abcd1 8abcd1 7abcd1 9abcd2 5abc", 2), "d");
  EXPECT_EQ(guess("nothing of that", 4), "");
  EXPECT_EQ(guess("a", 4), "");
}

TEST(PromptLookup, GoesOnOverTheEnd) {
  EXPECT_EQ(guess("abcabc", 8), "abcabcab");
  EXPECT_EQ(guess("aaaa", 5), "aaaaa");
}

TEST(PromptLookup, StopsWhereWrongIsMoreLikely) {
  // One place with two tokens is too little, with three it is even.
  EXPECT_EQ(guess("..abc/ab", 1), "");
  EXPECT_EQ(guess("..abc/..ab", 1), "c");
  EXPECT_EQ(guess(".xabcd/xab", 2), "cd");
  // The places part after the first token.
  EXPECT_EQ(guess("1abcX 2abcY 3ab", 8), "c");
}

TEST(PromptLookup, PlacesThatAgreeAreSurer) {
  const auto first = [](std::string_view text) {
    PromptLookup lookup(1000);
    lookup.begin(1, letters(text), 0, {});
    const auto guesses = draft(lookup, letters(text), 1);
    return guesses.empty() ? -1 : int{guesses[0].confidence};
  };
  const int once = first("1abcd2abc");
  const int twice = first("1abcd2abcd3abc");
  const int often =
      first("1abcd2abcd3abcd4abcd5abcd6abcd7abcd8abcd9abcd0abcdAabcdBabcdCabcdDabcdEabcdFabc");
  const int longer = first("0123456789abcd+0123456789abc");
  const int parted = first("0123456789abcd-0123456789abcX+0123456789abc");
  EXPECT_LT(once, twice);
  EXPECT_LT(twice, often);
  EXPECT_LT(once, longer);
  EXPECT_EQ(often, 6);
  EXPECT_EQ(parted, -1);
}

TEST(PromptLookup, ExtendsWhatAnotherDrafterBegan) {
  const Tokens text = letters("the quick brown fox; the ");
  PromptLookup lookup(1000);
  lookup.begin(1, text, 0, {});
  std::vector<DraftToken> begun;
  for (const char c : std::string("qu")) begun.push_back({c, DraftSource::mtp, 3});
  const auto guesses = draft(lookup, text, 8, begun);
  EXPECT_EQ(text_of(guesses), "quick br");
  EXPECT_EQ(guesses[1].source, DraftSource::mtp);
  EXPECT_EQ(guesses[1].confidence, 3);
  EXPECT_EQ(guesses[2].source, DraftSource::prompt_lookup);
  // No room, and another word.
  EXPECT_EQ(text_of(draft(lookup, text, 2, begun)), "qu");
  begun[1].token = '!';
  EXPECT_EQ(text_of(draft(lookup, text, 8, begun)), "q!");
}

TEST(PromptLookup, SequencesAndTheirSuccessorsAreSeparate) {
  PromptLookup lookup(1000);
  const Tokens first = letters("one two three; one tw"), second = letters("one four one f");
  lookup.begin(1, first, 0, {});
  lookup.begin(2, second, 0, letters("prediction"));
  EXPECT_EQ(text_of(draft(lookup, first, 4, {}, 1)), "o th");
  EXPECT_EQ(text_of(draft(lookup, second, 4, {}, 2)), "pred");
  lookup.end(1);
  lookup.end(2);
  for (const SequenceId next : {3, 4}) {
    lookup.begin(next, letters("one t"), 0, {});
    EXPECT_EQ(text_of(draft(lookup, letters("one t"), 4, {}, next)), "");
  }
}

// One token of output at a time; what is guessed before it comes.
std::vector<std::string> follow(std::string_view prompt, std::string_view prediction,
                                std::string_view output, uint32_t max_tokens) {
  PromptLookup lookup(1000);
  Tokens text = letters(prompt);
  lookup.begin(1, text, 0, letters(prediction));
  std::vector<std::string> guesses;
  for (const char c : output) {
    const auto guessed = draft(lookup, text, max_tokens);
    guesses.push_back(text_of(guessed));
    text.push_back(c);
  }
  return guesses;
}

TEST(Prediction, IsFollowedFromItsBeginning) {
  const auto guesses = follow("fix it:", "int count = 0;", "int count = 0;", 3);
  const std::vector<std::string> expected = {"int", "nt ", "t c", " co", "cou", "oun", "unt",
                                             "nt ", "t =", " = ", "= 0", " 0;", "0;",  ";"};
  EXPECT_EQ(guesses, expected);
}

TEST(Prediction, IsFoundAgainAfterAnEdit) {
  // Replaced: the next token that agrees is enough. (A capital letter is new to the text.)
  auto guesses = follow("fix it:", "int count = 0;", "int cQunt = 0;", 3);
  EXPECT_EQ(guesses[7], "nt ");
  EXPECT_EQ(guesses[8], "t =");
  // Left out.
  guesses = follow("fix it:", "int long count = 0;", "int count = 0;", 4);
  EXPECT_EQ(guesses[6], "unt ");
  // Inserted.
  guesses = follow("fix it:", "int count = 0;", "int WXYZ count = 0;", 4);
  EXPECT_EQ(guesses[11], "unt ");
  // All of it is said: nothing more.
  guesses = follow("fix it:", "int", "int XYZ", 4);
  EXPECT_EQ(guesses[3], "");
  EXPECT_EQ(guesses[6], "");
}

TEST(Prediction, IsFoundAgainAfterALongDeparture) {
  const std::string head = "a first part, ", tail = "and then the second part which goes on";
  std::string middle;
  for (int i = 0; i < 100; ++i) middle += static_cast<char>(128 + i);
  const auto guesses = follow("", head + std::string(300, '-') + tail, head + middle + tail, 4);
  const size_t begin = head.size() + middle.size();
  EXPECT_EQ(guesses[begin + 3], " the");
  EXPECT_EQ(guesses[begin + 20], "part");
}

TEST(Prediction, OfARepetitiveTextTheNearestPlaceCounts) {
  // Every line is followed to its own number, not to that of the last equal line.
  std::string prediction, output;
  for (int i = 0; i < 60; ++i) {
    const std::string number = std::to_string(100 + i);
    prediction += "{\"name\": \"item\", \"value\": \"unknown\", \"id\": " + number + "},";
    output += "{\"name\": \"item\", \"value\": \"unknown\", \"id\": " + number + "},";
  }
  const auto guesses = follow("list:", prediction, output, 1);
  for (size_t i = 0; i < output.size(); ++i) EXPECT_EQ(guesses[i], output.substr(i, 1)) << i;
}

TEST(Prediction, TheLongerMatchWinsAndOfEqualOnesThePrediction) {
  PromptLookup lookup(1000);
  const auto source = [&](std::string_view prompt, std::string_view prediction,
                          std::string_view output) {
    Tokens text = letters(prompt);
    lookup.begin(1, text, 0, letters(prediction));
    draft(lookup, text, 0);
    text = join(text, letters(output));
    const auto guesses = draft(lookup, text, 1);
    lookup.end(1);
    return guesses.empty() ? 0 : guesses[0].token;
  };
  EXPECT_EQ(source("QabcX+", "??abcY", "abc"), 'Y');
  EXPECT_EQ(source("QabcX+Q", "??abcY", "abc"), 'X');
}

TEST(Prediction, APreemptedSequenceGoesOnInTheMiddle) {
  const std::string prediction = "it was the best of times, it was the worst of times";
  const Tokens text = letters("say: " + prediction.substr(0, 20));
  PromptLookup lookup(1000);
  lookup.begin(1, text, 0, letters(prediction));
  EXPECT_EQ(text_of(draft(lookup, text, 6)), prediction.substr(20, 6));
}

TEST(TokenIndex, FindsWhatTheSlowWayFinds) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const uint64_t n_vocab = 1 + seed % 7;
    const Tokens tokens = random_tokens(seed, 500, n_vocab);
    Rng rng(seed);
    TokenIndex index;
    for (size_t n = 1; n <= tokens.size(); n += 1 + rng.below(9)) {
      const std::span<const int32_t> known = std::span(tokens).first(n);
      index.extend(known, static_cast<uint32_t>(n - 1));
      ASSERT_EQ(index.n_indexed(), n - 1);
      const Tokens more = random_tokens(rng.next(), rng.below(4), n_vocab);
      const TokenTail tail(known, more);
      std::array<TokenPlace, TokenIndex::kMaxPlaces> places;
      const uint32_t n_places = index.find(known, tail, places);
      const auto expected = find_slowly(known, index.n_indexed(), tail.tokens());
      ASSERT_EQ(n_places, expected.size());
      for (uint32_t i = 0; i < n_places; ++i) {
        ASSERT_EQ(places[i].next, expected[i].next);
        ASSERT_EQ(places[i].length, expected[i].length);
      }
    }
    EXPECT_EQ(index.n_dropped(), 0u);
  }
}

// A sequence of n symbols in which every word of `length` of them stands once.
Tokens de_bruijn(int32_t n, int32_t length) {
  Tokens word(static_cast<size_t>(n * length), 0), sequence;
  const auto extend = [&](auto& self, int32_t t, int32_t p) -> void {
    if (t > length) {
      if (length % p == 0) sequence.insert(sequence.end(), word.begin() + 1, word.begin() + p + 1);
      return;
    }
    word[t] = word[t - p];
    self(self, t + 1, p);
    for (word[t] = word[t - p] + 1; word[t] < n; ++word[t]) self(self, t + 1, t);
  };
  extend(extend, 1, 1);
  return sequence;
}

struct Hard {
  const char* name;
  Tokens tokens;
};

std::vector<Hard> hard_texts() {
  constexpr size_t n = 100'000;
  Tokens two;
  for (size_t i = 0; i < n; ++i) two.push_back(static_cast<int32_t>(i % 2));
  // Equal words whose continuation is always new.
  Tokens words;
  for (size_t i = 0; i < n / 10; ++i) {
    for (int32_t k = 0; k < 9; ++k) words.push_back(k);
    words.push_back(static_cast<int32_t>(1000 + i));
  }
  return {{"one token", Tokens(n, 5)},
          {"two in turn", two},
          {"de Bruijn of 2", de_bruijn(2, 16)},
          {"de Bruijn of 10", de_bruijn(10, 5)},
          {"equal words", words},
          {"random of 2", random_tokens(1, n, 2)},
          {"random of many", random_tokens(2, n, 150'000)}};
}

TEST(TokenIndex, CostsAreBoundedWhateverTheTextIs) {
  for (const auto& [name, tokens] : hard_texts()) {
    const auto n_tokens = static_cast<uint32_t>(tokens.size());
    TokenIndex index;
    index.extend(tokens, n_tokens - 1);
    // A few slots a token, and each growth of the tables does the rest again.
    EXPECT_LE(index.n_operations(), 12u * n_tokens) << name;
    EXPECT_LE(index.n_bytes(), 40u * n_tokens + 65536) << name;
    EXPECT_LE(index.n_dropped(), n_tokens / 100) << name;
    TokenIndex slow;
    for (uint32_t n = 1; n < n_tokens; ++n) slow.extend(tokens, n);
    EXPECT_LE(slow.n_operations(), 12u * n_tokens) << name << ", one at a time";
    for (uint32_t n = 1000; n < n_tokens; n += 997) {
      const uint64_t before = index.n_operations();
      std::array<TokenPlace, TokenIndex::kMaxPlaces> places;
      index.find(tokens, TokenTail(std::span(tokens).first(n), {}), places);
      EXPECT_LE(index.n_operations() - before, 1200u) << name;
    }
  }
}

TEST(PromptLookup, AStepCostsTheSameInEveryText) {
  for (const auto& [name, tokens] : hard_texts()) {
    const size_t n_prompt = tokens.size() / 2;
    Tokens text(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(n_prompt));
    PromptLookup lookup(static_cast<uint32_t>(tokens.size()));
    // A prediction that the output leaves again and again.
    const Tokens prediction(tokens.begin(), tokens.begin() + 20'000);
    lookup.begin(1, text, 0, prediction);
    draft(lookup, text, 8);
    size_t n_growths = 0;
    for (size_t i = 0; i < 2000; ++i) {
      text.push_back(i % 50 == 0 ? -1 : tokens[n_prompt + i]);
      const uint64_t before = lookup.n_operations();
      draft(lookup, text, 8);
      if (lookup.n_operations() - before > 6000) ++n_growths;
    }
    // The tables double where the text has outgrown them.
    EXPECT_LE(n_growths, 1u) << name;
  }
}

TEST(PromptLookup, AStepAllocatesNothing) {
  const Tokens tokens = random_tokens(3, 20'000, 50);
  PromptLookup lookup(static_cast<uint32_t>(tokens.size()));
  NoChooser chooser;
  for (const SequenceId sequence : {1, 2}) {
    lookup.begin(sequence, std::span(tokens).first(100), 0, std::span(tokens).first(5000));
    SequenceRows rows;
    rows.sequence = sequence;
    rows.n_wanted = kMaxDraftTokens;
    rows.draft.reserve(kMaxDraftTokens);
    const AllocationCount count;
    for (size_t n = 100; n < tokens.size(); n += 3) {
      rows.draft.clear();
      rows.tokens = std::span(tokens).first(n);
      lookup.draft({&rows, 1}, chooser);
    }
    EXPECT_EQ(count.bytes(), 0u);
    lookup.end(sequence);
  }
}

TEST(PromptLookup, FuzzCorpusHolds) {
  size_t n_files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(repo_path("tests/fuzz/corpus/lookup"))) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(
        check_lookup_input({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()}),
        "")
        << entry.path();
    ++n_files;
  }
  EXPECT_GT(n_files, 5u);
}

TEST(PromptLookup, RandomProgramsHold) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    Rng rng(seed);
    std::vector<unsigned char> program;
    const uint64_t n = rng.below(800), n_values = 1 + rng.below(256);
    for (uint64_t i = 0; i < n; ++i)
      program.push_back(static_cast<unsigned char>(rng.below(n_values)));
    ASSERT_EQ(check_lookup_input(program), "") << seed;
  }
}

}  // namespace
}  // namespace floe

// Masks over vocabularies: the tokens of the mask are those whose bytes can be read, for every
// place; states that are tried out, moved and forgotten change nothing.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/grammar_cache.h"
#include "grammar/reading.h"

namespace floe {
namespace {

// Bytes, and pieces as tokenizers have them: over the borders of strings, marks and blanks.
struct Pieces {
  std::vector<std::string> tokens;
  std::shared_ptr<const TokenTrie> trie;
  int32_t special = 0;  // its text would fit where strings are

  Pieces() {
    for (int i = 0; i < 256; ++i) tokens.emplace_back(1, static_cast<char>(i));
    for (const char* piece :
         {"\"a\"",  "\":",       "\": ", "\": \"", "\",",    "\",\n  \"", "\"}",   "\"}]",
          "{\"",    "{\"a\":1}", "ab",   "abc",    "name",   "é",         "\xc3",  "\xa9\"",
          "12",     "12.5",      "1,",   "},{",    "]}",     "true",      "tru",   "[[",
          "[[[[",   "]]]]",      "  ",   "\n",     "\n    ", "\\\"",      "\\u00", "\\ud83d\\ude00",
          "\\n\\n", "null",      ", ",   "😀",      "x\"y"}) {
      tokens.emplace_back(piece);
    }
    special = static_cast<int32_t>(tokens.size());
    tokens.emplace_back("abc");
    tokens.emplace_back("");
    const std::vector<std::string_view> views(tokens.begin(), tokens.end());
    std::vector<uint8_t> is_special(tokens.size(), 0);
    is_special[static_cast<size_t>(special)] = 1;
    trie = std::make_shared<const TokenTrie>(views, is_special);
  }
};

bool has(const std::vector<uint64_t>& mask, int32_t token) {
  return (mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}

std::shared_ptr<OutputGrammar> bound(std::shared_ptr<const Grammar> grammar) {
  auto output = std::make_shared<OutputGrammar>();
  output->grammar = std::move(grammar);
  return output;
}

struct Case {
  GrammarKind kind;
  const char* grammar;
};
const Case kCases[] = {
    {GrammarKind::json_object, ""},
    {GrammarKind::json_schema,
     R"({"type":"object","properties":{"a":{"type":"string","maxLength":3},"name":{"type":"array","items":{"type":"number"}}},"required":["a"],"additionalProperties":{"enum":["abc",12,true]}})"},
    {GrammarKind::gbnf, "root ::= (\"[\" root \"]\" | [a-z]* \"12\")+"},
    {GrammarKind::gbnf, "root ::= a\na ::= \"a\" a \"b\" | \"a\" a \"c\" | \"1\""},
    {GrammarKind::regex, "(a|b)*a(a|b|c){3}(é|😀)?"},
};

// At each place of a random walk: the mask has a token if and only if its bytes lead somewhere.
TEST(Masks, AreTheTokensThatCanBeRead) {
  const Pieces pieces;
  std::vector<uint64_t> mask((pieces.tokens.size() + 63) / 64);
  for (const Case& row : kCases) {
    SCOPED_TRACE(row.grammar);
    auto automaton = compile_grammar(row.kind, row.grammar);
    ASSERT_TRUE(automaton.ok()) << automaton.error().message;
    Configurations places(*automaton, *pieces.trie);
    uint64_t random = 1;
    for (int walk = 0; walk < 40; ++walk) {
      Configurations::Place place = places.start();
      for (int i = 0; i < 40 && !places.must_end(place); ++i) {
        places.tokens_after(place, mask);
        std::vector<size_t> allowed;
        for (size_t token = 0; token < pieces.tokens.size(); ++token) {
          const bool is_read =
              !pieces.tokens[token].empty() && static_cast<int32_t>(token) != pieces.special &&
              places.after(place, pieces.tokens[token]) != Configurations::kNowhere;
          ASSERT_EQ(has(mask, static_cast<int32_t>(token)), is_read) << pieces.tokens[token];
          if (is_read) allowed.push_back(token);
        }
        ASSERT_TRUE(places.can_end(place) || !allowed.empty());
        if (allowed.empty()) break;
        random = random * 6364136223846793005u + 1442695040888963407u;
        place = places.after(place, pieces.tokens[allowed[(random >> 33) % allowed.size()]]);
      }
    }
  }
}

// A store that was asked before, one that was prepared, and one that is new at each token.
TEST(Masks, DoNotDependOnWhatIsRemembered) {
  const Pieces pieces;
  const size_t n_words = (pieces.tokens.size() + 63) / 64;
  std::vector<uint64_t> a(n_words);
  std::vector<uint64_t> b(n_words);
  for (const Case& row : kCases) {
    SCOPED_TRACE(row.grammar);
    auto automaton = compile_grammar(row.kind, row.grammar);
    ASSERT_TRUE(automaton.ok());
    Configurations kept(*automaton, *pieces.trie);
    kept.prepare(size_t{1} << 30, uint64_t{1} << 30);
    auto moved = std::make_unique<Configurations>(*automaton, *pieces.trie);
    Configurations::Place in_kept = kept.start();
    Configurations::Place in_moved = moved->start();
    uint64_t random = 7;
    for (int i = 0; i < 60 && !kept.must_end(in_kept); ++i) {
      kept.tokens_after(in_kept, a);
      moved->tokens_after(in_moved, b);
      ASSERT_EQ(a, b);
      ASSERT_EQ(kept.can_end(in_kept), moved->can_end(in_moved));
      std::vector<int32_t> allowed;
      for (size_t t = 0; t < pieces.tokens.size(); ++t) {
        if (has(a, static_cast<int32_t>(t))) allowed.push_back(static_cast<int32_t>(t));
      }
      random = random * 6364136223846793005u + 1442695040888963407u;
      const std::string& token =
          pieces.tokens[static_cast<size_t>(allowed[(random >> 33) % allowed.size()])];
      in_kept = kept.after(in_kept, token);
      auto next = std::make_unique<Configurations>(*automaton, *pieces.trie);
      in_moved = moved->move_to(moved->after(in_moved, token), *next);
      moved = std::move(next);
      ASSERT_EQ(in_kept == Configurations::kNowhere, in_moved == Configurations::kNowhere);
    }
  }
}

TEST(Matcher, ACopyIsTriedOutAndForgotten) {
  auto automaton = compile_grammar(GrammarKind::regex, "a(b|c)d");
  ASSERT_TRUE(automaton.ok());
  GrammarMatcher matcher(
      bound(std::make_shared<const Grammar>(std::move(*automaton), byte_vocabulary())));
  std::vector<uint64_t> before(4);
  std::vector<uint64_t> after(4);
  EXPECT_FALSE(matcher.accept('b'));
  EXPECT_TRUE(matcher.accept('a'));
  EXPECT_TRUE(matcher.tokens(before));
  EXPECT_EQ(before[1], uint64_t{3} << ('b' - 64));
  GrammarMatcher guess = matcher;
  EXPECT_TRUE(guess.accept('b'));
  EXPECT_TRUE(guess.accept('d'));
  EXPECT_TRUE(guess.must_end());
  EXPECT_TRUE(matcher.tokens(after));
  EXPECT_EQ(before, after);
  EXPECT_FALSE(matcher.can_end());
  EXPECT_TRUE(matcher.accept('c'));
  EXPECT_TRUE(matcher.accept('d'));
  EXPECT_TRUE(matcher.can_end());
  EXPECT_FALSE(matcher.accept('d'));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(1 << 20));
}

TEST(Matcher, BeginsBehindTheReasoning) {
  const Pieces pieces;
  auto automaton = compile_grammar(GrammarKind::regex, "abc");
  ASSERT_TRUE(automaton.ok());
  const auto grammar = std::make_shared<const Grammar>(std::move(*automaton), pieces.trie);
  std::vector<uint64_t> mask((pieces.tokens.size() + 63) / 64);
  const int32_t marker = pieces.special;

  auto behind = bound(grammar);
  behind->begins_behind = {marker};
  GrammarMatcher thinks(behind);
  EXPECT_FALSE(thinks.tokens(mask));
  EXPECT_TRUE(thinks.can_end());
  EXPECT_TRUE(thinks.accept('x'));
  EXPECT_TRUE(thinks.accept(marker));
  EXPECT_TRUE(thinks.tokens(mask));
  EXPECT_FALSE(thinks.can_end());
  EXPECT_FALSE(thinks.accept('x'));
  EXPECT_FALSE(thinks.accept(marker));
  EXPECT_TRUE(thinks.accept('a'));

  // A model that opens its reasoning itself, or does not.
  auto opened = bound(grammar);
  opened->begins_behind = {marker};
  opened->may_open_with = 'Z';
  GrammarMatcher opens(opened);
  EXPECT_TRUE(opens.tokens(mask));
  EXPECT_TRUE(has(mask, 'Z'));
  EXPECT_TRUE(has(mask, 'a'));
  GrammarMatcher answers = opens;
  EXPECT_TRUE(opens.accept('Z'));
  EXPECT_FALSE(opens.tokens(mask));
  EXPECT_TRUE(opens.accept(marker));
  EXPECT_TRUE(opens.tokens(mask));
  EXPECT_FALSE(has(mask, 'Z'));
  EXPECT_TRUE(answers.accept('a'));
  EXPECT_TRUE(answers.tokens(mask));
  EXPECT_FALSE(has(mask, 'Z'));

  auto calls = bound(grammar);
  calls->begins_behind = {marker};
  calls->again = true;
  GrammarMatcher again(calls);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(again.accept('x'));
    EXPECT_TRUE(again.accept(marker));
    EXPECT_TRUE(again.tokens(mask));
    for (const char c : {'a', 'b', 'c'}) EXPECT_TRUE(again.accept(c));
    EXPECT_FALSE(again.tokens(mask));
  }
}

// Places are forgotten behind a limit of bytes; the answer goes on where it was.
TEST(Matcher, GoesOnWhenItsStoreIsRenewed) {
  auto automaton = compile_grammar(GrammarKind::gbnf, "root ::= \"(\" root \")\" | [a-z]");
  ASSERT_TRUE(automaton.ok());
  const auto grammar = std::make_shared<const Grammar>(std::move(*automaton), byte_vocabulary());
  GrammarMatcher matcher(bound(grammar));
  std::vector<uint64_t> mask(4);
  constexpr int kDepth = 30'000;
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_TRUE(matcher.accept('('));
    ASSERT_TRUE(matcher.tokens(mask));
    ASSERT_TRUE(has(mask, '(') && has(mask, 'a') && !has(mask, ')'));
  }
  EXPECT_LT(grammar->n_bytes(), Grammar::kMaxPlaceBytes + (size_t{1} << 20));
  ASSERT_TRUE(matcher.accept('x'));
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_FALSE(matcher.can_end());
    ASSERT_TRUE(matcher.accept(')'));
  }
  EXPECT_TRUE(matcher.must_end());
}

TEST(GrammarCache, KeepsWhatFitsAndFindsItAgain) {
  int n_tries = 0;
  GrammarCache cache(
      [&] {
        ++n_tries;
        return byte_vocabulary();
      },
      200'000);
  EXPECT_EQ(n_tries, 0);
  const auto first = cache.compile(GrammarKind::regex, "a+");
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(cache.compile(GrammarKind::regex, "a+").value(), *first);
  EXPECT_NE(cache.compile(GrammarKind::gbnf, "root ::= \"a\"").value(), *first);
  EXPECT_FALSE(cache.compile(GrammarKind::regex, "(").ok());
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(cache.compile(GrammarKind::regex, "[a-z]{1," + std::to_string(i + 1) + "}").ok());
    EXPECT_TRUE(cache.n_bytes() <= 200'000 || cache.n_grammars() == 1);
  }
  EXPECT_LT(cache.n_grammars(), 200u);
  EXPECT_NE(cache.compile(GrammarKind::regex, "a+").value(), *first);
  EXPECT_EQ(n_tries, 1);
}

}  // namespace
}  // namespace floe

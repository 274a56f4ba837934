// GBNF, regular expressions and choices: which texts they read, and what is refused.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/reading.h"

namespace floe {
namespace {

struct Reading {
  const char* name;
  GrammarKind kind;
  std::string grammar;
  std::vector<std::string> whole;
  std::vector<std::string> begun;
  std::vector<std::string> no;
};

std::vector<Reading> readings() {
  constexpr auto gbnf = GrammarKind::gbnf;
  constexpr auto regex = GrammarKind::regex;
  constexpr auto choice = GrammarKind::choice;
  return {
      {"text", gbnf, "root ::= \"ab\"", {"ab"}, {"", "a"}, {"b", "abc"}},
      {"alternatives over lines",
       gbnf,
       "root ::= \"a\" |\n  \"b\" | c\nc ::= \"c\" # end\n",
       {"a", "b", "c"},
       {""},
       {"d", "ab"}},
      {"an empty alternative", gbnf, "root ::= \"a\" | ", {"", "a"}, {}, {"b"}},
      {"repetitions",
       gbnf,
       "root ::= \"a\"* \"b\"+ \"c\"?",
       {"b", "aab", "bbc"},
       {"", "a"},
       {"c", "bcc"}},
      {"counts",
       gbnf,
       "root ::= [0-9]{2} [a]{1,2} \"x\"{0,1} [b]{2,}",
       {"12abb", "12aaxbbb"},
       {"12a", "12aab"},
       {"1a", "12aaabb", "12xbb"}},
      {"a repeated repetition", gbnf, "root ::= \"ab\"?+ \"c\"", {"c", "ababc"}, {"ab"}, {"ac"}},
      {"a group", gbnf, "root ::= (\"a\" | \"b\" (\"c\" | \"d\"))+", {"a", "bcabd"}, {"b"}, {"c"}},
      {"groups over lines", gbnf, "root ::= (\n  \"a\"\n  | \"b\"\n)\n", {"a", "b"}, {}, {"c"}},
      {"classes",
       gbnf,
       "root ::= [a-c_\\]\\n] [^a-c] .",
       {"ad\n", "\nxé", "]€😀"},
       {"_"},
       {"d", "aa", "aaa"}},
      {"escapes",
       gbnf,
       R"(root ::= "\x41\u00e9\U0001F600\"\\\t")",
       {"Aé😀\"\\\t"},
       {"Aé"},
       {"A\xe9"}},
      {"a dash at the end of a class", gbnf, "root ::= [a-]", {"a", "-"}, {}, {"b"}},
      {"names", gbnf, "root ::= my-rule_1\nmy-rule_1 ::= \"x\"", {"x"}, {}, {"y"}},
      {"balanced",
       gbnf,
       "root ::= \"(\" root \")\" | \"\"",
       {"", "()", "((()))"},
       {"(("},
       {")", "())"}},
      {"right recursion", gbnf, "root ::= \"a\" root | \"b\"", {"b", "aaab"}, {"aaa"}, {"ba"}},
      {"alternatives that differ behind a called rule",
       gbnf,
       "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\"",
       {"ab", "aacb", "aaabcb"},
       {"aab"},
       {"abb"}},
      {"stars of stars", gbnf, "root ::= ((\"x\"*)*)* \"y\"", {"y", "xxxy"}, {"xx"}, {"z"}},
      {"a star of an empty rule",
       gbnf,
       "root ::= e* \"y\"\ne ::= \"\" | \"x\"",
       {"y", "xxy"},
       {"x"},
       {"z"}},
      {"what leads nowhere is left out",
       gbnf,
       "root ::= \"a\" b | \"c\"\nb ::= \"d\" b",
       {"c"},
       {},
       {"a", "ad"}},
      {"text", regex, "a.c", {"abc", "a€c"}, {"a"}, {"a\nc", "xabc"}},
      {"anchors at the ends", regex, "^ab$", {"ab"}, {"a"}, {"abc"}},
      {"anchors of alternatives", regex, "^a$|^b", {"a", "b"}, {}, {"c"}},
      {"repetitions", regex, "a*b+?c{2}d{1,2}e{1,}", {"bccde", "abbccddee"}, {"bcc"}, {"bcde"}},
      {"a brace that counts nothing", regex, "a{x}", {"a{x}"}, {}, {"aa"}},
      {"groups", regex, "(?:ab|(c)(?P<n>d))+(?<m>e)", {"abe", "cdabe"}, {"c"}, {"e"}},
      {"classes", regex, "[a-c\\d_-][^\\s\"][\\]x]", {"1a]", "-éx", "_bx"}, {"a"}, {"d", "a "}},
      {"class escapes", regex, R"(\d\D\w\W\s\S)", {"1x_- y"}, {}, {"x"}},
      {"character escapes", regex, R"(\x41\u00e9\.\/\n)", {"Aé./\n"}, {"Aé."}, {"Aéx"}},
      {"an expression that would need 2^20 states",
       regex,
       "(a|b)*a(a|b){20}",
       {"a" + std::string(20, 'b'), "bb" + std::string(21, 'a')},
       {std::string(20, 'b')},
       {"c"}},
      {"(a+)+$", regex, "(a+)+$", {"a", "aaaa"}, {""}, {"b"}},
      {"one of some",
       choice,
       R"(["yes", "no", "not \"yet\"", "ü"])",
       {"yes", "no", "not \"yet\"", "ü"},
       {"y", "not"},
       {"x", "yesno"}},
  };
}

TEST(Grammar, Readings) {
  for (const Reading& row : readings()) {
    SCOPED_TRACE(row.name + std::string(": ") + row.grammar);
    const auto automaton = compile_grammar(row.kind, row.grammar);
    ASSERT_TRUE(automaton.ok()) << automaton.error().message;
    for (const std::string& text : row.whole)
      EXPECT_EQ(reading_of(*automaton, text), "whole") << text;
    for (const std::string& text : row.begun)
      EXPECT_EQ(reading_of(*automaton, text), "begun") << text;
    for (const std::string& text : row.no) EXPECT_EQ(reading_of(*automaton, text), "no") << text;
  }
}

std::string repeated(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

// Every row ends soon, whatever it asks for.
TEST(Grammar, Refusals) {
  struct Row {
    GrammarKind kind;
    std::string grammar;
    std::string message;
  };
  constexpr auto gbnf = GrammarKind::gbnf;
  constexpr auto regex = GrammarKind::regex;
  constexpr auto choice = GrammarKind::choice;
  std::string chain = "root ::= r0 \"x\"\n";
  for (int i = 0; i < 5000; ++i) {
    chain += "r" + std::to_string(i) + " ::= r" + std::to_string((i + 1) % 5000) + " \"x\"\n";
  }
  const Row rows[] = {
      {gbnf, "", "there is no rule root"},
      {gbnf, "a ::= \"b\"", "there is no rule root"},
      {gbnf, "root ::= a", "line 1, column 11: rule a is not defined"},
      {gbnf, "root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: rule root is defined twice"},
      {gbnf, "root = \"a\"", "line 1, column 6: expected ::= behind the name"},
      {gbnf, "root ::= \"a", "line 1, column 12: expected '\"'"},
      {gbnf, "root ::= [a", "line 1, column 12: expected ']'"},
      {gbnf, "root ::= [b-a]", "line 1, column 14: the range of the class is empty"},
      {gbnf, "root ::= (\"a\"", "line 1, column 14: expected ')'"},
      {gbnf, "root ::= \"a\")", "line 1, column 13: ')' closes no group"},
      {gbnf, "root ::= * \"a\"", "line 1, column 10: nothing to repeat"},
      {gbnf, "root ::= \"a\"{2,1}", "line 1, column 13: the most is below the least"},
      {gbnf, "root ::= \"\\q\"", "line 1, column 11: unknown escape"},
      {gbnf, "root ::= \"\\ud800\"", "line 1, column 11: the escape is no character"},
      {gbnf, "root ::= <think>", "line 1, column 10: tokens (<...>) are not supported in grammars"},
      {gbnf, "root ::= \"a\" ; \"b\"", "line 1, column 14: unexpected ';'"},
      {gbnf, "root ::= " + repeated("(", 60000) + repeated(")", 60000),
       "line 1, column 74: groups are nested deeper than 64"},
      {gbnf, "root ::= root \"a\" | \"b\"", "rule root begins with itself"},
      {gbnf, "root ::= a\na ::= b \"x\" | \"y\"\nb ::= \"\" a", "rule b begins with itself"},
      {gbnf, "root ::= e root \"x\" | \"y\"\ne ::= \"z\"?", "rule root begins with itself"},
      {gbnf, chain, "no text satisfies it"},
      {gbnf, "root ::= \"a\" root", "no text satisfies it"},
      {gbnf, "root ::= \"x\"{0,1000000}", "line 1, column 13: needs more than 150000 states"},
      {gbnf, "root ::= (\"x\"{1000}){1000}", "line 1, column 21: needs more than 150000 states"},
      {gbnf, std::string(300'000, ' '), "300000 bytes are over the limit of 262144"},
      {gbnf, "root ::= \"\xff\"", "line 1, column 11: expected UTF-8"},
      {regex, "(", "offset 1: expected ')'"},
      {regex, "a)", "offset 1: ')' closes no group"},
      {regex, "^+", "offset 1: nothing to repeat"},
      {regex, "a**", "offset 2: a repetition is repeated"},
      {regex, "(?<=x)y", "offset 0: the group (?<=... is not supported"},
      {regex, "(?=x)", "offset 0: the group (?=... is not supported"},
      {regex, "(?i)x", "offset 0: the group (?i... is not supported"},
      {regex, "(a)\\1", "offset 3: the escape \\1 is not supported"},
      {regex, "\\bx", "offset 0: the escape \\b is not supported"},
      {regex, "\\p{L}", "offset 0: the escape \\p is not supported"},
      {regex, "x\\", "offset 1: '\\' ends the expression"},
      {regex, "[a", "offset 2: expected ']'"},
      {regex, "[]", "offset 2: the class has no character"},
      {regex, "a^b", "offset 1: the anchor ^ is not at the beginning of the expression"},
      {regex, "a$b", "offset 2: text behind the anchor $"},
      {regex, "(a$)b", "offset 2: the anchor $ is not at the end of the expression"},
      {regex, "a{1000}{1000}", "offset 7: nothing to repeat"},
      {regex, "(a{1000}){1000}", "offset 9: needs more than 150000 states"},
      {regex, "((((a{30}){30}){30}){30}){30}", "offset 20: needs more than 150000 states"},
      {regex, repeated("(", 60000), "offset 64: groups are nested deeper than 64"},
      {regex, "\xff", "offset 0: expected UTF-8"},
      {choice, "[]", "expected an array of texts"},
      {choice, "{}", "expected an array of texts"},
      {choice, R"(["a", 1])", "[1]: expected a text of at least one character"},
      {choice, R"(["a", ""])", "[1]: expected a text of at least one character"},
      {choice, "[", "JSON is invalid at byte 2"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.grammar.substr(0, 80));
    const auto automaton = compile_grammar(row.kind, row.grammar);
    ASSERT_FALSE(automaton.ok());
    EXPECT_EQ(automaton.error().message, row.message);
  }
}

TEST(Grammar, ACompilationThatNobodyWaitsForEnds) {
  CompileLimits limits;
  limits.cancelled = [] { return true; };
  const auto automaton =
      compile_grammar(GrammarKind::gbnf, "root ::= \"x\"{0,20000} \"y\"{0,20000}", limits);
  ASSERT_FALSE(automaton.ok());
  EXPECT_NE(automaton.error().message.find("nobody waits for it any more"), std::string::npos);
}

// Two ways at each step that are told apart only where they end: 2^n stacks. Some are given up,
// what is read stays within the grammar, and there is always a way on.
TEST(Grammar, ManyAlternativesAreBounded) {
  const auto automaton = compile_grammar(
      GrammarKind::gbnf,
      "root ::= a\na ::= \"x\" b \"1\" | \"\"\nb ::= \"x\" a \"2\" | \"x\" b \"3\" | \"\"");
  ASSERT_TRUE(automaton.ok()) << automaton.error().message;
  Configurations places(*automaton, *byte_vocabulary());
  Configurations::Place place = places.start();
  std::vector<uint64_t> mask(4);
  for (int i = 0; i < 200; ++i) {
    place = places.after(place, uint8_t{'x'});
    ASSERT_NE(place, Configurations::kNowhere);
  }
  for (int i = 0; i < 200; ++i) {
    places.tokens_after(place, mask);
    Configurations::Place next = Configurations::kNowhere;
    for (const uint8_t byte : {'1', '2', '3'}) {
      if ((mask[0] >> byte & 1) != 0 && next == Configurations::kNowhere) {
        next = places.after(place, byte);
      }
    }
    ASSERT_NE(next, Configurations::kNowhere) << i;
    place = next;
  }
  EXPECT_TRUE(places.can_end(place));
}

}  // namespace
}  // namespace floe

// What masks cost: random answers under grammars over the vocabulary of a model file.
//   mask_bench MODEL.gguf
// A line for each grammar: microseconds to compile, and per token to make the mask and to take the
// token, of the first answer (places are met for the first time) and of 50 further ones.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "store/gguf.h"
#include "text/grammar_tokens.h"
#include "text/tokenizer.h"

namespace {

using namespace floe;

double now() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

struct Case {
  const char* name;
  GrammarKind kind;
  std::string text;
};

std::vector<Case> cases() {
  std::string many = R"({"type":"object","properties":{)";
  for (int i = 0; i < 60; ++i) {
    many += (i > 0 ? ",\"field_" : "\"field_") + std::to_string(i) +
            (i % 3 == 0   ? "\":{\"type\":\"string\"}"
             : i % 3 == 1 ? "\":{\"type\":\"integer\",\"minimum\":0}"
                          : "\":{\"enum\":[\"red\",\"green\",\"blue\"]}");
  }
  many += "}}";
  return {
      {"json_object", GrammarKind::json_object, ""},
      {"person", GrammarKind::json_schema,
       R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},"tags":{"type":"array","items":{"type":"string"}},"address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}},"required":["street","city"]}},"required":["name","age","tags","address"]})"},
      {"60 optional fields", GrammarKind::json_schema, many},
      {"strings of at most 200", GrammarKind::json_schema,
       R"({"type":"array","items":{"type":"string","maxLength":200}})"},
      {"pattern", GrammarKind::json_schema,
       R"({"type":"array","items":{"type":"string","pattern":"^[A-Z][a-z]+( [A-Z][a-z]+)*$"}})"},
      {"tree", GrammarKind::json_schema,
       R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"string"},"l":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["v","l"]}},"$ref":"#/$defs/n"})"},
      {"prose (regex)", GrammarKind::regex, "[^\\n]+(\\n[^\\n]+)*"},
      {"arithmetic (gbnf)", GrammarKind::gbnf,
       "root ::= term ([-+*/] term)*\nterm ::= [0-9]+ | [a-z]+ | \"(\" root \")\"\n"},
  };
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "mask_bench MODEL.gguf\n");
    return 2;
  }
  const auto file = GgufFile::open(argv[1], NoTensors::allow);
  if (!file.ok()) {
    std::fprintf(stderr, "%s\n", file.error().message.c_str());
    return 3;
  }
  const auto tokenizer = Tokenizer::load(*file);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str());
    return 3;
  }
  const auto n_vocab = static_cast<size_t>((*tokenizer)->n_vocab());
  const double trie_began = now();
  const auto trie = make_token_trie(**tokenizer);
  std::printf("%zu tokens, %zu + %zu nodes, %.1f MB, %.0f ms\n", n_vocab,
              trie->short_tokens().nodes().size(), trie->long_tokens().nodes().size(),
              static_cast<double>(trie->n_bytes()) / 1e6, (now() - trie_began) / 1e3);
  std::printf("%-24s %9s %7s | %8s %8s %8s | %8s %8s %8s | %6s\n", "", "compile", "states", "p50",
              "p99", "max", "p50", "p99", "max", "MB");
  std::vector<uint64_t> mask((n_vocab + 63) / 64);
  for (const Case& row : cases()) {
    const double began = now();
    auto automaton = compile_grammar(row.kind, row.text);
    if (!automaton.ok()) {
      std::fprintf(stderr, "%s: %s\n", row.name, automaton.error().message.c_str());
      return 1;
    }
    const size_t n_states = automaton->states.size();
    auto grammar = std::make_shared<Grammar>(std::move(*automaton), trie);
    grammar->prepare();
    const double compiled = now() - began;
    auto output = std::make_shared<OutputGrammar>();
    output->grammar = grammar;
    std::vector<double> first;
    std::vector<double> later;
    uint64_t random = 1;
    for (int answer = 0; answer < 51; ++answer) {
      GrammarMatcher matcher(output);
      for (int i = 0; i < 200 && !matcher.must_end(); ++i) {
        const double token_began = now();
        matcher.tokens(mask);
        const double made = now();
        std::vector<int32_t> allowed;
        for (size_t id = 0; id < n_vocab; ++id) {
          if ((mask[id / 64] >> (id % 64) & 1) != 0) allowed.push_back(static_cast<int32_t>(id));
        }
        if (allowed.empty()) break;
        random = random * 6364136223846793005u + 1442695040888963407u;
        const int32_t token = allowed[(random >> 33) % allowed.size()];
        const double took = now();
        matcher.accept(token);
        (answer == 0 ? first : later).push_back(made - token_began + now() - took);
      }
    }
    std::printf("%-24s %6.1f ms %7zu | %8.1f %8.1f %8.1f | %8.1f %8.1f %8.1f | %6.1f\n", row.name,
                compiled / 1e3, n_states, quantile(first, 0.5), quantile(first, 0.99),
                quantile(first, 1.0), quantile(later, 0.5), quantile(later, 0.99),
                quantile(later, 1.0), static_cast<double>(grammar->n_bytes()) / 1e6);
  }
  return 0;
}

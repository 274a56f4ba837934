// Random answers under grammars, as a model whose logits say nothing would give them. For each line
// of the input, {"schema": ..., "instances": [text, ...]}, a line of the output:
//   {"error": text} or {"answer": text, "complete": bool, "refused": [indices of instances]}
// grammar_walk SEED WORDS: WORDS is a file with the vocabulary's further tokens, one a line.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "grammar/grammar.h"

namespace {

using namespace floe;

constexpr int kMaxTokens = 400;

uint64_t random_number(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Marks that bring an answer to its end.
bool closes(std::string_view token) {
  return token.find_first_of("\"}]") != std::string_view::npos;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  uint64_t random = std::stoull(argv[1]);
  std::vector<std::string> tokens;
  for (int i = 0; i < 256; ++i) tokens.emplace_back(1, static_cast<char>(i));
  std::ifstream words(argv[2]);
  for (std::string line; std::getline(words, line);) {
    const auto word = parse_json(line);
    if (word.ok() && word->is_string()) tokens.push_back(word->get<std::string>());
  }
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  const auto trie = std::make_shared<const TokenTrie>(views, std::vector<uint8_t>(views.size(), 0));
  std::vector<uint64_t> mask((views.size() + 63) / 64);
  for (std::string line; std::getline(std::cin, line);) {
    Json out;
    const auto input = parse_json(line);
    if (!input.ok()) return 2;
    auto automaton = compile_json_schema((*input)["schema"]);
    if (!automaton.ok()) {
      out["error"] = automaton.error().message;
      std::cout << dump_json(out) << std::endl;
      continue;
    }
    auto output = std::make_shared<OutputGrammar>();
    output->grammar = std::make_shared<const Grammar>(std::move(*automaton), trie);
    GrammarMatcher matcher(output);
    std::string answer;
    std::vector<int32_t> allowed;
    for (int i = 0; i < kMaxTokens && !matcher.must_end(); ++i) {
      if (matcher.can_end() && random_number(random) % 4 == 0) break;
      matcher.tokens(mask);
      allowed.clear();
      const bool hurries = i > 60 + static_cast<int>(random_number(random) % 60);
      for (size_t token = 0; token < tokens.size(); ++token) {
        if ((mask[token / 64] >> (token % 64) & 1) == 0) continue;
        allowed.push_back(static_cast<int32_t>(token));
        if (hurries && closes(tokens[token])) allowed.insert(allowed.end(), 200, allowed.back());
      }
      if (allowed.empty()) {
        out["error"] = "no token may follow, and the answer may not end";
        break;
      }
      const int32_t token = allowed[random_number(random) % allowed.size()];
      if (!matcher.accept(token)) {
        out["error"] = "a token that the mask allows is not accepted";
        break;
      }
      answer += tokens[static_cast<size_t>(token)];
    }
    out["answer"] = answer;
    out["complete"] = matcher.can_end();
    out["refused"] = Json::array();
    const Json& instances = (*input)["instances"];
    for (size_t i = 0; i < instances.size(); ++i) {
      GrammarMatcher reader(output);
      bool is_read = true;
      for (const char byte : instances[i].get_ref<const std::string&>()) {
        reader.tokens(mask);
        const auto token = static_cast<int32_t>(static_cast<uint8_t>(byte));
        is_read = is_read && (mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0 &&
                  reader.accept(token);
      }
      if (!is_read || !reader.can_end()) out["refused"].push_back(i);
    }
    std::cout << dump_json(out) << std::endl;
  }
  return 0;
}

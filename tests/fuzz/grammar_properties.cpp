#include "fuzz/grammar_properties.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "grammar/configurations.h"

namespace floe {

namespace {

constexpr size_t kMaxRead = 64;

const TokenTrie& vocabulary() {
  static const TokenTrie* trie = [] {
    static std::vector<std::string> tokens;
    for (int i = 0; i < 256; ++i) tokens.emplace_back(1, static_cast<char>(i));
    for (const char* piece : {"ab", "aaaa", "\"a", "a\"", "\":", "\",", "{\"", "\"}", "12", "1.",
                              "]]", "[[", "  ", "\n  ", "null", "\xc3\xa9", "\\\""}) {
      tokens.emplace_back(piece);
    }
    const std::vector<std::string_view> views(tokens.begin(), tokens.end());
    return new TokenTrie(views, std::vector<uint8_t>(views.size(), 0));
  }();
  return *trie;
}

}  // namespace

std::string check_grammar_properties(GrammarKind kind, std::span<const uint8_t> bytes) {
  const auto* end = std::find(bytes.data(), bytes.data() + bytes.size(), uint8_t{0});
  const std::string text(reinterpret_cast<const char*>(bytes.data()),
                         static_cast<size_t>(end - bytes.data()));
  const std::span<const uint8_t> choices = bytes.subspan(std::min(text.size() + 1, bytes.size()));
  CompileLimits limits;
  limits.max_states = 4000;
  limits.max_steps = 400'000;
  const auto automaton = compile_grammar(kind, text, limits);
  if (!automaton.ok()) return automaton.error().message.empty() ? "an error without a message" : "";
  if (automaton->states.size() > limits.max_states) return "more states than allowed";
  const TokenTrie& trie = vocabulary();
  Configurations places(*automaton, trie);
  Configurations::Place place = places.start();
  std::vector<uint64_t> mask((trie.n_vocab() + 63) / 64);
  for (size_t i = 0; i < std::min(choices.size(), kMaxRead) + 1; ++i) {
    if (places.must_end(place)) break;
    places.tokens_after(place, mask);
    std::vector<int32_t> allowed;
    bool allows_byte = false;
    for (uint32_t token = 0; token < trie.n_vocab(); ++token) {
      const std::string_view bytes_of_token = trie.text(static_cast<int32_t>(token));
      const bool is_set = (mask[token / 64] >> (token % 64) & 1) != 0;
      const bool is_read = !bytes_of_token.empty() &&
                           places.after(place, bytes_of_token) != Configurations::kNowhere;
      // Where alternatives are given up the mask may be wider than what is then read.
      if (is_read && !is_set) return "the mask forbids what can be read";
      if (is_set && bytes_of_token.size() == 1 && !is_read)
        return "the mask allows a byte that leads nowhere";
      if (is_read) allowed.push_back(static_cast<int32_t>(token));
      allows_byte = allows_byte || (is_read && token < 256);
    }
    if (!allows_byte) return "nothing may follow, and the answer may not end";
    const uint8_t choice = i < choices.size() ? choices[i] : 0;
    place = places.after(place, trie.text(allowed[choice % allowed.size()]));
  }
  return "";
}

}  // namespace floe

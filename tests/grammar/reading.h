#pragma once
// Whole texts under a grammar, byte by byte.
#include <memory>
#include <string>
#include <string_view>

#include "grammar/grammar.h"

namespace floe {

// A vocabulary of the 256 bytes.
inline std::shared_ptr<const TokenTrie> byte_vocabulary() {
  static const auto trie = [] {
    static std::string bytes;
    std::vector<std::string_view> views;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    for (size_t i = 0; i < 256; ++i) views.push_back(std::string_view(bytes).substr(i, 1));
    return std::make_shared<const TokenTrie>(views, std::vector<uint8_t>(256, 0));
  }();
  return trie;
}

// "whole", "begun" (a text of the grammar begins like this) or "no".
inline std::string reading_of(const Automaton& automaton, std::string_view text) {
  Configurations places(automaton, *byte_vocabulary());
  const Configurations::Place place = places.after(places.start(), text);
  if (place == Configurations::kNowhere) return "no";
  return places.can_end(place) ? "whole" : "begun";
}

}  // namespace floe

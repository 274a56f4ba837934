#pragma once
// An answer as its readers see it: a sequence of symbols, each a byte of text or one of the
// format's marker tokens. So what a token says and what text spells are never the same, and no
// text becomes structure where the vocabulary has a token for it.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/answer_format.h"

namespace floe {

using Symbol = char16_t;  // 0 to 255: a byte of text; 256 + i: the format's markers[i]
using Symbols = std::u16string;

inline constexpr Symbol kFirstMarker = 256;
inline bool is_marker(Symbol symbol) {
  return symbol >= kFirstMarker;
}
inline bool is_blank(Symbol symbol) {
  return symbol == ' ' || symbol == '\t' || symbol == '\r' || symbol == '\n';
}

// `text` as it comes in an answer: markers of the format as tokens, leftmost first, then longest.
Symbols to_symbols(std::string_view text, const std::vector<AnswerFormat::Marker>& markers);
// What a symbol says, appended to `out`.
void append_symbol(Symbol symbol, const std::vector<AnswerFormat::Marker>& markers,
                   std::string& out);

// Finds the first of several texts in a stream, one symbol at a time, and holds back no more than
// the beginning of one. No text may be the beginning of another.
class SymbolMatcher {
 public:
  static constexpr size_t kMaxTexts = 6;

  // From now on these are looked for; empty ones never match. What is held stays held. They must
  // outlive their use.
  void look_for(std::initializer_list<const Symbols*> texts);

  // The text that ends with `symbol`, or nullptr. Appends to `released` what can no longer be part
  // of one.
  const Symbols* push(Symbol symbol, Symbols& released);

  // What is held: the beginning of a text, unless other ones are looked for since.
  const Symbols& held() const { return held_; }
  Symbols take_held() { return std::exchange(held_, {}); }
  // Whether what is held is the beginning of one of the texts.
  bool holds_beginning() const;

 private:
  std::array<const Symbols*, kMaxTexts> texts_{};
  size_t n_texts_ = 0;
  Symbols held_;
};

}  // namespace floe

#include "chat/answer_symbols.h"

#include <algorithm>

#include "base/error.h"

namespace floe {

Symbols to_symbols(std::string_view text, const std::vector<AnswerFormat::Marker>& markers) {
  Symbols out;
  while (!text.empty()) {
    size_t best = markers.size();
    for (size_t i = 0; i < markers.size(); ++i) {
      if (!text.starts_with(markers[i].text)) continue;
      if (best == markers.size() || markers[i].text.size() > markers[best].text.size()) best = i;
    }
    if (best < markers.size()) {
      out.push_back(static_cast<Symbol>(kFirstMarker + best));
      text.remove_prefix(markers[best].text.size());
    } else {
      out.push_back(static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
    }
  }
  return out;
}

void append_symbol(Symbol symbol, const std::vector<AnswerFormat::Marker>& markers,
                   std::string& out) {
  if (is_marker(symbol)) {
    out += markers[symbol - kFirstMarker].text;
  } else {
    out.push_back(static_cast<char>(symbol));
  }
}

void SymbolMatcher::look_for(std::initializer_list<const Symbols*> texts) {
  FLOE_CHECK(texts.size() <= kMaxTexts);
  std::copy(texts.begin(), texts.end(), texts_.begin());
  n_texts_ = texts.size();
}

const Symbols* SymbolMatcher::push(Symbol symbol, Symbols& released) {
  held_.push_back(symbol);
  size_t first = 0;  // of what is held: before it, nothing can match any more
  const Symbols* found = nullptr;
  for (; first < held_.size(); ++first) {
    const std::u16string_view rest = std::u16string_view(held_).substr(first);
    bool is_beginning = false;
    for (size_t i = 0; i < n_texts_ && found == nullptr; ++i) {
      if (!std::u16string_view(*texts_[i]).starts_with(rest)) continue;
      is_beginning = true;
      if (texts_[i]->size() == rest.size()) found = texts_[i];
    }
    if (is_beginning) break;
  }
  released.append(held_, 0, first);
  if (found != nullptr) {
    held_.clear();
  } else {
    held_.erase(0, first);
  }
  return found;
}

bool SymbolMatcher::holds_beginning() const {
  return std::any_of(texts_.begin(), texts_.begin() + static_cast<std::ptrdiff_t>(n_texts_),
                     [&](const Symbols* text) { return text->starts_with(held_); }) &&
         !held_.empty();
}

}  // namespace floe

#include "chat/call_markup.h"

namespace floe {

const AnswerFormat::Marker* marker_at(const AnswerFormat& format, std::string_view text) {
  const AnswerFormat::Marker* best = nullptr;
  for (const AnswerFormat::Marker& marker : format.markers) {
    if (marker.id < 0 || marker.text.empty() || !text.starts_with(marker.text)) continue;
    if (best == nullptr || marker.text.size() > best->text.size()) best = &marker;
  }
  return best;
}

Nfa::State add_markup(const AnswerFormat& format, Nfa& nfa, Nfa::State at, std::string_view text) {
  while (!text.empty() && !nfa.work().failed()) {
    const AnswerFormat::Marker* marker = marker_at(format, text);
    if (marker != nullptr) {
      const Nfa::State next = nfa.add_state();
      nfa.add_token(at, next, marker->id);
      at = next;
      text.remove_prefix(marker->text.size());
      continue;
    }
    size_t end = 1;
    while (end < text.size() &&
           ((text[end] & 0xc0) == 0x80 || marker_at(format, text.substr(end)) == nullptr)) {
      ++end;
    }
    at = nfa.text_after(at, text.substr(0, end));
    text.remove_prefix(end);
  }
  return at;
}

}  // namespace floe

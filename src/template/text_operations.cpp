#include "template/text_operations.h"

#include "template/characters.h"
#include "template/value_text.h"

namespace floe::jinja {

MarkedText stripped(const MarkedText& text, const MarkedText* characters, bool left, bool right) {
  const std::string_view bytes = text.bytes();
  const auto goes = [&](size_t at) {
    const Character character = character_at(bytes, at);
    if (characters == nullptr) return is_space(character.codepoint);
    return characters->bytes().find(bytes.substr(at, character.length_bytes)) !=
           std::string_view::npos;
  };
  size_t begin = 0;
  size_t end = bytes.size();
  while (left && begin < end && goes(begin)) begin += character_at(bytes, begin).length_bytes;
  while (right && end > begin) {
    const size_t last = previous_character(bytes, end);
    if (!goes(last)) break;
    end = last;
  }
  return text.part(begin, end);
}

Result<MarkedText> replaced(Interpreter& interpreter, const MarkedText& text,
                            std::string_view pattern, const MarkedText& by, Integer count) {
  const std::string_view bytes = text.bytes();
  MarkedText out;
  size_t at = 0;
  FLOE_TRY_VOID(interpreter.spend(1 + bytes.size() / 16));
  while (count != 0) {
    size_t found = at;
    if (pattern.empty()) {
      if (at > bytes.size()) break;
    } else {
      found = bytes.find(pattern, at);
      if (found == std::string_view::npos) break;
    }
    FLOE_TRY_VOID(interpreter.spend(1 + by.size() / 16));
    out.append_part(text, at, found);
    out.append(by);
    at = found + pattern.size();
    if (pattern.empty()) {
      if (at == bytes.size()) return out;
      const size_t next = at + character_at(bytes, at).length_bytes;
      out.append_part(text, at, next);
      at = next;
    }
    if (count > 0) --count;
  }
  out.append_part(text, at, bytes.size());
  return out;
}

std::vector<MarkedText> lines_of(const MarkedText& text) {
  const std::string_view bytes = text.bytes();
  std::vector<MarkedText> lines;
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const Character character = character_at(bytes, at);
    const size_t end = at;
    at += character.length_bytes;
    if (!ends_line(character.codepoint)) continue;
    if (bytes[end] == '\r' && at < bytes.size() && bytes[at] == '\n') ++at;
    lines.push_back(text.part(begin, end));
    begin = at;
  }
  if (begin < bytes.size()) lines.push_back(text.part(begin, bytes.size()));
  return lines;
}

MarkedText with_case(const MarkedText& text, Case style) {
  const std::string_view bytes = text.bytes();
  MarkedText out;
  bool begins = true;
  for (size_t at = 0; at < bytes.size();) {
    const Character character = character_at(bytes, at);
    std::string changed;
    const bool upper = style == Case::upper || (style != Case::lower && begins);
    if (upper)
      append_upper(changed, character.codepoint);
    else
      append_lower(changed, character.codepoint);
    out.append(changed, text.origin_at(at));
    if (style == Case::title) {
      begins = is_space(character.codepoint) ||
               std::string_view("-({[<").find(static_cast<char>(character.codepoint)) !=
                   std::string_view::npos;
      if (character.codepoint >= 0x80) begins = is_space(character.codepoint);
    } else if (style == Case::title_words) {
      begins = !is_letter(character.codepoint);
    } else {
      begins = false;
    }
    at += character.length_bytes;
  }
  return out;
}

MarkedText escaped(const MarkedText& text) {
  MarkedText out;
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size() && !text.is_markup; ++at) {
    const std::string_view entity = bytes[at] == '&'    ? "&amp;"
                                    : bytes[at] == '<'  ? "&lt;"
                                    : bytes[at] == '>'  ? "&gt;"
                                    : bytes[at] == '"'  ? "&#34;"
                                    : bytes[at] == '\'' ? "&#39;"
                                                        : "";
    if (entity.empty()) continue;
    out.append_part(text, begin, at);
    out.append(entity, text.origin_at(at));
    begin = at + 1;
  }
  out.append_part(text, begin, bytes.size());
  out.is_markup = true;
  return out;
}

Result<Value> joined(Interpreter& interpreter, const std::vector<Value>& parts,
                     const MarkedText& separator, bool prints_parts) {
  MarkedText out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!prints_parts && parts[i].text() == nullptr) {
      return interpreter.fault("join: expected strings, found " + std::string(type_name(parts[i])));
    }
    FLOE_TRY_VOID(interpreter.spend(1 + separator.size() / 16));
    if (i != 0) out.append(separator);
    FLOE_TRY(const MarkedText part, printed(interpreter, parts[i]));
    out.append(part);
  }
  return interpreter.text(std::move(out));
}

}  // namespace floe::jinja

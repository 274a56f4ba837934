#include "template/characters.h"

#include <utf8proc.h>

namespace floe::jinja {

Character character_at(std::string_view text, size_t offset) {
  utf8proc_int32_t codepoint = 0;
  const utf8proc_ssize_t length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset,
                       static_cast<utf8proc_ssize_t>(text.size() - offset), &codepoint);
  if (length <= 0) return {0xFFFD, 1};
  return {static_cast<uint32_t>(codepoint), static_cast<uint32_t>(length)};
}

size_t previous_character(std::string_view text, size_t offset) {
  for (size_t length = 2; length <= 4 && length <= offset; ++length) {
    if (character_at(text, offset - length).length_bytes == length) return offset - length;
  }
  return offset - 1;
}

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); at += character_at(text, at).length_bytes) ++count;
  return count;
}

std::vector<size_t> character_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size(); at += character_at(text, at).length_bytes) {
    offsets.push_back(at);
  }
  offsets.push_back(text.size());
  return offsets;
}

void append_character(std::string& out, uint32_t codepoint) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t length =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(codepoint), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

bool is_space(uint32_t codepoint) {
  // Python counts the separators 0x1c to 0x1f, and characters of bidirectional class B, S or WS.
  if (codepoint < 0x80) {
    return codepoint == ' ' || (codepoint >= 0x09 && codepoint <= 0x0D) ||
           (codepoint >= 0x1C && codepoint <= 0x1F);
  }
  if (codepoint == 0x85) return true;
  return utf8proc_category(static_cast<utf8proc_int32_t>(codepoint)) == UTF8PROC_CATEGORY_ZS ||
         codepoint == 0x2028 || codepoint == 0x2029;
}

bool is_letter(uint32_t codepoint) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(codepoint))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool is_digit(uint32_t codepoint) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(codepoint)) == UTF8PROC_CATEGORY_ND;
}

bool is_upper(uint32_t codepoint) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(codepoint)) == UTF8PROC_CATEGORY_LU;
}

bool is_lower(uint32_t codepoint) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(codepoint)) == UTF8PROC_CATEGORY_LL;
}

bool ends_line(uint32_t codepoint) {
  return (codepoint >= 0x0A && codepoint <= 0x0D) || (codepoint >= 0x1C && codepoint <= 0x1E) ||
         codepoint == 0x85 || codepoint == 0x2028 || codepoint == 0x2029;
}

void append_upper(std::string& out, uint32_t codepoint) {
  if (codepoint == 0xDF) {  // the one common letter whose capital form has two
    out += "SS";
    return;
  }
  append_character(
      out, static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(codepoint))));
}

void append_lower(std::string& out, uint32_t codepoint) {
  append_character(
      out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(codepoint))));
}

}  // namespace floe::jinja

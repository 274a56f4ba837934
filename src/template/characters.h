#pragma once
// Characters of UTF-8 text: templates count, cut and change text by characters, not bytes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace floe::jinja {

struct Character {
  uint32_t codepoint = 0;
  uint32_t length_bytes = 1;  // an invalid byte counts as one character
};

// text[offset] exists.
Character character_at(std::string_view text, size_t offset);
// Offset of the character before `offset`, which is above 0.
size_t previous_character(std::string_view text, size_t offset);
size_t count_characters(std::string_view text);
// Where each character begins, and the size of the text behind them.
std::vector<size_t> character_offsets(std::string_view text);
void append_character(std::string& out, uint32_t codepoint);

// As Python's str.isspace, str.isalpha, str.isdigit, of one character.
bool is_space(uint32_t codepoint);
bool is_letter(uint32_t codepoint);
bool is_digit(uint32_t codepoint);
bool is_upper(uint32_t codepoint);
bool is_lower(uint32_t codepoint);
// Where str.splitlines() ends a line.
bool ends_line(uint32_t codepoint);
void append_upper(std::string& out, uint32_t codepoint);
void append_lower(std::string& out, uint32_t codepoint);

}  // namespace floe::jinja

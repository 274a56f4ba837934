#pragma once
// An EAGLE-3 head's folder with a few bytes changed either is refused in one clean line or loads,
// and then runs.
#include <cstdint>
#include <span>
#include <string>

namespace floe::test {

// input: a byte that picks one of the tiny heads, then edits of four bytes each: a 24-bit place and
// the new byte. The place's two upper bits pick what the others count in: 0 model.safetensors, 1
// its header, 2 config.json, 3 d2t and what follows it. Empty: the properties hold; otherwise what
// broke.
std::string check_eagle3_properties(std::span<const uint8_t> input);

}  // namespace floe::test

#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace floe {

// Parses the bytes as a template and renders it, within small limits, over a conversation with
// every kind of value. Empty, or what is wrong: text of the conversation that counts as the
// template's.
std::string check_template_properties(std::span<const uint8_t> bytes);

}  // namespace floe

#pragma once
// The one face of the JSON library. Key order is kept: it reaches the prompt through tool schemas.
#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json_fwd.h"

namespace floe {

struct JsonLimits {
  // The library copies, prints and destroys by recursion, so depth is bounded before it sees the
  // text. Two levels to a level of a tool's schema, so that nested ones pass.
  size_t max_depth = 256;
  size_t max_bytes = size_t{32} << 20;
  // A value takes more memory than the byte or two that it may have as text.
  size_t max_values = size_t{4} << 20;
  // Asked every 256 KiB; true ends the parse with an error. May be empty.
  std::function<bool()> cancelled;
};

// ErrorKind::usage with the byte offset of the first fault. Text must be one document of valid
// UTF-8. Of members of one name the last counts. Time is linear in the size of the text.
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});

// The same of a text that nobody needs any more: its pages go back to the system as they are read,
// so that a large text and its document are never in memory as a whole together.
Result<Json> consume_json(std::string text, const JsonLimits& limits = {});

// One line, no spaces added; invalid UTF-8 inside strings becomes U+FFFD, so this never fails.
std::string dump_json(const Json& value);

// Appends text as the inside of a JSON string (no quotes), replacing invalid UTF-8 by U+FFFD. For
// the streaming path, where building a document per token would cost more than the token.
void append_json_escaped(std::string_view text, std::string& out);

}  // namespace floe

#pragma once
// JSON written as text, piece by piece: for answers that stream, where building a document for each
// token would cost more than the token.
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"

namespace floe {

// With its quotes; invalid UTF-8 becomes U+FFFD.
inline void append_string(std::string_view text, std::string& out) {
  out += '"';
  append_json_escaped(text, out);
  out += '"';
}

template <typename... Args>
void append_format(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

}  // namespace floe

#include "fuzz/event_stream_properties.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "lab/event_stream.h"

namespace floe {

namespace {

constexpr size_t kMaxEventBytes = 64;

struct Events {
  std::vector<std::string> data;
  bool whole = true;
};

Events read(std::string_view text, size_t piece) {
  Events out;
  EventStream stream(kMaxEventBytes);
  for (size_t at = 0; at < text.size(); at += piece) {
    out.whole = stream.push(text.substr(at, piece), [&](std::string_view data) {
      FLOE_CHECK(data.size() <= kMaxEventBytes);
      out.data.emplace_back(data);
    });
  }
  return out;
}

}  // namespace

void check_event_stream(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const size_t piece = 1 + data[0] % 16;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Events at_once = read(text, std::max<size_t>(text.size(), 1));
  const Events in_pieces = read(text, piece);
  FLOE_CHECK(at_once.whole == in_pieces.whole);
  FLOE_CHECK(at_once.data == in_pieces.data);
}

}  // namespace floe

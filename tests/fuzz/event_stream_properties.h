#pragma once
#include <cstddef>
#include <cstdint>

namespace floe {

// Any bytes: cut into pieces they give the same events as in one piece, and no event is longer than
// the limit. Stops the process where that does not hold.
void check_event_stream(const uint8_t* data, size_t size);

}  // namespace floe

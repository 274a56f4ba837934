#include "fuzz/event_stream_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  floe::check_event_stream(data, size);
  return 0;
}

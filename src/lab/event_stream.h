#pragma once
// Server-sent events, as a client reads them (HTML standard, section 9.2.6).
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace floe {

// Takes a stream in pieces of any size. Knows the field `data` alone: the others say nothing about
// answers of a model.
class EventStream {
 public:
  explicit EventStream(size_t max_event_bytes = size_t{4} << 20) : max_bytes_(max_event_bytes) {}

  // Calls on_data with the data of every event that is now whole. False when an event is longer
  // than the limit; from then on nothing is taken.
  bool push(std::string_view bytes, const std::function<void(std::string_view data)>& on_data);

 private:
  void end_line(const std::function<void(std::string_view data)>& on_data);

  const size_t max_bytes_;
  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool skip_line_feed_ = false;  // behind a carriage return
  bool too_long_ = false;
};

}  // namespace floe

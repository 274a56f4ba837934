#include "lab/event_stream.h"

#include <utility>

namespace floe {

bool EventStream::push(std::string_view bytes,
                       const std::function<void(std::string_view data)>& on_data) {
  for (size_t at = 0; at < bytes.size() && !too_long_;) {
    if (std::exchange(skip_line_feed_, false) && bytes[at] == '\n') {
      ++at;
      continue;
    }
    const size_t end = std::min(bytes.find_first_of("\r\n", at), bytes.size());
    line_.append(bytes.substr(at, end - at));
    too_long_ = line_.size() + data_.size() > max_bytes_;
    at = end;
    if (at == bytes.size()) break;
    skip_line_feed_ = bytes[at] == '\r';
    ++at;
    end_line(on_data);
  }
  return !too_long_;
}

void EventStream::end_line(const std::function<void(std::string_view data)>& on_data) {
  const std::string line = std::exchange(line_, {});
  if (line.empty()) {
    if (std::exchange(has_data_, false)) on_data(data_);
    data_.clear();
    return;
  }
  std::string_view text = line;
  if (!text.starts_with("data")) return;
  text.remove_prefix(4);
  if (!text.empty()) {
    if (text.front() != ':') return;
    text.remove_prefix(1);
    if (text.starts_with(' ')) text.remove_prefix(1);
  }
  if (has_data_) data_ += '\n';
  data_ += text;
  has_data_ = true;
}

}  // namespace floe

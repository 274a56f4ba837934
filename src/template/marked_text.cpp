#include "template/marked_text.h"

#include <algorithm>

namespace floe::jinja {

namespace {

bool ends_at_or_before(const MarkedText::Run& run, size_t offset) {
  return run.end <= offset;
}

}  // namespace

// The bytes behind the last run are of this origin.
void MarkedText::mark(Origin origin) {
  const size_t marked = runs_.empty() ? 0 : runs_.back().end;
  if (bytes_.size() == marked) return;
  if (!runs_.empty() && runs_.back().origin == origin) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), origin});
  }
}

Origin MarkedText::origin_at(size_t offset) const {
  const auto run = std::partition_point(runs_.begin(), runs_.end(), [&](const Run& candidate) {
    return ends_at_or_before(candidate, offset);
  });
  return run == runs_.end() ? Origin::data : run->origin;
}

void MarkedText::append(std::string_view bytes, Origin origin) {
  bytes_.append(bytes);
  mark(origin);
}

void MarkedText::append_part(const MarkedText& other, size_t begin, size_t end) {
  auto run = std::partition_point(
      other.runs_.begin(), other.runs_.end(),
      [&](const Run& candidate) { return ends_at_or_before(candidate, begin); });
  for (; begin < end && run != other.runs_.end(); ++run) {
    const size_t stop = std::min(run->end, end);
    append(std::string_view(other.bytes_).substr(begin, stop - begin), run->origin);
    begin = stop;
  }
}

MarkedText MarkedText::part(size_t begin, size_t end) const {
  MarkedText out;
  out.bytes_.reserve(end - begin);
  out.append_part(*this, begin, end);
  return out;
}

}  // namespace floe::jinja

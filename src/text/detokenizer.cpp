#include "text/detokenizer.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace floe {
namespace {

// [length]: for each prefix, the longest proper prefix that also ends it.
std::vector<uint16_t> prefix_function(std::string_view text) {
  std::vector<uint16_t> failure(text.size(), 0);
  for (size_t i = 1; i < text.size(); ++i) {
    size_t length = failure[i - 1];
    while (length > 0 && text[i] != text[length]) length = failure[length - 1];
    if (text[i] == text[length]) ++length;
    failure[i] = static_cast<uint16_t>(length);
  }
  return failure;
}

}  // namespace

Result<Detokenizer> Detokenizer::create(std::vector<std::string> stop_strings) {
  if (stop_strings.size() > kMaxStopStrings) {
    return usage_error("stop: expected at most {} strings, found {}", kMaxStopStrings,
                       stop_strings.size());
  }
  Detokenizer detokenizer;
  for (size_t i = 0; i < stop_strings.size(); ++i) {
    const std::string& stop = stop_strings[i];
    if (stop.empty() || stop.size() > kMaxStopStringBytes) {
      return usage_error("stop[{}]: expected 1 to {} bytes, found {}", i, kMaxStopStringBytes,
                         stop.size());
    }
    if (!is_valid_utf8(stop)) {
      return usage_error("stop[{}]: expected valid UTF-8, found other bytes", i);
    }
    detokenizer.failure_.push_back(prefix_function(stop));
  }
  detokenizer.matched_.assign(stop_strings.size(), 0);
  detokenizer.stops_ = std::move(stop_strings);
  return detokenizer;
}

std::string Detokenizer::advance(std::string_view valid_text) {
  if (match_ || valid_text.empty()) return {};
  if (stops_.empty() || ignores_stops_) {
    emitted_bytes_ += valid_text.size();
    return std::string(valid_text);
  }
  const size_t held_bytes = pending_.size();
  pending_ += valid_text;
  for (size_t i = held_bytes; i < pending_.size(); ++i) {
    size_t longest = 0;
    size_t which = 0;
    for (size_t s = 0; s < stops_.size(); ++s) {
      const std::string& stop = stops_[s];
      size_t length = matched_[s];
      while (length > 0 && (length == stop.size() || stop[length] != pending_[i])) {
        length = failure_[s][length - 1];
      }
      if (stop[length] == pending_[i]) ++length;
      matched_[s] = static_cast<uint16_t>(length);
      if (length == stop.size() && length > longest) {
        longest = length;
        which = s;
      }
    }
    if (longest > 0) {
      std::string text = pending_.substr(0, i + 1 - longest);
      emitted_bytes_ += text.size();
      match_ = StopMatch{emitted_bytes_, which};
      pending_.clear();
      partial_.clear();
      return text;
    }
  }
  // Whatever a stop string may still begin in stays.
  const size_t keep = matched_.empty() ? 0 : *std::max_element(matched_.begin(), matched_.end());
  std::string text = pending_.substr(0, pending_.size() - keep);
  pending_.erase(0, text.size());
  emitted_bytes_ += text.size();
  return text;
}

std::string Detokenizer::push(std::string_view token_bytes) {
  if (match_) return {};
  partial_ += token_bytes;
  const size_t n_complete = complete_utf8_prefix(partial_);
  const std::string valid = to_valid_utf8(std::string_view(partial_).substr(0, n_complete));
  partial_.erase(0, n_complete);
  return advance(valid);
}

std::string Detokenizer::release() {
  if (match_) return {};
  std::string text = advance(to_valid_utf8(partial_));
  partial_.clear();
  if (match_) return text;
  text += pending_;
  emitted_bytes_ += pending_.size();
  pending_.clear();
  std::fill(matched_.begin(), matched_.end(), uint16_t{0});
  return text;
}

}  // namespace floe

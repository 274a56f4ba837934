#pragma once
// The bytes of generated tokens in, complete characters out. Holds back the start of a character
// and whatever might still become a stop string; nothing that was held back is lost.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace floe {

inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopStringBytes = 256;

// One per stream. Not thread-safe.
class Detokenizer {
 public:
  Detokenizer() = default;

  // ErrorKind::usage when there are more than kMaxStopStrings, or one is empty or longer than
  // kMaxStopStringBytes. Stop strings are compared with the text as emitted.
  static Result<Detokenizer> create(std::vector<std::string> stop_strings);

  struct StopMatch {
    uint64_t offset_bytes =
        0;                  // where in the emitted text the stop string began: all text ends there
    size_t stop_index = 0;  // which of the stop strings
  };

  // Adds the bytes of one token and returns the text that is now certain: valid UTF-8, never a part
  // of a stop string. Invalid bytes become U+FFFD as the Unicode standard recommends. Once a stop
  // string was found everything later is dropped. The stop string that ends first in the text wins;
  // of several that end there, the longest.
  std::string push(std::string_view token_bytes);

  // Lets go of what was held back: at the end of the stream, or where a control token stands
  // between two stretches of text. A cut character becomes one U+FFFD; no stop string reaches
  // across.
  std::string release();

  // While on, no stop string is looked for, and none begins in the text of that time.
  void ignore_stops(bool on) { ignores_stops_ = on; }

  bool stopped() const { return match_.has_value(); }
  const std::optional<StopMatch>& stop_match() const { return match_; }
  uint64_t emitted_bytes() const { return emitted_bytes_; }
  size_t held_back_bytes() const { return pending_.size() + partial_.size(); }

 private:
  std::string advance(std::string_view valid_text);

  std::string partial_;  // the start of a character
  std::string pending_;  // whole characters that may belong to a stop string
  std::vector<std::string> stops_;
  std::vector<std::vector<uint16_t>>
      failure_;                    // [n_stops][length]: prefix function of each stop string
  std::vector<uint16_t> matched_;  // [n_stops] length of its prefix that ends the text
  std::optional<StopMatch> match_;
  bool ignores_stops_ = false;
  uint64_t emitted_bytes_ = 0;
};

}  // namespace floe

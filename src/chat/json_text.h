#pragma once
// JSON as it is being written: the ends of strings and values found one byte at a time, without
// asking whether they are well-formed. Nothing recurses: depth is a number.
#include <cstdint>
#include <string>
#include <string_view>

namespace floe {

// The inside of a JSON string to the text it stands for.
class JsonStringDecoder {
 public:
  // Behind the opening quote. True: `c` was the closing one.
  bool push(char c, std::string& out);

 private:
  enum class State : uint8_t { plain, escape, unicode };
  // The first half of a pair whose second half did not come.
  void flush(std::string& out);

  State state_ = State::plain;
  int n_digits_ = 0;
  uint32_t code_ = 0;
  uint32_t high_ = 0;
};

// Text to the inside of a JSON string, given as soon as its characters are whole.
class JsonStringWriter {
 public:
  void push(std::string_view text, std::string& out);
  // What is left, even if it is no whole character.
  void finish(std::string& out);

 private:
  std::string held_;
};

// Finds the end of a JSON value.
class JsonValueScanner {
 public:
  // A string, object or array: true when `c` is its last byte. For other values, which end before
  // the byte behind them, see ends_before().
  bool push(char c);
  bool ends_before(char c) const;
  bool in_string() const { return in_string_; }

 private:
  uint64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace floe

#pragma once
// Text that remembers who wrote each byte: the author of the template, or the data given to it.
//
// A chat template writes markers ("<|user|>") and what people said into one string. Only markers
// that the author wrote may become control tokens, so every string of the interpreter carries its
// origins through concatenation, slicing and filters, up to the rendered prompt.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace floe::jinja {

enum class Origin : uint8_t {
  author,  // literal text of the template, or a constant of the model such as its bos_token
  data,    // messages, tools, arguments: whatever came with a request
};

class MarkedText {
 public:
  // Bytes [previous run's end, end) are of one origin. Neighbouring runs differ, none is empty.
  struct Run {
    size_t end = 0;
    Origin origin = Origin::author;
  };

  // Whether the text counts as finished HTML (the filters `safe` and `escape`). Python's Jinja2
  // escapes what + adds to such text, though a chat template escapes nothing else, and the prompts
  // of some templates depend on it.
  bool is_markup = false;

  MarkedText() = default;
  MarkedText(std::string bytes, Origin origin) : bytes_(std::move(bytes)) { mark(origin); }

  std::string_view bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  std::span<const Run> runs() const { return runs_; }
  // Of the byte at `offset`, which is below size().
  Origin origin_at(size_t offset) const;

  void append(std::string_view bytes, Origin origin);
  void append(const MarkedText& other) { append_part(other, 0, other.size()); }
  // Bytes [begin, end) of the other text, with their origins.
  void append_part(const MarkedText& other, size_t begin, size_t end);
  MarkedText part(size_t begin, size_t end) const;

  // Bytes that stand for the text in memory, for the interpreter's limit.
  size_t memory_bytes() const { return bytes_.size() + runs_.size() * sizeof(Run); }

 private:
  void mark(Origin origin);

  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace floe::jinja

#pragma once
// Sets of Unicode code points, and the byte sequences that are their UTF-8.
#include <cstdint>
#include <string_view>
#include <vector>

namespace floe {

inline constexpr uint32_t kLastCodePoint = 0x10ffff;

struct CodePointRange {
  uint32_t first = 0;
  uint32_t last = 0;  // inclusive

  bool operator==(const CodePointRange&) const = default;
};

// Of code points that have a UTF-8: surrogates are never members.
class CodePointSet {
 public:
  CodePointSet() = default;
  // May overlap, in any order.
  explicit CodePointSet(std::vector<CodePointRange> ranges);
  static CodePointSet one(uint32_t code_point) { return CodePointSet({{code_point, code_point}}); }
  static CodePointSet all() { return CodePointSet({{0, kLastCodePoint}}); }

  CodePointSet complement() const;
  CodePointSet without(const CodePointSet& other) const;
  CodePointSet joined(const CodePointSet& other) const;
  bool contains(uint32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  // Ascending, apart from each other by at least one code point.
  const std::vector<CodePointRange>& ranges() const { return ranges_; }

  bool operator==(const CodePointSet&) const = default;

 private:
  std::vector<CodePointRange> ranges_;
};

struct ByteRange {
  uint8_t first = 0;
  uint8_t last = 0;  // inclusive
};

// One to four ranges, a byte of each: all of these are members' UTF-8.
struct ByteSequence {
  uint8_t n_bytes = 0;
  ByteRange bytes[4];
};

// The UTF-8 of the members, every one of them in one sequence.
std::vector<ByteSequence> utf8_sequences(const CodePointSet& set);

// The code point at text[at], moving at behind it; false where there is no valid UTF-8.
bool next_code_point(std::string_view text, size_t& at, uint32_t& code_point);

}  // namespace floe

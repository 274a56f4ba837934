#include "grammar/code_points.h"

#include <algorithm>

namespace floe {

namespace {

constexpr uint32_t kFirstSurrogate = 0xd800;
constexpr uint32_t kLastSurrogate = 0xdfff;

uint8_t encode(uint32_t code_point, uint8_t out[4]) {
  if (code_point < 0x80) {
    out[0] = static_cast<uint8_t>(code_point);
    return 1;
  }
  if (code_point < 0x800) {
    out[0] = static_cast<uint8_t>(0xc0 | (code_point >> 6));
    out[1] = static_cast<uint8_t>(0x80 | (code_point & 63));
    return 2;
  }
  if (code_point < 0x10000) {
    out[0] = static_cast<uint8_t>(0xe0 | (code_point >> 12));
    out[1] = static_cast<uint8_t>(0x80 | ((code_point >> 6) & 63));
    out[2] = static_cast<uint8_t>(0x80 | (code_point & 63));
    return 3;
  }
  out[0] = static_cast<uint8_t>(0xf0 | (code_point >> 18));
  out[1] = static_cast<uint8_t>(0x80 | ((code_point >> 12) & 63));
  out[2] = static_cast<uint8_t>(0x80 | ((code_point >> 6) & 63));
  out[3] = static_cast<uint8_t>(0x80 | (code_point & 63));
  return 4;
}

}  // namespace

CodePointSet::CodePointSet(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> cut;
  for (const CodePointRange& range : ranges) {
    const uint32_t last = std::min(range.last, kLastCodePoint);
    if (range.first > last) continue;
    if (range.first < kFirstSurrogate) {
      cut.push_back({range.first, std::min(last, kFirstSurrogate - 1)});
    }
    if (last > kLastSurrogate) cut.push_back({std::max(range.first, kLastSurrogate + 1), last});
  }
  std::sort(cut.begin(), cut.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.first < b.first; });
  for (const CodePointRange& range : cut) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

CodePointSet CodePointSet::complement() const {
  std::vector<CodePointRange> gaps;
  uint32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) gaps.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) gaps.push_back({next, kLastCodePoint});
  return CodePointSet(std::move(gaps));
}

CodePointSet CodePointSet::without(const CodePointSet& other) const {
  return complement().joined(other).complement();
}

CodePointSet CodePointSet::joined(const CodePointSet& other) const {
  std::vector<CodePointRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePointSet(std::move(both));
}

bool CodePointSet::contains(uint32_t code_point) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const CodePointRange& range) {
    return range.first <= code_point && code_point <= range.last;
  });
}

std::vector<ByteSequence> utf8_sequences(const CodePointSet& set) {
  static constexpr uint32_t kLastOfLength[] = {0x7f, 0x7ff, 0xffff, kLastCodePoint};
  std::vector<ByteSequence> sequences;
  for (const CodePointRange& range : set.ranges()) {
    uint32_t first = range.first;
    while (first <= range.last) {
      // As many code points as have one length, and in all bytes but the first differing one the
      // whole range of continuation bytes.
      uint32_t last = range.last;
      for (const uint32_t limit : kLastOfLength) {
        if (first <= limit) {
          last = std::min(last, limit);
          break;
        }
      }
      for (uint32_t bits = 6; bits <= 18; bits += 6) {
        const uint32_t low = (uint32_t{1} << bits) - 1;
        if ((first & ~low) == (last & ~low)) break;
        if ((first & low) != 0) {
          last = first | low;
          break;
        }
        if ((last & low) != low) last = (last & ~low) - 1;
      }
      uint8_t from[4];
      uint8_t to[4];
      ByteSequence sequence;
      sequence.n_bytes = encode(first, from);
      encode(last, to);
      for (uint8_t i = 0; i < sequence.n_bytes; ++i) sequence.bytes[i] = {from[i], to[i]};
      sequences.push_back(sequence);
      first = last + 1;
    }
  }
  return sequences;
}

bool next_code_point(std::string_view text, size_t& at, uint32_t& code_point) {
  if (at >= text.size()) return false;
  const auto lead = static_cast<unsigned char>(text[at]);
  const size_t n_bytes = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (at + n_bytes > text.size() || (lead >= 0x80 && lead < 0xc2) || lead > 0xf4) return false;
  code_point = n_bytes == 1 ? lead : lead & (0xffu >> (n_bytes + 1));
  for (size_t i = 1; i < n_bytes; ++i) {
    const auto tail = static_cast<unsigned char>(text[at + i]);
    if ((tail & 0xc0) != 0x80) return false;
    code_point = code_point << 6 | (tail & 0x3f);
  }
  static constexpr uint32_t kFirstOfLength[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code_point < kFirstOfLength[n_bytes] || code_point > kLastCodePoint ||
      (code_point >= kFirstSurrogate && code_point <= kLastSurrogate)) {
    return false;
  }
  at += n_bytes;
  return true;
}

}  // namespace floe

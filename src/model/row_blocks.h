#pragma once
// The rows of a forward in blocks of one sequence each: what attention over cached vectors takes
// together.
#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"

namespace floe {

class RowBlocks {
 public:
  static constexpr uint32_t kMaxRows = 8;  // of one block

  void reserve(uint32_t max_rows);
  void group(std::span<const ForwardRow> rows, size_t n_sequences);

  uint32_t size() const { return static_cast<uint32_t>(begins_.size()) - 1; }
  // Indices of a block's rows, in ascending position.
  std::span<const uint32_t> operator[](uint32_t block) const {
    return std::span(order_).subspan(begins_[block], begins_[block + 1] - begins_[block]);
  }
  // The rows of blocks [first, end), block after block.
  std::span<const uint32_t> rows(uint32_t first, uint32_t end) const {
    return std::span(order_).subspan(begins_[first], begins_[end] - begins_[first]);
  }
  uint32_t largest() const { return largest_; }

 private:
  std::vector<uint32_t> order_;   // rows by sequence
  std::vector<uint32_t> begins_;  // [n_blocks + 1]
  std::vector<uint32_t> cursor_;  // scratch, per sequence
  uint32_t largest_ = 0;
};

}  // namespace floe

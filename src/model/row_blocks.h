#pragma once
// The rows of a forward in blocks of one sequence each: what attention and the indexer take
// together.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attend.h"
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

// Which spans of the positions are items of their own (attend_span): all that are seen where there
// are fewer groups of heads than two for every worker and the parts find room, else none.
struct SpanSplit {
  uint32_t first = 0;  // of those that are seen
  uint32_t n = 1;      // 1: attend() takes all
  uint32_t n_all = 0;  // from position 0 on

  // Rows see positions of [first_position, end). n_groups: blocks of rows times cached planes.
  // parts_size: floats that all parts may fill.
  SpanSplit(uint32_t first_position, uint32_t end, uint32_t n_groups, uint32_t n_rows,
            uint32_t heads_per_row, uint32_t value_dim, uint64_t parts_size, uint32_t n_workers)
      : n_all(count_spans(end)),
        n_heads_(heads_per_row),
        head_size_(size_t{n_all} * attend_part_size(value_dim)) {
    const bool too_few = n_workers > 1 && n_groups < 2 * n_workers;
    if (!too_few || head_size_ * n_heads_ * n_rows > parts_size) return;
    first = first_position / kAttentionSpan;
    n = n_all - first;
  }

  // Where the parts of a row's heads from `head` on begin.
  size_t part_begin(uint32_t row, uint32_t head) const {
    return (size_t{row} * n_heads_ + head) * head_size_;
  }

 private:
  uint32_t n_heads_;
  size_t head_size_;
};

// How the heads that share cached vectors are dealt out: items of at most `size` heads, few enough
// that rows times heads fit one attend() call, and enough items for every worker.
struct HeadSplit {
  uint32_t size = 0;
  uint32_t n_items = 0;  // for all n_heads

  // n_others: how many such groups of heads there are, over blocks of rows and cached planes.
  HeadSplit(uint32_t n_heads, uint32_t rows_per_block, uint32_t n_others, uint32_t n_workers) {
    size = std::max(1u, std::min(n_heads, AttendScratch::kMaxQueries / rows_per_block));
    while (size > 1 && n_others * ((n_heads + size - 1) / size) < n_workers) size = (size + 1) / 2;
    n_items = (n_heads + size - 1) / size;
  }
};

}  // namespace floe

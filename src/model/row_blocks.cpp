#include "model/row_blocks.h"

namespace floe {

void RowBlocks::reserve(uint32_t max_rows) {
  order_.reserve(max_rows);
  begins_.reserve(max_rows + 1);
  cursor_.reserve(max_rows + 1);
}

void RowBlocks::group(std::span<const ForwardRow> rows, size_t n_sequences) {
  // Counted, then dealt out: rows of one sequence keep their order.
  cursor_.assign(n_sequences + 1, 0);
  for (const ForwardRow& row : rows) ++cursor_[row.sequence + 1];
  begins_.assign(1, 0);
  largest_ = 0;
  for (size_t s = 1; s <= n_sequences; ++s) {
    const uint32_t end = cursor_[s - 1] + cursor_[s];
    for (uint32_t begin = cursor_[s - 1]; begin < end;) {
      const uint32_t next = std::min(end, begin + kMaxRows);
      largest_ = std::max(largest_, next - begin);
      begins_.push_back(next);
      begin = next;
    }
    cursor_[s] = end;
  }
  order_.resize(rows.size());
  for (uint32_t r = 0; r < rows.size(); ++r) order_[cursor_[rows[r].sequence]++] = r;
}

}  // namespace floe

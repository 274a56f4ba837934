#pragma once
// How the kinds of attention that take a softmax over cached vectors cut their work into items, and
// the memory that these items share.
#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/attend.h"
#include "model/pass.h"

namespace floe {

struct AttendSpace final : LayerScratch {
  uint32_t key_dim = 0;  // of the widest layer, as value_dim
  uint32_t value_dim = 0;
  uint32_t parts_per_row = 0;  // floats of all heads, for one span
  float* memory = nullptr;     // f32 [worker][AttendScratch::size]
  // Of attention in spans: f32 [R][n_heads][spans][attend_part_size], where it fits.
  static constexpr uint64_t kMostParts = uint64_t{1} << 20;
  float* parts = nullptr;
  uint64_t parts_size = 0;

  // For a layer of these widths.
  void add(uint32_t layer_key_dim, uint32_t layer_value_dim, uint32_t n_heads) {
    widen(key_dim, layer_key_dim);
    widen(value_dim, layer_value_dim);
    widen(parts_per_row, n_heads * attend_part_size(layer_value_dim));
  }
  AttendScratch of_worker(uint32_t worker) const {
    return AttendScratch(memory + worker * AttendScratch::size(key_dim, value_dim), key_dim,
                         value_dim);
  }
  void carve(Carver& carver, const WorkspaceLimits& limits) override {
    // No more than all rows over the whole context ask for.
    const uint64_t all =
        uint64_t{limits.max_rows} * parts_per_row * count_spans(limits.max_context);
    parts_size = limits.n_workers == 1 ? 0 : std::min(kMostParts, all);
    carver.array(parts, parts_size);
    carver.array(memory, limits.n_workers * AttendScratch::size(key_dim, value_dim));
  }
};

// Whether each span of positions is a work item of its own (attend_span) or one item takes all
// spans of its rows (attend). Spans are items where the groups of heads alone would make fewer than
// two items for every worker, and where their partial results have room.
struct SpanSplit {
  uint32_t first = 0;  // the first span that a row sees, where spans are items
  uint32_t n = 1;      // how many from there on are items; 1: attend() takes all spans
  uint32_t n_all = 0;  // spans from position 0 on

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

// How the query heads that share cached vectors are divided into items: at most `size` heads each,
// so that rows times heads fit one call of attend(), and fewer where there would be too few items
// for all workers.
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

// One item of attention: `rows`, of one sequence, with the query heads from `head` on. All spans go
// into the outputs of attending[rows.size()], or one span into the rows' parts for join_spans().
// True when the outputs are complete.
inline bool attend_item(Pass& pass, const SpanSplit& spans, uint32_t span, const SharedHeads& heads,
                        uint32_t head, const uint32_t* slots, std::span<const uint32_t> rows,
                        AttendRow* attending) {
  const AttendSpace& space = pass.ws.scratches.get<AttendSpace>();
  const AttendScratch scratch = space.of_worker(pass.worker.index());
  if (spans.n == 1) {
    attend(pass.kernels, heads, slots, {attending, rows.size()}, scratch);
    return true;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    attending[i].out = space.parts + spans.part_begin(rows[i], head);
  }
  attend_span(pass.kernels, heads, slots, {attending, rows.size()}, span, spans.n_all, scratch);
  return false;
}

}  // namespace floe

#include "kernels/attend.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/numeric_order.h"

namespace floe {

namespace {

// More queries than these share the work of turning a block into f32; fewer read it as it is, for
// the conversion costs little beside the memory.
constexpr uint32_t kDirectQueries = 12;

// The part of positions [begin, next) that a row sees.
struct Seen {
  uint32_t offset;  // behind begin
  uint32_t n;

  Seen(const AttendRow& row, uint32_t begin, uint32_t next) {
    const uint32_t from = std::max(begin, row.first);
    const uint32_t to = std::min(next, row.end);
    offset = from - begin;
    n = to > from ? to - from : 0;
  }
};

constexpr size_t kLine = 64;
// Positions of one call for scores and heads of one for values, so that few queries make several
// calls too: lines are fetched at each.
constexpr uint32_t kCallPositions = 8;
constexpr uint32_t kCallHeads = 3;

// Fetches the vectors that are read next while the kernels work on those before: some lines at
// every call, for the core holds few requests at a time. The processor's own prefetch does not
// follow the kernels, which read columns of a block.
class FetchAhead {
 public:
  FetchAhead(const KvPlane& plane, const uint32_t* slots, uint32_t n, uint32_t dim, size_t n_calls)
      : plane_(plane),
        slots_(slots),
        n_(n),
        n_bytes_(kv_vector_bytes(plane.type, dim)),
        lines_per_call_((n * (n_bytes_ / kLine + 1) + n_calls - 1) / n_calls) {}

  void before_call() {
    for (size_t i = 0; i < lines_per_call_ && n_done_ < n_; ++i) {
      __builtin_prefetch(plane_.base + size_t{slots_[n_done_]} * plane_.stride_bytes + byte_, 0,
                         2);  // into the second-level cache: the first holds a tile
      byte_ += kLine;
      if (byte_ >= n_bytes_) {
        byte_ = 0;
        ++n_done_;
      }
    }
  }

 private:
  const KvPlane& plane_;
  const uint32_t* slots_;
  uint32_t n_;
  size_t n_bytes_;
  size_t lines_per_call_;
  uint32_t n_done_ = 0;
  size_t byte_ = 0;
};

}  // namespace

size_t AttendScratch::size(uint32_t key_dim, uint32_t value_dim) {
  return size_t{kAttentionBlock} * tile_stride(std::max(key_dim, value_dim)) +
         size_t{kMaxQueries} * (kAttentionBlock + 5 + value_dim);
}

AttendScratch::AttendScratch(float* memory, uint32_t key_dim, uint32_t value_dim)
    : tile(memory),
      scores(tile + size_t{kAttentionBlock} * tile_stride(std::max(key_dim, value_dim))),
      maxima(scores + size_t{kMaxQueries} * kAttentionBlock),
      sums(maxima + kMaxQueries),
      factors(sums + kMaxQueries),
      span_outs(factors + kMaxQueries),
      span_maxima(span_outs + size_t{kMaxQueries} * value_dim),
      span_sums(span_maxima + kMaxQueries) {}

KvBlock::KvBlock(const KvPlane& plane, const uint32_t* slots, uint32_t n) : type(plane.type) {
  FLOE_CHECK(n <= kAttentionBlock);
  for (uint32_t t = 0; t < n; ++t) {
    vectors[t] = plane.base + size_t{slots[t]} * plane.stride_bytes;
  }
}

void KvBlock::prepare(const KernelTable& kernels, uint32_t n, uint32_t dim, uint32_t n_queries,
                      float* tile) {
  if (type == KvType::F32 || (type == KvType::F16 && n_queries <= kDirectQueries)) return;
  const size_t stride = tile_stride(dim);
  kernels.load_kv(vectors, type, n, dim, tile, stride);
  for (uint32_t t = 0; t < n; ++t) {
    vectors[t] = reinterpret_cast<const std::byte*>(tile + t * stride);
  }
  type = KvType::F32;
}

namespace {

// What a row's heads have come to over the positions so far.
struct Running {
  float* out = nullptr;  // as AttendRow's, not yet divided by the sums
  size_t out_stride = 0;
  float* maxima = nullptr;  // [n_heads], as sums
  float* sums = nullptr;

  void start(const SharedHeads& heads, const float* sinks) const {
    for (uint32_t h = 0; h < heads.n_heads; ++h) {
      std::fill_n(out + h * out_stride, heads.value_dim, 0.0f);
      maxima[h] = sinks != nullptr ? sinks[h] : -INFINITY;
      sums[h] = sinks != nullptr ? 1.0f : 0.0f;
    }
  }
};

// Joins head h's later positions, what they came to, to those before.
void join(const KernelTable& kernels, const SharedHeads& heads, const Running& before, uint32_t h,
          float maximum, float sum, const float* out) {
  float weight = maximum;
  float factor;
  const float sum_before = before.sums[h];
  kernels.softmax_block(&weight, 1, 1, 1, before.maxima + h, before.sums + h, &factor);
  before.sums[h] = std::fma(sum_before, factor, weight * sum);
  const auto* values = reinterpret_cast<const std::byte*>(out);
  kernels.attn_values(&weight, 1, &factor, 1, &values, KvType::F32, 1, heads.value_dim,
                      before.out + h * before.out_stride, before.out_stride);
}

void divide_by_sums(const SharedHeads& heads, const Running& whole) {
  for (uint32_t h = 0; h < heads.n_heads; ++h) {
    const float sum = whole.sums[h];
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    float* out = whole.out + h * whole.out_stride;
    for (uint32_t i = 0; i < heads.value_dim; ++i) out[i] *= inverse;
  }
}

// Takes the rows through the positions [begin, end) of one span; those up to fetch_end come next.
void attend_positions(const KernelTable& kernels, const SharedHeads& heads, const uint32_t* slots,
                      std::span<const AttendRow> rows, const Running* running, uint32_t begin,
                      uint32_t end, uint32_t fetch_end, const AttendScratch& scratch) {
  const uint32_t n_heads = heads.n_heads;
  const uint32_t n_queries = static_cast<uint32_t>(rows.size()) * n_heads;
  // With many queries a block is used so often that reading it ahead gains nothing, and the kernels
  // order all heads better themselves.
  const uint32_t call_heads = n_queries <= kDirectQueries ? kCallHeads : n_heads;
  const bool values_in_keys = heads.values.base == nullptr;
  while (begin < end) {
    const uint32_t next = std::min(end, (begin / kAttentionBlock + 1) * kAttentionBlock);
    // All rows meet the keys before any meets the values: one tile at a time fits the first-level
    // cache.
    KvBlock block(heads.keys, slots + begin, next - begin);
    block.prepare(kernels, next - begin, heads.key_dim, n_queries, scratch.tile);
    const uint32_t n_next = std::min(kAttentionBlock, fetch_end - next);
    FetchAhead values_ahead(heads.values, slots + begin, values_in_keys ? 0 : next - begin,
                            heads.value_dim, rows.size() * (kAttentionBlock / kCallPositions));
    for (size_t r = 0; r < rows.size(); ++r) {
      const Seen seen(rows[r], begin, next);
      if (seen.n == 0) continue;
      const size_t query = r * n_heads;
      float* scores = scratch.scores + query * kAttentionBlock;
      for (uint32_t t = 0; t < seen.n; t += kCallPositions) {
        values_ahead.before_call();
        kernels.attn_scores(rows[r].q, heads.q_stride, n_heads, block.vectors + seen.offset + t,
                            block.type, std::min(kCallPositions, seen.n - t), heads.key_dim,
                            heads.scale, scores + t, kAttentionBlock);
      }
      kernels.softmax_block(scores, kAttentionBlock, n_heads, seen.n, running[r].maxima,
                            running[r].sums, scratch.factors + query);
    }
    if (!values_in_keys) {
      block = KvBlock(heads.values, slots + begin, next - begin);
      block.prepare(kernels, next - begin, heads.value_dim, n_queries, scratch.tile);
    }
    FetchAhead keys_ahead(heads.keys, slots + next, n_next, heads.key_dim,
                          rows.size() * ((n_heads + call_heads - 1) / call_heads));
    for (size_t r = 0; r < rows.size(); ++r) {
      const Seen seen(rows[r], begin, next);
      if (seen.n == 0) continue;
      const Running& row = running[r];
      for (uint32_t h = 0; h < n_heads; h += call_heads) {
        const size_t query = r * n_heads + h;
        keys_ahead.before_call();
        kernels.attn_values(scratch.scores + query * kAttentionBlock, kAttentionBlock,
                            scratch.factors + query, std::min(call_heads, n_heads - h),
                            block.vectors + seen.offset, block.type, seen.n, heads.value_dim,
                            row.out + h * row.out_stride, row.out_stride);
      }
    }
    begin = next;
  }
}

// The span of a row's first position.
uint32_t first_span(const AttendRow& row) {
  return row.first / kAttentionSpan;
}

bool sees_span(const AttendRow& row, uint32_t span) {
  return row.first < row.end && first_span(row) <= span && span < count_spans(row.end);
}

}  // namespace

void attend(const KernelTable& kernels, const SharedHeads& heads, const uint32_t* slots,
            std::span<const AttendRow> rows, const AttendScratch& scratch) {
  const uint32_t n_heads = heads.n_heads;
  FLOE_CHECK(rows.size() * n_heads <= AttendScratch::kMaxQueries);
  Running whole[AttendScratch::kMaxQueries];
  uint32_t first = UINT32_MAX;
  uint32_t end = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    first = std::min(first, rows[r].first);
    end = std::max(end, rows[r].end);
    const size_t query = r * n_heads;
    whole[r] = {rows[r].out, heads.out_stride, scratch.maxima + query, scratch.sums + query};
    whole[r].start(heads, heads.sinks);
  }
  for (uint32_t span = first / kAttentionSpan; span < count_spans(end); ++span) {
    Running running[AttendScratch::kMaxQueries];
    for (size_t r = 0; r < rows.size(); ++r) {
      running[r] = whole[r];
      if (first_span(rows[r]) == span || !sees_span(rows[r], span)) continue;
      const size_t query = r * n_heads;
      running[r] = {scratch.span_outs + query * heads.value_dim, heads.value_dim,
                    scratch.span_maxima + query, scratch.span_sums + query};
      running[r].start(heads, nullptr);
    }
    attend_positions(kernels, heads, slots, rows, running, std::max(first, span * kAttentionSpan),
                     std::min(end, (span + 1) * kAttentionSpan), end, scratch);
    for (size_t r = 0; r < rows.size(); ++r) {
      if (first_span(rows[r]) == span || !sees_span(rows[r], span)) continue;
      for (uint32_t h = 0; h < n_heads; ++h) {
        join(kernels, heads, whole[r], h, running[r].maxima[h], running[r].sums[h],
             running[r].out + h * running[r].out_stride);
      }
    }
  }
  for (size_t r = 0; r < rows.size(); ++r) divide_by_sums(heads, whole[r]);
}

void attend_span(const KernelTable& kernels, const SharedHeads& heads, const uint32_t* slots,
                 std::span<const AttendRow> rows, uint32_t span, uint32_t n_spans,
                 const AttendScratch& scratch) {
  const uint32_t n_heads = heads.n_heads;
  FLOE_CHECK(rows.size() * n_heads <= AttendScratch::kMaxQueries);
  const uint32_t part_size = attend_part_size(heads.value_dim);
  Running running[AttendScratch::kMaxQueries];
  uint32_t first = UINT32_MAX;
  uint32_t end = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (!sees_span(rows[r], span)) continue;
    first = std::min(first, rows[r].first);
    end = std::max(end, rows[r].end);
    const size_t query = r * n_heads;
    running[r] = {rows[r].out + size_t{span} * part_size, size_t{n_spans} * part_size,
                  scratch.maxima + query, scratch.sums + query};
    running[r].start(heads, first_span(rows[r]) == span ? heads.sinks : nullptr);
  }
  if (end == 0) return;
  const uint32_t span_end = std::min(end, (span + 1) * kAttentionSpan);
  attend_positions(kernels, heads, slots, rows, running, std::max(first, span * kAttentionSpan),
                   span_end, span_end, scratch);
  for (size_t r = 0; r < rows.size(); ++r) {
    if (!sees_span(rows[r], span)) continue;
    for (uint32_t h = 0; h < n_heads; ++h) {
      float* part = running[r].out + h * running[r].out_stride;
      part[heads.value_dim] = running[r].maxima[h];
      part[heads.value_dim + 1] = running[r].sums[h];
    }
  }
}

void join_spans(const KernelTable& kernels, const SharedHeads& heads, const float* parts,
                uint32_t n_spans, const AttendRow& row) {
  const uint32_t dim = heads.value_dim;
  const uint32_t part_size = attend_part_size(dim);
  SharedHeads one = heads;
  one.n_heads = 1;
  for (uint32_t h = 0; h < heads.n_heads; ++h) {
    float maximum;
    float sum;
    const Running whole = {row.out + h * heads.out_stride, heads.out_stride, &maximum, &sum};
    whole.start(one, heads.sinks != nullptr ? heads.sinks + h : nullptr);
    for (uint32_t span = 0; span < n_spans; ++span) {
      if (!sees_span(row, span)) continue;
      const float* part = parts + (size_t{h} * n_spans + span) * part_size;
      if (span == first_span(row)) {
        std::copy_n(part, dim, whole.out);
        maximum = part[dim];
        sum = part[dim + 1];
      } else {
        join(kernels, one, whole, 0, part[dim], part[dim + 1], part);
      }
    }
    divide_by_sums(one, whole);
  }
}

}  // namespace floe

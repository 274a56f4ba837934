// Attention of a row and a query head over the cached positions, in numeric_order.h's order.
//
// A block of threads has one row and one head. It takes 256 positions at a time, in three steps:
// every lane scores a position; every warp makes the weights of its block of 32 positions, with the
// largest score up to and with that block; every thread adds up its values, position after
// position.
#include "cuda/start.cuh"
#include "cuda/warp.cuh"
#include "kernels/attend.h"

namespace floe::cuda {

namespace {

constexpr uint32_t kWarps = 8;
constexpr uint32_t kThreads = 32 * kWarps;
constexpr uint32_t kChunk = kWarps * kAttentionBlock;
constexpr uint32_t kMostValues = 4;  // of a thread: value_dim <= 1024
// Few rows wait for memory: many loads of a thread are on their way together. Many rows need many
// threads, and so few registers.
constexpr uint32_t kValuesTogether = 16;
constexpr uint32_t kFewRows = kMostAttendedQ8Rows;
constexpr float kLowest = -INFINITY;

// Columns [i, i + 8 * n_loads) of q . key; all of the key's loads are on their way together.
template <uint32_t n_loads>
__device__ void add_products(const float* q, const std::byte* key, uint32_t i, float (&lane)[8]) {
  uint4 words[n_loads];
#pragma unroll
  for (uint32_t k = 0; k < n_loads; ++k) {
    words[k] = *reinterpret_cast<const uint4*>(key + 2 * (i + 8 * k));
  }
#pragma unroll
  for (uint32_t k = 0; k < n_loads; ++k) {
    const auto* halves = reinterpret_cast<const __half2*>(&words[k]);
    const float* own = q + i + 8 * k;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 two = __half22float2(halves[j]);
      lane[2 * j] = fmaf(own[2 * j], two.x, lane[2 * j]);
      lane[2 * j + 1] = fmaf(own[2 * j + 1], two.y, lane[2 * j + 1]);
    }
  }
}

// q . key, eight lanes, then reduce_lanes' order.
template <KvType type, bool few>
__device__ float dot_cached(const float* q, const std::byte* key, uint32_t dim) {
  float lane[8] = {};
  uint32_t i = 0;
  if constexpr (type == KvType::F16) {
    if (dim % 8 == 0) {
      if constexpr (few) {
        for (; i + 192 <= dim; i += 192) add_products<24>(q, key, i, lane);
        for (; i + 128 <= dim; i += 128) add_products<16>(q, key, i, lane);
        for (; i + 64 <= dim; i += 64) add_products<8>(q, key, i, lane);
      }
#pragma unroll 4
      for (; i < dim; i += 8) add_products<1>(q, key, i, lane);
    }
  }
  for (; i < dim; i += 8) {
#pragma unroll
    for (uint32_t k = 0; k < 8; ++k) {
      if (i + k < dim) lane[k] = fmaf(q[i + k], cached_value(key, type, i + k), lane[k]);
    }
  }
  return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// Sum of the weights of n positions, one a lane, in the order of sums over a vector.
__device__ float block_sum(float weight, uint32_t n, uint32_t lane) {
  float sum = lane < n ? 0.0f + weight : 0.0f;
  if (n == kAttentionBlock) {
    sum = sum + __shfl_xor_sync(kAllLanes, sum, 8);
    sum = sum + __shfl_xor_sync(kAllLanes, sum, 16);
  } else {
    const float first = __shfl_down_sync(kAllLanes, weight, 8);
    const float second = __shfl_down_sync(kAllLanes, weight, 16);
    if (lane + 8 < n) sum = sum + first;
    if (lane + 16 < n) sum = sum + second;
    const float third = __shfl_down_sync(kAllLanes, weight, 24);
    if (lane + 24 < n) sum = sum + third;
  }
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 1);
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 2);
  sum = sum + __shfl_xor_sync(kAllLanes, sum, 4);
  return __shfl_sync(kAllLanes, sum, 0);
}

// What positions so far have come to; the outs of a thread are those of dimensions threadIdx.x +
// i * kThreads.
struct Running {
  float maximum;
  float sum;
  float out[kMostValues];

  __device__ void start(bool has_sink, float sink) {
    maximum = has_sink ? sink : kLowest;
    sum = has_sink ? 1.0f : 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < kMostValues; ++i) out[i] = 0.0f;
  }
  // Later positions, what they came to.
  __device__ void join(float later_maximum, float later_sum, const float (&later)[kMostValues]) {
    const float largest = later_maximum > maximum ? later_maximum : maximum;
    const float base = largest == kLowest ? 0.0f : largest;
    const float weight = exponential(later_maximum - base);
    const float factor = exponential(maximum - base);
    sum = fmaf(sum, factor, weight * later_sum);
    maximum = largest;
#pragma unroll
    for (uint32_t i = 0; i < kMostValues; ++i) {
      out[i] = fmaf(weight, later[i], out[i] * factor);
    }
  }
};

struct Shared {
  float weights[kChunk];
  uint32_t slots[kChunk];
  float block_maxima[kWarps];
  float block_sums[kWarps];
  float block_factors[kWarps];
};

// Takes `running` through positions [begin, end) of one span.
template <KvType key_type, KvType value_type, bool few>
__device__ void attend_positions(const Attention& p, const float* q, const std::byte* keys,
                                 const std::byte* values, const uint32_t* slots, uint32_t begin,
                                 uint32_t end, Shared& shared, Running& running) {
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  const bool values_in_keys = values == nullptr;
  const std::byte* value_base = values_in_keys ? keys : values;
  const size_t value_stride = values_in_keys ? p.keys.stride_bytes : p.values.stride_bytes;
  for (uint32_t chunk = begin / kAttentionBlock * kAttentionBlock; chunk < end; chunk += kChunk) {
    // What this warp's block has of the positions.
    const uint32_t block = chunk + warp * kAttentionBlock;
    const uint32_t from = max(block, begin);
    const uint32_t to = min(block + kAttentionBlock, end);
    const uint32_t n = to > from ? to - from : 0;
    float score = kLowest;
    if (lane < n) {
      const uint32_t slot = slots[from + lane];
      shared.slots[warp * kAttentionBlock + lane] = slot;
      score = p.scale *
              dot_cached<key_type, few>(q, keys + size_t{slot} * p.keys.stride_bytes, p.key_dim);
    }
    float largest = score > kLowest ? score : kLowest;  // a NaN is never the largest
#pragma unroll
    for (int k = 16; k > 0; k /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, largest, k);
      largest = other > largest ? other : largest;
    }
    if (lane == 0) shared.block_maxima[warp] = largest;
    __syncthreads();
    float before = running.maximum;
    for (uint32_t w = 0; w < warp; ++w) {
      before = shared.block_maxima[w] > before ? shared.block_maxima[w] : before;
    }
    const float after = shared.block_maxima[warp] > before ? shared.block_maxima[warp] : before;
    const float base = after == kLowest ? 0.0f : after;
    const float weight = lane < n ? exponential(score - base) : 0.0f;
    const float sum = block_sum(weight, n, lane);
    if (lane < n) shared.weights[warp * kAttentionBlock + lane] = weight;
    if (lane == 0) {
      shared.block_sums[warp] = sum;
      shared.block_factors[warp] = exponential(before - base);
    }
    __syncthreads();
    for (uint32_t w = 0; w < kWarps; ++w) {
      const uint32_t w_block = chunk + w * kAttentionBlock;
      const uint32_t w_from = max(w_block, begin);
      const uint32_t w_to = min(w_block + kAttentionBlock, end);
      if (w_to <= w_from) continue;
      const uint32_t w_n = w_to - w_from;
      const float factor = shared.block_factors[w];
      running.sum = fmaf(running.sum, factor, shared.block_sums[w]);
      running.maximum =
          shared.block_maxima[w] > running.maximum ? shared.block_maxima[w] : running.maximum;
#pragma unroll
      for (uint32_t i = 0; i < kMostValues; ++i) {
        const uint32_t d = threadIdx.x + i * kThreads;
        if (d >= p.value_dim) break;
        float out = running.out[i] * factor;
        const auto value_of = [&](uint32_t k) {
          const std::byte* vector =
              value_base + size_t{shared.slots[w * kAttentionBlock + k]} * value_stride;
          return values_in_keys ? cached_value(vector, key_type, d)
                                : cached_value(vector, value_type, d);
        };
        const float* weights = shared.weights + w * kAttentionBlock;
        if constexpr (few) {
          for (uint32_t first = 0; first < w_n; first += kValuesTogether) {
            float loaded[kValuesTogether];
#pragma unroll
            for (uint32_t k = 0; k < kValuesTogether; ++k) {
              loaded[k] = value_of(min(first + k, w_n - 1));
            }
#pragma unroll
            for (uint32_t k = 0; k < kValuesTogether; ++k) {
              if (first + k < w_n) out = fmaf(weights[first + k], loaded[k], out);
            }
          }
        } else {
#pragma unroll 8
          for (uint32_t k = 0; k < w_n; ++k) out = fmaf(weights[k], value_of(k), out);
        }
        running.out[i] = out;
      }
    }
    __syncthreads();
  }
}

// Which positions a row attends to, and where their slots are listed.
struct Seen {
  const uint32_t* slots;
  uint32_t first;
  uint32_t end;

  __device__ Seen(const Attention& p, const RowInfo& row, uint32_t row_index) {
    const uint32_t n_visible = row.position + 1;
    slots = p.slots + row.slots;
    first = p.window != 0 && p.window < n_visible ? n_visible - p.window : 0;
    end = n_visible;
    if (p.selected != nullptr && n_visible > p.top_k) {
      slots = p.selected + row_index * p.selected_stride;
      end = p.top_k;
    }
  }
};

template <bool few>
__device__ void divide_and_write(const Attention& p, const Running& whole, uint32_t head) {
  const float inverse = whole.sum == 0.0f ? 0.0f : 1.0f / whole.sum;
  const size_t at = blockIdx.y * p.row_stride + head * p.head_stride;
#pragma unroll
  for (uint32_t i = 0; i < kMostValues; ++i) {
    const uint32_t d = threadIdx.x + i * kThreads;
    if (d >= p.value_dim) break;
    const float value = whole.out[i] * inverse;
    p.out[at + d] = value;
    // Of value_dim a warp has 32 in a row, or none.
    if constexpr (!few) continue;
    if (p.q8 != nullptr) quantize_block(value, p.q8[(at + d) / 32], threadIdx.x % 32);
  }
}

__device__ float* part_of(const Attention& p, uint32_t head, uint32_t span) {
  return p.parts + ((size_t{blockIdx.y} * p.n_heads + head) * p.n_spans + span) *
                       attend_part_size(p.value_dim);
}

// blockIdx: x head, y row, z span where they are taken side by side.
template <KvType key_type, KvType value_type, bool few>
__global__ void __launch_bounds__(kThreads)
    attend_kernel(const __grid_constant__ Attention p, const RowInfo* rows) {
  let_next_start();
  wait_for_previous();
  extern __shared__ float q[];
  __shared__ Shared shared;
  const uint32_t head = blockIdx.x;
  const Seen seen(p, rows[blockIdx.y], blockIdx.y);
  const uint32_t kv_head = head / p.heads_per_kv;
  const std::byte* keys = p.keys.base + kv_head * p.keys.head_bytes;
  const std::byte* values =
      p.values.base != nullptr ? p.values.base + kv_head * p.values.head_bytes : nullptr;
  const float* query = p.queries + blockIdx.y * p.query_stride + size_t{head} * p.key_dim;
  const uint32_t first_span = seen.first / kAttentionSpan;
  const uint32_t end_span = (seen.end + kAttentionSpan - 1) / kAttentionSpan;
  const bool alone = p.n_spans > 1;
  if (alone && (blockIdx.z < first_span || blockIdx.z >= end_span)) return;
  for (uint32_t i = threadIdx.x; i < p.key_dim; i += kThreads) q[i] = query[i];
  __syncthreads();

  Running whole;
  whole.start(p.sinks != nullptr, p.sinks != nullptr ? p.sinks[head] : 0.0f);
  for (uint32_t span = alone ? blockIdx.z : first_span; span < (alone ? blockIdx.z + 1 : end_span);
       ++span) {
    const uint32_t begin = max(seen.first, span * kAttentionSpan);
    const uint32_t end = min(seen.end, (span + 1) * kAttentionSpan);
    if (span == first_span) {
      attend_positions<key_type, value_type, few>(p, q, keys, values, seen.slots, begin, end,
                                                  shared, whole);
      continue;
    }
    Running later;
    later.start(false, 0.0f);
    attend_positions<key_type, value_type, few>(p, q, keys, values, seen.slots, begin, end, shared,
                                                later);
    if (alone) {
      whole = later;
    } else {
      whole.join(later.maximum, later.sum, later.out);
    }
  }
  if (!alone) return divide_and_write<few>(p, whole, head);
  float* part = part_of(p, head, blockIdx.z);
#pragma unroll
  for (uint32_t i = 0; i < kMostValues; ++i) {
    const uint32_t d = threadIdx.x + i * kThreads;
    if (d < p.value_dim) part[d] = whole.out[i];
  }
  if (threadIdx.x == 0) {
    part[p.value_dim] = whole.maximum;
    part[p.value_dim + 1] = whole.sum;
  }
}

__global__ void __launch_bounds__(kThreads)
    join_kernel(const __grid_constant__ Attention p, const RowInfo* rows) {
  let_next_start();
  wait_for_previous();
  const uint32_t head = blockIdx.x;
  const Seen seen(p, rows[blockIdx.y], blockIdx.y);
  const uint32_t first_span = seen.first / kAttentionSpan;
  const uint32_t end_span = (seen.end + kAttentionSpan - 1) / kAttentionSpan;
  Running whole;
  for (uint32_t span = first_span; span < end_span; ++span) {
    const float* part = part_of(p, head, span);
    Running later;
    later.maximum = part[p.value_dim];
    later.sum = part[p.value_dim + 1];
#pragma unroll
    for (uint32_t i = 0; i < kMostValues; ++i) {
      const uint32_t d = threadIdx.x + i * kThreads;
      later.out[i] = d < p.value_dim ? part[d] : 0.0f;
    }
    if (span == first_span) {
      whole = later;
    } else {
      whole.join(later.maximum, later.sum, later.out);
    }
  }
  divide_and_write<true>(p, whole, head);
}

template <KvType key_type, KvType value_type>
void launch(cudaStream_t stream, const Attention& what, const RowInfo* rows, uint32_t n_rows) {
  const dim3 grid(what.n_heads, n_rows, what.n_spans);
  const auto kernel = n_rows <= kFewRows ? attend_kernel<key_type, value_type, true>
                                         : attend_kernel<key_type, value_type, false>;
  cuda::start(stream, kernel, grid, kThreads, what.key_dim * sizeof(float), what, rows);
}

template <KvType key_type>
void launch_values(cudaStream_t stream, const Attention& what, const RowInfo* rows,
                   uint32_t n_rows) {
  switch (what.values.base != nullptr ? what.values.type : key_type) {
    case KvType::F32:
      return launch<key_type, KvType::F32>(stream, what, rows, n_rows);
    case KvType::F16:
      return launch<key_type, KvType::F16>(stream, what, rows, n_rows);
    case KvType::Q8_0:
      return launch<key_type, KvType::Q8_0>(stream, what, rows, n_rows);
  }
}

}  // namespace

void attend(cudaStream_t stream, const Attention& what, const RowInfo* rows, uint32_t n_rows) {
  switch (what.keys.type) {
    case KvType::F32:
      launch_values<KvType::F32>(stream, what, rows, n_rows);
      break;
    case KvType::F16:
      launch_values<KvType::F16>(stream, what, rows, n_rows);
      break;
    case KvType::Q8_0:
      launch_values<KvType::Q8_0>(stream, what, rows, n_rows);
      break;
  }
  if (what.n_spans > 1) {
    start(stream, join_kernel, dim3(what.n_heads, n_rows), kThreads, 0, what, rows);
  }
}

}  // namespace floe::cuda

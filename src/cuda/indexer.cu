// The indexer of sparse attention: scores of all cached positions, and the slots of the best.
#include "cuda/start.cuh"
#include "cuda/warp.cuh"

namespace floe::cuda {

namespace {

constexpr uint32_t kWarps = 8;
constexpr uint32_t kThreads = 32 * kWarps;
constexpr uint32_t kDigits = 256;

// An integer that orders as the score does; a NaN is below everything.
__device__ uint32_t score_key(float score) {
  if (score != score) return 0;
  const uint32_t bits = __float_as_uint(score + 0.0f);  // one zero
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// blockIdx: x head, y row; one warp.
__global__ void rotate_queries(const __grid_constant__ IndexerPass p, const RowInfo* rows) {
  let_next_start();
  wait_for_previous();
  extern __shared__ float x[];
  const RowInfo row = rows[blockIdx.y];
  if (row.position + 1 <= p.top_k) return;
  float* query = p.queries + (size_t{blockIdx.y} * p.n_heads + blockIdx.x) * p.key_dim;
  const float* cos_sin = p.rotation.cos_sin + size_t{row.position} * p.rotation.n_pairs * 2;
  for (uint32_t i = threadIdx.x; i < p.rotation.n_pairs; i += 32) {
    rotate_pair(query, cos_sin, i, p.rotation.n_pairs, p.rotation.interleaved);
  }
}

// blockIdx: x block of 32 positions, y row of those scored at once. A lane has a position, a warp
// some heads, whose products then join head after head.
__global__ void __launch_bounds__(kThreads)
    score_positions(const __grid_constant__ IndexerPass p, const RowInfo* rows,
                    uint32_t first_row) {
  let_next_start();
  wait_for_previous();
  extern __shared__ float memory[];
  float* keys = memory;                                          // [32][key_dim + 1]
  float* products = memory + kAttentionBlock * (p.key_dim + 1);  // [n_heads][32]
  const uint32_t row_index = first_row + blockIdx.y;
  const RowInfo row = rows[row_index];
  const uint32_t n_visible = row.position + 1;
  const uint32_t begin = blockIdx.x * kAttentionBlock;
  if (n_visible <= p.top_k || n_visible <= begin) return;
  const uint32_t n = min(kAttentionBlock, n_visible - begin);
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t t = warp; t < n; t += kWarps) {
    const uint32_t slot = p.slots[row.slots + begin + t];
    const std::byte* key = p.plane.base + size_t{slot} * p.plane.stride_bytes;
    for (uint32_t i = lane; i < p.key_dim; i += 32) {
      keys[t * (p.key_dim + 1) + i] = cached_value(key, p.plane.type, i);
    }
  }
  __syncthreads();
  for (uint32_t h = warp; h < p.n_heads; h += kWarps) {
    const float* q = p.queries + (size_t{row_index} * p.n_heads + h) * p.key_dim;
    const float* key = keys + lane * (p.key_dim + 1);
    float sums[8] = {};
    if (lane < n) {
      for (uint32_t i = 0; i < p.key_dim; i += 8) {
#pragma unroll
        for (uint32_t k = 0; k < 8; ++k) {
          if (i + k < p.key_dim) sums[k] = fmaf(q[i + k], key[i + k], sums[k]);
        }
      }
    }
    products[h * kAttentionBlock + lane] =
        ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  }
  __syncthreads();
  if (warp != 0 || lane >= n) return;
  const float* weights = p.weights + size_t{row_index} * p.n_heads;
  float score = 0.0f;
  for (uint32_t h = 0; h < p.n_heads; ++h) {
    const float product = products[h * kAttentionBlock + lane];
    score = fmaf(weights[h], product > 0.0f ? product : 0.0f, score);
  }
  p.scores[blockIdx.y * p.score_stride + begin + lane] = score;
}

// blockIdx.x: row of those scored at once. The key of the top_k-th best, digit by digit; of equal
// keys the lower positions.
__global__ void __launch_bounds__(kThreads)
    choose_positions(const __grid_constant__ IndexerPass p, const RowInfo* rows,
                     uint32_t first_row) {
  let_next_start();
  wait_for_previous();
  __shared__ uint32_t counts[kDigits];
  __shared__ uint32_t digit;
  __shared__ uint32_t n_left;
  __shared__ uint32_t warp_better[kWarps];
  __shared__ uint32_t warp_equal[kWarps];
  const uint32_t row_index = first_row + blockIdx.x;
  const RowInfo row = rows[row_index];
  const uint32_t n = row.position + 1;
  if (n <= p.top_k) return;
  const float* scores = p.scores + blockIdx.x * p.score_stride;
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  uint32_t worst = 0;
  uint32_t n_wanted = p.top_k;  // among the positions whose leading digits are worst's
  for (int shift = 24; shift >= 0; shift -= 8) {
    counts[threadIdx.x] = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
      const uint32_t key = score_key(scores[i]);
      const bool candidate = shift == 24 || (key >> (shift + 8)) == (worst >> (shift + 8));
      if (candidate) atomicAdd(&counts[key >> shift & 255u], 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      uint32_t d = kDigits - 1;
      uint32_t wanted = n_wanted;
      while (counts[d] < wanted) wanted -= counts[d--];
      digit = d;
      n_left = wanted;
    }
    __syncthreads();
    worst |= digit << shift;
    n_wanted = n_left;
    __syncthreads();
  }
  // Those above worst, and the first n_wanted of those equal to it, in ascending position.
  uint32_t n_better = 0;
  uint32_t n_equal = 0;
  uint32_t* selected = p.selected + row_index * p.selected_stride;
  for (uint32_t begin = 0; begin < n; begin += kThreads) {
    const uint32_t i = begin + threadIdx.x;
    const uint32_t key = i < n ? score_key(scores[i]) : 0;
    const uint32_t better = __ballot_sync(kAllLanes, i < n && key > worst);
    const uint32_t equal = __ballot_sync(kAllLanes, i < n && key == worst);
    if (lane == 0) {
      warp_better[warp] = __popc(better);
      warp_equal[warp] = __popc(equal);
    }
    __syncthreads();
    uint32_t before_better = n_better;
    uint32_t before_equal = n_equal;
    for (uint32_t w = 0; w < kWarps; ++w) {
      if (w < warp) {
        before_better += warp_better[w];
        before_equal += warp_equal[w];
      }
      n_better += warp_better[w];
      n_equal += warp_equal[w];
    }
    const uint32_t lower = (1u << lane) - 1u;
    before_better += __popc(better & lower);
    before_equal += __popc(equal & lower);
    const bool is_better = (better >> lane & 1u) != 0;
    const bool is_equal = (equal >> lane & 1u) != 0;
    if (is_better || (is_equal && before_equal < n_wanted)) {
      selected[before_better + min(before_equal, n_wanted)] = p.slots[row.slots + i];
    }
    __syncthreads();
  }
}

}  // namespace

void select_positions(cudaStream_t stream, const IndexerPass& what, const RowInfo* rows,
                      uint32_t n_rows) {
  if (what.max_visible <= what.top_k) return;
  start(stream, rotate_queries, dim3(what.n_heads, n_rows), 32, 0, what, rows);
  const uint32_t n_blocks = (what.max_visible + kAttentionBlock - 1) / kAttentionBlock;
  const size_t shared =
      (kAttentionBlock * (what.key_dim + 1) + size_t{what.n_heads} * kAttentionBlock) *
      sizeof(float);
  for (uint32_t first = 0; first < n_rows; first += what.score_rows) {
    const uint32_t n = n_rows - first < what.score_rows ? n_rows - first : what.score_rows;
    start(stream, score_positions, dim3(n_blocks, n), kThreads, shared, what, rows, first);
    start(stream, choose_positions, n, kThreads, 0, what, rows, first);
  }
}

}  // namespace floe::cuda

// Which experts the rows go to, and the pairs of row and expert sorted by expert.
#include "cuda/start.cuh"
#include "cuda/warp.cuh"

namespace floe::cuda {

namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kSortThreads = 1024;
constexpr float kWorst = -INFINITY;

// As in model/router.h.
enum : uint8_t { kSoftmax, kSigmoid, kSoftmaxSelected };

// NaN would make comparisons inconsistent.
__device__ float ordered(float score) {
  return score == score ? score : kWorst;
}

// x[n] <- exp(x - max) / sum; one warp.
__device__ void softmax(float* x, uint32_t n, uint32_t lane) {
  float largest = kWorst;
  for (uint32_t i = lane; i < n; i += 32) largest = x[i] > largest ? x[i] : largest;
#pragma unroll
  for (int k = 16; k > 0; k /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, largest, k);
    largest = other > largest ? other : largest;
  }
  if (largest == kWorst) largest = 0.0f;
  __syncwarp();
  for (uint32_t i = lane; i < n; i += 32) x[i] = exponential(x[i] - largest);
  __syncwarp();
  const float sum = warp_sum(n, lane, [&](float total, uint32_t i) { return total + x[i]; });
  const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
  for (uint32_t i = lane; i < n; i += 32) x[i] = x[i] * inverse;
  __syncwarp();
}

// One warp: weights[n_active] of the experts whose probabilities are picked[n_active].
__device__ void weigh(const Routing& p, float* picked, float* weights, uint32_t lane) {
  if (p.gating == kSoftmaxSelected) softmax(picked, p.n_active, lane);
  if (p.n_active <= 32) {
    float own = lane < p.n_active ? picked[lane] : 0.0f;
    if (p.normalise) {
      float sum = 0.0f;
      for (uint32_t j = 0; j < p.n_active; ++j) sum += __shfl_sync(kAllLanes, own, j);
      own = own / (sum + 1e-20f);
    }
    if (lane < p.n_active) weights[lane] = own * p.scale;
    return;
  }
  if (lane != 0) return;
  if (p.normalise) {
    float sum = 0.0f;
    for (uint32_t j = 0; j < p.n_active; ++j) sum += picked[j];
    sum += 1e-20f;
    for (uint32_t j = 0; j < p.n_active; ++j) picked[j] = picked[j] / sum;
  }
  for (uint32_t j = 0; j < p.n_active; ++j) weights[j] = picked[j] * p.scale;
}

// blockIdx.x: row.
__global__ void choose_experts(const __grid_constant__ Routing p) {
  let_next_start();
  wait_for_previous();
  extern __shared__ float memory[];
  const uint32_t n = p.n_experts;
  float* probabilities = memory;
  float* scores = memory + n;
  float* group_scores = memory + 2 * n;
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t row = blockIdx.x;
  for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
    const float logit = p.logits[size_t{row} * n + i];
    probabilities[i] = p.gating == kSigmoid ? sigmoid(logit) : logit;
  }
  __syncthreads();
  if (p.gating == kSoftmax && threadIdx.x < 32) softmax(probabilities, n, lane);
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
    scores[i] = probabilities[i];
    if (p.correction_bias != nullptr) scores[i] = scores[i] + p.correction_bias[i];
  }
  __syncthreads();
  if (p.n_groups > 1) {
    const uint32_t group_size = n / p.n_groups;
    for (uint32_t g = threadIdx.x; g < p.n_groups; g += kThreads) {
      float first = kWorst;
      float second = kWorst;
      for (uint32_t i = g * group_size; i < (g + 1) * group_size; ++i) {
        const float score = ordered(scores[i]);
        if (score > first) {
          second = first;
          first = score;
        } else if (score > second) {
          second = score;
        }
      }
      group_scores[g] = p.correction_bias != nullptr && group_size > 1 ? first + second : first;
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
      const uint32_t g = i / group_size;
      const float own = ordered(group_scores[g]);
      uint32_t n_before = 0;
      for (uint32_t other = 0; other < p.n_groups; ++other) {
        const float score = ordered(group_scores[other]);
        n_before += score > own || (score == own && other < g);
      }
      if (n_before >= p.n_active_groups) scores[i] = kWorst;
    }
    __syncthreads();
  }
  // An expert is chosen when fewer than n_active come before it: by score, then by index.
  uint32_t* chosen = p.chosen + size_t{row} * p.n_active;
  float* weights = p.weights + size_t{row} * p.n_active;
  float* picked = group_scores;  // [n_active], what the chosen weigh
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
    const float own = ordered(scores[i]);
    uint32_t n_before = 0;
    for (uint32_t other = 0; other < n; ++other) {
      const float score = ordered(scores[other]);
      n_before += score > own || (score == own && other < i);
    }
    if (n_before < p.n_active) {
      chosen[n_before] = i;
      p.chosen_result[size_t{row} * p.n_active + n_before] = i;
      picked[n_before] = probabilities[i];
    }
  }
  __syncthreads();
  if (threadIdx.x >= 32) return;
  weigh(p, picked, weights, lane);
}

// All threads of a block; counts u32 [n_experts], chosen as p.chosen. Rows ascend within an expert.
__device__ void sort_by_expert(const Routing& p, const uint32_t* chosen, uint32_t n_pairs,
                               uint32_t* counts) {
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t e = threadIdx.x; e < p.n_experts; e += blockDim.x) counts[e] = 0;
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < n_pairs; i += blockDim.x) {
    atomicAdd(&counts[chosen[i]], 1u);
  }
  __syncthreads();
  if (warp == 0) {
    uint32_t total = 0;
    uint32_t n_used = 0;
    for (uint32_t first = 0; first < p.n_experts; first += 32) {
      const uint32_t e = first + lane;
      const uint32_t own = e < p.n_experts ? counts[e] : 0;
      uint32_t up_to = own;
#pragma unroll
      for (int k = 1; k < 32; k *= 2) {
        const uint32_t other = __shfl_up_sync(kAllLanes, up_to, k);
        if (lane >= static_cast<uint32_t>(k)) up_to += other;
      }
      const uint32_t used = __ballot_sync(kAllLanes, own != 0);
      if (e < p.n_experts) p.begin[e] = total + up_to - own;
      if (own != 0) p.used[n_used + __popc(used & ((1u << lane) - 1u))] = e;
      n_used += __popc(used);
      total += __shfl_sync(kAllLanes, up_to, 31);
    }
    if (lane == 0) {
      p.begin[p.n_experts] = total;
      *p.n_used = n_used;
      *p.n_used_result = n_used;
    }
  }
  __syncthreads();
  for (uint32_t e = warp; e < p.n_experts; e += blockDim.x / 32) {
    if (counts[e] == 0) continue;
    uint32_t place = p.begin[e];
    for (uint32_t first = 0; first < n_pairs; first += 32) {
      const uint32_t i = first + lane;
      const bool mine = i < n_pairs && chosen[i] == e;
      const uint32_t all = __ballot_sync(kAllLanes, mine);
      if (mine) {
        const uint32_t at = place + __popc(all & ((1u << lane) - 1u));
        p.pair_of[i] = at;
        p.row_of_pair[at] = i / p.n_active;
      }
      place += __popc(all);
    }
  }
}

// One block of threads.
__global__ void __launch_bounds__(kSortThreads)
    sort_pairs(const __grid_constant__ Routing p, uint32_t n_pairs) {
  let_next_start();
  wait_for_previous();
  extern __shared__ uint32_t counts[];
  sort_by_expert(p, p.chosen, n_pairs, counts);
}

// Few rows of one group of experts, and the sorting at once: one block, a warp for each row.
constexpr uint32_t kFewRows = kSortThreads / 32;
constexpr uint32_t kFewExperts = 512;

// Ascends with the score; 0 is below all.
__device__ uint32_t ascending(float score) {
  if (score == 0.0f) score = 0.0f;  // not -0
  const uint32_t bits = __float_as_uint(score);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

// The pairs of one row, whose n_active experts are distinct; one warp, an expert a lane.
__device__ void sort_one_row(const Routing& p, uint32_t expert, uint32_t lane) {
  uint32_t place = 0;
  for (uint32_t j = 0; j < p.n_active; ++j) {
    place += __shfl_sync(kAllLanes, expert, j) < expert ? 1 : 0;
  }
  if (lane < p.n_active) {
    p.pair_of[lane] = place;
    p.row_of_pair[place] = 0;
    p.used[place] = expert;
    // Of experts that nobody chose nobody asks.
    p.begin[expert] = place;
    p.begin[expert + 1] = place + 1;
  }
  if (lane == 0) *p.n_used = *p.n_used_result = p.n_active;
}

// kOwn: experts of a lane, at most.
template <uint32_t kOwn>
__global__ void __launch_bounds__(kSortThreads)
    route_few(const __grid_constant__ Routing p, uint32_t n_rows) {
  let_next_start();
  wait_for_previous();
  extern __shared__ float memory[];  // [n_rows][n_experts + n_active], then what sorting needs
  const uint32_t n = p.n_experts;
  const uint32_t row = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  auto* all_chosen = reinterpret_cast<uint32_t*>(memory + n_rows * (n + p.n_active));
  uint32_t own = UINT32_MAX;  // the expert that the lane's place among the chosen has
  if (row < n_rows) {
    float* probabilities = memory + row * (n + p.n_active);
    float* picked = probabilities + n;  // what the chosen weigh
#pragma unroll
    for (uint32_t k = 0; k < kOwn; ++k) {
      const uint32_t i = lane + k * 32;
      if (i >= n) continue;
      const float logit = p.logits[size_t{row} * n + i];
      probabilities[i] = p.gating == kSigmoid ? sigmoid(logit) : logit;
    }
    __syncwarp();
    if (p.gating == kSoftmax) softmax(probabilities, n, lane);
    uint32_t scores[kOwn];  // 0: no such expert, or chosen already
#pragma unroll
    for (uint32_t k = 0; k < kOwn; ++k) {
      const uint32_t i = lane + k * 32;
      scores[k] = 0;
      if (i >= n) continue;
      float score = probabilities[i];
      if (p.correction_bias != nullptr) score = score + p.correction_bias[i];
      scores[k] = ascending(ordered(score));
    }
    for (uint32_t j = 0; j < p.n_active; ++j) {
      uint32_t best = 0;
#pragma unroll
      for (uint32_t k = 0; k < kOwn; ++k) best = max(best, scores[k]);
      best = __reduce_max_sync(kAllLanes, best);
      uint32_t first = UINT32_MAX;  // the lowest index that has it
#pragma unroll
      for (uint32_t k = 0; k < kOwn; ++k) {
        if (scores[k] == best) first = min(first, lane + k * 32);
      }
      first = __reduce_min_sync(kAllLanes, first);
#pragma unroll
      for (uint32_t k = 0; k < kOwn; ++k) {
        if (lane + k * 32 == first) scores[k] = 0;
      }
      if (lane == j % 32) own = first;
      if (lane == 0) {
        p.chosen[size_t{row} * p.n_active + j] = first;
        p.chosen_result[size_t{row} * p.n_active + j] = first;
        all_chosen[row * p.n_active + j] = first;
        picked[j] = probabilities[first];
      }
    }
    __syncwarp();
    weigh(p, picked, p.weights + size_t{row} * p.n_active, lane);
  }
  if (n_rows == 1 && p.n_active <= 32) return sort_one_row(p, own, lane);
  __syncthreads();
  sort_by_expert(p, all_chosen, n_rows * p.n_active, all_chosen + n_rows * p.n_active);
}

template <uint32_t kOwn>
void launch_few(cudaStream_t stream, const Routing& what, uint32_t n_rows) {
  static const cudaError_t allowed =
      cudaFuncSetAttribute(route_few<kOwn>, cudaFuncAttributeMaxDynamicSharedMemorySize, 128 << 10);
  (void)allowed;  // a failure shows at the launch
  const uint32_t n_words = n_rows * (what.n_experts + 2 * what.n_active) + what.n_experts;
  const bool sorts_itself = n_rows == 1 && what.n_active <= 32;
  start(stream, route_few<kOwn>, 1, sorts_itself ? 32 : kSortThreads, n_words * sizeof(float), what,
        n_rows);
}

}  // namespace

void route(cudaStream_t stream, const Routing& what, uint32_t n_rows) {
  if (n_rows <= kFewRows && what.n_experts <= kFewExperts && what.n_groups <= 1) {
    if (what.n_experts <= 128) return launch_few<4>(stream, what, n_rows);
    if (what.n_experts <= 256) return launch_few<8>(stream, what, n_rows);
    return launch_few<kFewExperts / 32>(stream, what, n_rows);
  }
  const uint32_t n_last = what.n_groups > what.n_active ? what.n_groups : what.n_active;
  start(stream, choose_experts, n_rows, kThreads, (2 * what.n_experts + n_last) * sizeof(float),
        what);
  const uint32_t n_pairs = n_rows * what.n_active;
  start(stream, sort_pairs, 1, kSortThreads, what.n_experts * sizeof(uint32_t), what, n_pairs);
}

}  // namespace floe::cuda

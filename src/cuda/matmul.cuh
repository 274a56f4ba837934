#pragma once
// Matrix products on integer tensor cores, in numeric_order.h's order.
//
// One step (32 columns) of 16 weight rows against 8 activation rows is one instruction with an
// exact integer result, whatever its inner order: only what follows it is ordered. Two ways to
// walk:
//   few rows:  warps share out the blocks along K of 16 output rows, leave each block's T and S in
//              shared memory, and 128 threads add them up block after block;
//   many rows: a warp takes 16 output rows and up to 32 activation rows along all of K, and keeps
//              their sums in registers.
// A lane g * 4 + t holds weight rows g and g + 8, and activation rows 2t and 2t + 1 of the result.
#include <type_traits>

#include "cuda/bulk_copy.cuh"
#include "cuda/formats.h"
#include "cuda/launch.h"
#include "cuda/start.cuh"

namespace floe::cuda {

inline constexpr uint32_t kTileRows = 16;  // output rows, two groups
inline constexpr uint32_t kTileCols = 8;   // activation rows

__device__ inline void mma_32(int (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ inline void mma_16(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b));
}

// Some products of one format that one launch computes.
struct ProductSet {
  static constexpr uint32_t kMost = 4;
  Product product[kMost];
  uint32_t tile_end[kMost];  // tiles of 16 rows up to and with each product
  uint32_t n = 0;
  ActivationRows x;
  PlaneRows rows;
};

// What a block of threads works on.
struct Work {
  const Product* product;
  const uint8_t* plane;
  uint32_t tile;  // of 16 output rows
  uint32_t plane_id;
  uint32_t first_row;  // of the plane's activation rows and results
  uint32_t n;          // rows
  float* out;

  // False: nothing to do.
  __device__ bool find(const ProductSet& set) {
    uint32_t p = 0;
    while (blockIdx.x >= set.tile_end[p]) ++p;
    product = &set.product[p];
    tile = blockIdx.x - (p == 0 ? 0 : set.tile_end[p - 1]);
    plane_id = blockIdx.y;
    first_row = 0;
    n = set.rows.n;
    out = product->out;
    if (set.rows.kind == PlaneRows::Kind::heads) {
      first_row = plane_id * n;
      out += plane_id * set.rows.plane_stride;
    } else if (set.rows.kind == PlaneRows::Kind::experts) {
      if (plane_id >= *set.rows.n_used) return false;
      plane_id = set.rows.used[plane_id];
      first_row = set.rows.begin[plane_id];
      n = set.rows.begin[plane_id + 1] - first_row;
      out += size_t{first_row} * product->out_stride;
    }
    plane = product->matrix.data + plane_id * product->matrix.plane_bytes;
    return true;
  }
  // Row of x that the i-th result reads.
  __device__ uint32_t x_row(const ProductSet& set, uint32_t i) const {
    if (set.rows.kind == PlaneRows::Kind::experts) {
      return set.rows.row_of_pair != nullptr ? set.rows.row_of_pair[first_row + i] : first_row + i;
    }
    if (set.rows.kind == PlaneRows::Kind::heads) return first_row + i;
    return product->ids != nullptr ? product->ids[i] : i;
  }
  __device__ void write(uint32_t i, uint32_t row, float value) const {
    if (product->bias != nullptr) {
      value = product->bias[size_t{plane_id} * product->matrix.n_rows + row] + value;
    }
    out[i * product->out_stride + row] = value;
  }
};

// The weights of one step for a lane: rows g of two groups.
template <QuantType type>
struct StepWeights {
  static constexpr PackedLayout layout = kPacked<type>;
  static constexpr uint32_t kHalves = layout.n_sub == 2 ? 2 : 1;
  RawWords raw[2];
  int scale[2][kHalves];
  int minimum[2][kHalves];

  template <typename Bytes>
  __device__ void load(Bytes step0, Bytes step1, uint32_t g, uint32_t t) {
    const Bytes steps[2] = {step0, step1};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      raw[i] = load_raw<layout.planes>(steps[i] + layout.sub_bytes, g, t);
#pragma unroll
      for (uint32_t half = 0; half < kHalves; ++half) {
        scale[i][half] = sub_scale<type>(steps[i], g, half);
        if constexpr (layout.has_min) minimum[i][half] = sub_minimum<type>(steps[i], g, half);
      }
    }
  }
};

// The activations of one step for a lane: words t and t + 4 of row g, scales and sums of rows 2t
// and 2t + 1.
struct StepActivations {
  uint32_t b0, b1;
  float scale[2];
  int sums[2][2];  // [row][half]
};

// p (and m) of one step: [i * 2 + j] is weight row g + 8 i, activation row 2t + j.
template <QuantType type>
__device__ inline void multiply_step(const StepWeights<type>& w, const StepActivations& x,
                                     uint32_t t, int (&p)[4], int (&m)[4]) {
  constexpr PackedLayout layout = kPacked<type>;
  const WordPair low = decode_words<type>(w.raw[0], t);
  const WordPair high = decode_words<type>(w.raw[1], t);
  if constexpr (layout.n_sub == 2) {
    int first[4] = {0, 0, 0, 0};
    int second[4] = {0, 0, 0, 0};
    mma_16(first, low.low, high.low, x.b0);
    mma_16(second, low.high, high.high, x.b1);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int k = 2 * i + j;
        p[k] = w.scale[i][0] * (first[k] - layout.offset * x.sums[j][0]) +
               w.scale[i][1] * (second[k] - layout.offset * x.sums[j][1]);
        if constexpr (layout.has_min) {
          m[k] = w.minimum[i][0] * x.sums[j][0] + w.minimum[i][1] * x.sums[j][1];
        }
      }
    }
  } else {
    int sum[4] = {0, 0, 0, 0};
    const uint32_t a[4] = {low.low, high.low, low.high, high.high};
    mma_32(sum, a, x.b0, x.b1);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int k = 2 * i + j;
        const int x_sum = x.sums[j][0] + x.sums[j][1];
        p[k] = sum[k] - layout.offset * x_sum;
        if constexpr (layout.n_sub == 1) p[k] *= w.scale[i][0];
        if constexpr (layout.has_min) m[k] = w.minimum[i][0] * x_sum;
      }
    }
  }
}

// Blocks along K between two sums, by the activation rows whose results are kept.
template <QuantType type, uint32_t kept_cols>
inline constexpr uint32_t kBlocksPerRound = (kept_cols == 1 ? 256 : 64) /
                                            (kPacked<type>.has_min ? 2 : 1);

// The activations of a step. Where only one row is kept, all lanes read that one.
template <uint32_t kept_cols>
__device__ inline void load_activations(const ActivationBlock* x_g,
                                        const ActivationBlock* const (&x_t)[2], uint32_t step,
                                        uint32_t t, StepActivations& x) {
  const auto* q = reinterpret_cast<const uint32_t*>(x_g[step].q);
  x.b0 = q[t];
  x.b1 = q[t + 4];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const ActivationBlock& block = kept_cols == 1 ? x_g[step] : x_t[j][step];
    x.scale[j] = block.scale;
    x.sums[j][0] = block.sums[0];
    x.sums[j][1] = block.sums[1];
  }
}

// blockIdx: x tile, y plane. blockDim: 32 * warps, at least 128. kept_cols: 1 where no plane has
// more than one row, else 8. staged: one bulk copy of each group, started before the kernel before
// has ended, brings the weights into shared memory.
template <QuantType type, uint32_t kept_cols, bool staged>
__global__ void __launch_bounds__(512) few_rows(const __grid_constant__ ProductSet set) {
  constexpr PackedLayout layout = kPacked<type>;
  constexpr uint32_t block_cols = layout.n_steps * kStepCols;
  constexpr uint32_t block_bytes =
      layout.head_bytes + layout.n_steps * (layout.sub_bytes + plane_bytes(layout.planes));
  constexpr uint32_t kRound = kBlocksPerRound<type, kept_cols>;
  constexpr uint32_t kAhead = layout.n_steps > 1 ? 1
                              : kept_cols == 1   ? 8
                                                 : 4;  // blocks loaded before use
  constexpr uint32_t kMinRound = layout.has_min ? kRound : 1;
  constexpr uint32_t kTile = kTileRows * kept_cols;
  __shared__ float sums_t[kRound][kTile];
  __shared__ float sums_s[kMinRound][kTile];
  __shared__ float scales[kRound][kTileRows];
  __shared__ float minima[kMinRound][kTileRows];

  let_next_start();
  const bool knows_plane = set.rows.kind != PlaneRows::Kind::experts;
  if (!knows_plane) wait_for_previous();
  Work work;
  if (!work.find(set)) return;
  const Matrix& matrix = work.product->matrix;
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t n_warps = blockDim.x / 32;
  const uint32_t g = threadIdx.x % 32 / 4;
  const uint32_t t = threadIdx.x % 4;
  const uint32_t group0 = work.tile * 2;
  const uint32_t group1 = min(group0 + 1, matrix.n_groups - 1);
  using Bytes = std::conditional_t<staged, SharedBytes, const uint8_t*>;
  const uint8_t* const from0 = work.plane + group0 * matrix.group_bytes;
  const uint8_t* const from1 = work.plane + group1 * matrix.group_bytes;
  Bytes w0;
  Bytes w1;
  if constexpr (staged) {
    extern __shared__ __align__(128) uint8_t groups[];
    __shared__ CopyBarrier arrived;
    const auto n_bytes = static_cast<uint32_t>(matrix.group_bytes);
    if (threadIdx.x == 0) {
      arrived.init(1);
      CopyBarrier::publish_inits();
      arrived.arrive_and_expect(2 * n_bytes);
      bulk_copy(groups, from0, n_bytes, arrived);
      bulk_copy(groups + n_bytes, from1, n_bytes, arrived);
    }
    __syncthreads();
    wait_for_previous();
    arrived.wait(0);
    w0 = {groups};
    w1 = {groups + n_bytes};
  } else {
    if (threadIdx.x == 0) {
      prefetch_bytes(from0, matrix.group_bytes);
      if (group1 != group0) prefetch_bytes(from1, matrix.group_bytes);
    }
    if (knows_plane) wait_for_previous();
    w0 = from0;
    w1 = from1;
  }
  const uint32_t n_blocks = matrix.n_cols / block_cols;
  const uint32_t x_stride = set.x.stride / kActivationBlockCols;

  for (uint32_t first = 0; first < work.n; first += kept_cols) {
    const uint32_t last = work.n - 1;
    const auto x_of = [&](uint32_t i) {
      return set.x.q8 + size_t{work.x_row(set, min(first + i, last))} * x_stride;
    };
    const ActivationBlock* x_g = x_of(kept_cols == 1 ? 0 : g);
    const ActivationBlock* const x_t[2] = {kept_cols == 1 ? x_g : x_of(2 * t),
                                           kept_cols == 1 ? x_g : x_of(2 * t + 1)};
    // Element e of the tile is weight row e / kept_cols, activation row e % kept_cols; thread e
    // adds it up.
    const uint32_t e_own = threadIdx.x;
    float acc = 0.0f;
    for (uint32_t round = 0; round < n_blocks; round += kRound) {
      const uint32_t round_end = min(round + kRound, n_blocks);
      for (uint32_t b = round + warp; b < round_end; b += n_warps * kAhead) {
        StepWeights<type> w[kAhead];
        StepActivations x[kAhead];
        if constexpr (layout.n_steps == 1) {
#pragma unroll
          for (uint32_t k = 0; k < kAhead; ++k) {
            const uint32_t block = min(b + k * n_warps, round_end - 1);
            const size_t at = size_t{block} * block_bytes;
            w[k].load(step_at<type>(w0 + at, 0), step_at<type>(w1 + at, 0), g, t);
          }
#pragma unroll
          for (uint32_t k = 0; k < kAhead; ++k) {
            load_activations<kept_cols>(x_g, x_t, min(b + k * n_warps, round_end - 1), t, x[k]);
          }
        }
#pragma unroll
        for (uint32_t k = 0; k < kAhead; ++k) {
          const uint32_t block = b + k * n_warps;
          if (block >= round_end) break;
          const Bytes at0 = w0 + size_t{block} * block_bytes;
          const Bytes at1 = w1 + size_t{block} * block_bytes;
          BlockSums sums[4];
#pragma unroll
          for (uint32_t s = 0; s < layout.n_steps; ++s) {
            if constexpr (layout.n_steps > 1) {
              w[0].load(step_at<type>(at0, s), step_at<type>(at1, s), g, t);
              load_activations<kept_cols>(x_g, x_t, block * layout.n_steps + s, t, x[0]);
            }
            int p[4];
            int m[4];
            multiply_step<type>(w[k], x[k], t, p, m);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              sums[e].template add_step<type>(p[e], m[e], x[k].scale[e % 2]);
            }
          }
          const uint32_t slot = block - round;
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const uint32_t row = g + 8 * i;
            if constexpr (kept_cols == 1) {
              if (t == 0) {
                sums_t[slot][row] = sums[2 * i].t;
                if constexpr (layout.has_min) sums_s[slot][row] = sums[2 * i].s;
              }
            } else {
              const uint32_t e = row * kept_cols + 2 * t;
              *reinterpret_cast<float2*>(&sums_t[slot][e]) =
                  make_float2(sums[2 * i].t, sums[2 * i + 1].t);
              if constexpr (layout.has_min) {
                *reinterpret_cast<float2*>(&sums_s[slot][e]) =
                    make_float2(sums[2 * i].s, sums[2 * i + 1].s);
              }
            }
          }
          if (t == 1) {
            scales[slot][g] = block_scale<type>(at0, g);
            scales[slot][g + 8] = block_scale<type>(at1, g);
          }
          if constexpr (layout.has_min) {
            if (t == 2) {
              minima[slot][g] = block_minimum(at0, g);
              minima[slot][g + 8] = block_minimum(at1, g);
            }
          }
        }
      }
      __syncthreads();
      if (e_own < kTile && first + e_own % kept_cols < work.n) {
        const uint32_t n_slots = round_end - round;
#pragma unroll 8
        for (uint32_t slot = 0; slot < n_slots; ++slot) {
          BlockSums block;
          block.t = sums_t[slot][e_own];
          float minimum = 0.0f;
          if constexpr (layout.has_min) {
            block.s = sums_s[slot][e_own];
            minimum = minima[slot][e_own / kept_cols];
          }
          acc = block.template add_to<type>(acc, scales[slot][e_own / kept_cols], minimum);
        }
      }
      __syncthreads();
    }
    if (e_own < kTile) {
      const uint32_t i = first + e_own % kept_cols;
      const uint32_t row = work.tile * kTileRows + e_own / kept_cols;
      if (i < work.n && row < matrix.n_rows) work.write(i, row, acc);
    }
  }
}

// A step of an activation row in shared memory: 48 bytes, so that 8 rows lie in different banks.
struct StagedStep {
  uint32_t q[8];
  float scale;
  int16_t sums[2];
  uint32_t unused[2];
};
static_assert(sizeof(StagedStep) == 48);

inline constexpr uint32_t kManyWarps = 4;
inline constexpr uint32_t kManyTiles = 4;  // of 8 activation rows
inline constexpr uint32_t kManyCols = kManyTiles * kTileCols;
inline constexpr uint32_t kStagedSteps = 8;

// blockIdx: x kManyWarps tiles of 16 output rows, y plane, z kManyCols activation rows (of experts:
// looped over).
template <QuantType type>
__global__ void __launch_bounds__(32 * kManyWarps)
    many_rows(const __grid_constant__ ProductSet set) {
  constexpr PackedLayout layout = kPacked<type>;
  constexpr uint32_t block_bytes =
      layout.head_bytes + layout.n_steps * (layout.sub_bytes + plane_bytes(layout.planes));
  __shared__ StagedStep staged[kStagedSteps][kManyCols];
  __shared__ const ActivationBlock* x_rows[kManyCols];

  let_next_start();
  wait_for_previous();
  Work work;
  if (!work.find(set)) return;
  const Matrix& matrix = work.product->matrix;
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t g = threadIdx.x % 32 / 4;
  const uint32_t t = threadIdx.x % 4;
  const uint32_t tile = work.tile * kManyWarps + warp;
  const uint32_t group0 = min(tile * 2, matrix.n_groups - 1);
  const uint32_t group1 = min(tile * 2 + 1, matrix.n_groups - 1);
  const uint8_t* w0 = work.plane + group0 * matrix.group_bytes;
  const uint8_t* w1 = work.plane + group1 * matrix.group_bytes;
  const uint32_t n_steps = matrix.n_cols / kStepCols;
  const uint32_t x_stride = set.x.stride / kActivationBlockCols;

  for (uint32_t first = blockIdx.z * kManyCols; first < work.n; first += gridDim.z * kManyCols) {
    __syncthreads();
    if (threadIdx.x < kManyCols) {
      x_rows[threadIdx.x] =
          set.x.q8 + size_t{work.x_row(set, min(first + threadIdx.x, work.n - 1))} * x_stride;
    }
    const uint32_t n_tiles = min(kManyTiles, (work.n - first + kTileCols - 1) / kTileCols);
    float acc[kManyTiles][4] = {};
    for (uint32_t begin = 0; begin < n_steps; begin += kStagedSteps) {
      const uint32_t n_staged = min(kStagedSteps, n_steps - begin);
      __syncthreads();
      for (uint32_t i = threadIdx.x; i < kStagedSteps * kManyCols; i += blockDim.x) {
        const uint32_t row = i / kStagedSteps;
        const uint32_t s = i % kStagedSteps;
        if (s >= n_staged || row >= n_tiles * kTileCols) continue;
        const ActivationBlock& from = x_rows[row][begin + s];
        StagedStep& to = staged[s][row];
        const auto* q = reinterpret_cast<const uint32_t*>(from.q);
#pragma unroll
        for (int k = 0; k < 8; ++k) to.q[k] = q[k];
        to.scale = from.scale;
        to.sums[0] = from.sums[0];
        to.sums[1] = from.sums[1];
      }
      __syncthreads();
      BlockSums sums[kManyTiles][4];
      for (uint32_t s = 0; s < n_staged; ++s) {
        const uint32_t step = begin + s;
        const size_t at = size_t{step / layout.n_steps} * block_bytes;
        StepWeights<type> w;
        w.load(step_at<type>(w0 + at, step % layout.n_steps),
               step_at<type>(w1 + at, step % layout.n_steps), g, t);
        float d[2] = {0.0f, 0.0f};
        float minimum[2] = {0.0f, 0.0f};
        const bool block_ends = (step + 1) % layout.n_steps == 0;
        if (block_ends) {
          d[0] = block_scale<type>(w0 + at, g);
          d[1] = block_scale<type>(w1 + at, g);
          if constexpr (layout.has_min) {
            minimum[0] = block_minimum(w0 + at, g);
            minimum[1] = block_minimum(w1 + at, g);
          }
        }
#pragma unroll
        for (uint32_t c = 0; c < kManyTiles; ++c) {
          if (c >= n_tiles) break;
          StepActivations x;
          const StagedStep& mine = staged[s][c * kTileCols + g];
          x.b0 = mine.q[t];
          x.b1 = mine.q[t + 4];
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            const StagedStep& row = staged[s][c * kTileCols + 2 * t + j];
            x.scale[j] = row.scale;
            x.sums[j][0] = row.sums[0];
            x.sums[j][1] = row.sums[1];
          }
          int p[4];
          int m[4];
          multiply_step<type>(w, x, t, p, m);
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            sums[c][e].template add_step<type>(p[e], m[e], x.scale[e % 2]);
            if (block_ends) {
              acc[c][e] = sums[c][e].template add_to<type>(acc[c][e], d[e / 2], minimum[e / 2]);
              sums[c][e] = BlockSums();
            }
          }
        }
      }
    }
#pragma unroll
    for (uint32_t c = 0; c < kManyTiles; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const uint32_t i = first + c * kTileCols + 2 * t + e % 2;
        const uint32_t row = tile * kTileRows + g + 8 * (e / 2);
        if (i < work.n && row < matrix.n_rows) work.write(i, row, acc[c][e]);
      }
    }
  }
}

// More rows than these go through many_rows. Rows that chose experts spread over many planes.
inline constexpr uint32_t kFewRows = 16;
inline constexpr uint32_t kFewExpertRows = 32;

inline bool has_few_rows(const PlaneRows& rows) {
  return rows.n <= (rows.kind == PlaneRows::Kind::experts ? kFewExpertRows : kFewRows);
}

// What the blocks of threads of few_rows() take of the shared memory.
inline constexpr uint32_t kFewRowsShared = 37 << 10;
inline constexpr uint32_t kMostStaged = 150 << 10;
inline constexpr uint32_t kMultiprocessors = 132;

// stage: where the caller knows that bulk copies can bring the weights.
template <QuantType type>
void launch_blocks(cudaStream_t stream, ProductSet& set, bool stage = false) {
  const bool few = stage || has_few_rows(set.rows);
  const uint32_t rows_per_block = few ? kTileRows : kTileRows * kManyWarps;
  uint32_t n_tiles = 0;
  uint32_t most_blocks = 0;
  for (uint32_t i = 0; i < set.n; ++i) {
    const Matrix& matrix = set.product[i].matrix;
    n_tiles += (matrix.n_rows + rows_per_block - 1) / rows_per_block;
    set.tile_end[i] = n_tiles;
    const uint32_t block_cols = kPacked<type>.n_steps * kStepCols;
    most_blocks =
        matrix.n_cols / block_cols > most_blocks ? matrix.n_cols / block_cols : most_blocks;
  }
  if (few) {
    // Where there are few blocks of threads, more warps share out K.
    constexpr uint32_t kManyBlocks = 264;
    const bool one = set.rows.n == 1;
    const bool small = n_tiles * set.rows.n_planes < kManyBlocks;
    const uint32_t n_warps = most_blocks < 16 && kPacked<type>.n_steps == 1 ? 4
                             : one && small && most_blocks >= 64            ? 16
                                                                            : 8;
    if (stage) {
      size_t most_bytes = 0;
      for (uint32_t i = 0; i < set.n; ++i) {
        most_bytes = max(most_bytes, 2 * set.product[i].matrix.group_bytes);
      }
      static const cudaError_t allowed[] = {
          cudaFuncSetAttribute(few_rows<type, 1, true>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               kMostStaged),
          cudaFuncSetAttribute(few_rows<type, 8, true>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               kMostStaged)};
      (void)allowed;  // a failure shows at the launch
      return start(stream, one ? few_rows<type, 1, true> : few_rows<type, 8, true>,
                   dim3(n_tiles, set.rows.n_planes), 32 * n_warps, most_bytes, set);
    }
    start(stream, one ? few_rows<type, 1, false> : few_rows<type, 8, false>,
          dim3(n_tiles, set.rows.n_planes), 32 * n_warps, 0, set);
  } else {
    const uint32_t n_column_tiles =
        set.rows.kind == PlaneRows::Kind::experts ? 1 : (set.rows.n + kManyCols - 1) / kManyCols;
    start(stream, many_rows<type>, dim3(n_tiles, set.rows.n_planes, n_column_tiles),
          32 * kManyWarps, 0, set);
  }
}

void launch_small(cudaStream_t stream, QuantType type, ProductSet& set);
void launch_k(cudaStream_t stream, QuantType type, ProductSet& set);
void launch_plain(cudaStream_t stream, QuantType type, ProductSet& set);
// Of two products of few rows. False: not this format, or nothing that bulk copies can bring.
bool launch_small_gated(cudaStream_t stream, QuantType type, ProductSet& set, const GatedRows& out);
bool launch_k_gated(cudaStream_t stream, QuantType type, ProductSet& set, const GatedRows& out);

}  // namespace floe::cuda

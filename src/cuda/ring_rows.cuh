#pragma once
// Few rows against many weights (compute capability 9.0 on): a warp takes 16 output rows along all
// of K by itself. One more warp brings the weights of all of them, and the activations, through a
// ring of stages in shared memory: as many bytes are on their way as the ring holds, whatever the
// warps do meanwhile. Weights that do not depend on the kernel before are on their way before it
// has ended.
#include "cuda/bulk_copy.cuh"
#include "cuda/matmul.cuh"
#include "cuda/warp.cuh"

namespace floe::cuda {

inline constexpr uint32_t kStageSteps = 8;  // a stage is 256 columns, a whole block of every format
inline constexpr uint32_t kMostRingWarps = 4;  // that multiply
inline constexpr uint32_t kMostRingStages = 16;
// Of an activation row in a stage; with 16 bytes to spare 8 rows lie in different banks.
inline constexpr uint32_t kStagedRowBytes = kStageSteps * sizeof(ActivationBlock) + 16;
inline constexpr uint32_t kGatedRows = 2 * kTileRows;  // a block of 8-bit values

template <QuantType type>
inline constexpr uint32_t kGroupStageBytes = kStageSteps /
                                             kPacked<type>.n_steps* kPacked<type>.block_bytes();

// Where the next stage of the weights lies in the ring, and how often the ring has gone round.
struct RingPlace {
  uint32_t k = 0;
  uint32_t slot = 0;
  uint32_t lap = 0;

  __device__ void next(uint32_t n_ring, uint32_t n_stages) {
    if (++k == n_stages) k = 0;
    if (++slot == n_ring) {
      slot = 0;
      ++lap;
    }
  }
};

struct RingSet {
  ProductSet products;
  uint32_t n_stages;  // of the ring
  GatedRows gated;    // of two products
};

// The sums of 16 x kept_cols results of one warp along K.
template <QuantType type, uint32_t kept_cols>
struct RingSums {
  static constexpr PackedLayout layout = kPacked<type>;
  // Steps whose loads come first, then their products, then their sums: only these have an order.
  static constexpr uint32_t kTogether = kept_cols == 1 ? 8 : 4;
  static constexpr int kEvery = kept_cols == 1 ? 2 : 1;  // of a lane's four results
  float acc[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  BlockSums sums[4];

  __device__ static const ActivationBlock* block_of(const uint8_t* x_rows, uint32_t row,
                                                    uint32_t s) {
    return reinterpret_cast<const ActivationBlock*>(x_rows +
                                                    (kept_cols == 1 ? 0 : row * kStagedRowBytes)) +
           s;
  }
  // Steps [first, first + n_steps) of a stage.
  template <uint32_t n_steps>
  __device__ void steps(SharedBytes w0, SharedBytes w1, const uint8_t* x_rows, uint32_t first,
                        uint32_t g, uint32_t t) {
    StepWeights<type> w[n_steps];
    StepActivations x[n_steps];
    float d[n_steps][2];
    float minimum[n_steps][2];
#pragma unroll
    for (uint32_t i = 0; i < n_steps; ++i) {
      const uint32_t s = first + i;
      const uint32_t at = s / layout.n_steps * layout.block_bytes();
      w[i].load(step_at<type>(w0 + at, s % layout.n_steps),
                step_at<type>(w1 + at, s % layout.n_steps), g, t);
      const auto* q = reinterpret_cast<const uint32_t*>(block_of(x_rows, g, s)->q);
      x[i].b0 = q[t];
      x[i].b1 = q[t + 4];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        // Scale and both sums in one load.
        const uint2 head = *reinterpret_cast<const uint2*>(block_of(x_rows, 2 * t + j, s));
        x[i].scale[j] = __uint_as_float(head.x);
        x[i].sums[j][0] = static_cast<int16_t>(head.y & 0xffffu);
        x[i].sums[j][1] = static_cast<int>(head.y) >> 16;
      }
      if ((s + 1) % layout.n_steps != 0) continue;
      d[i][0] = block_scale<type>(w0 + at, g);
      d[i][1] = block_scale<type>(w1 + at, g);
      if constexpr (layout.has_min) {
        minimum[i][0] = block_minimum(w0 + at, g);
        minimum[i][1] = block_minimum(w1 + at, g);
      } else {
        minimum[i][0] = minimum[i][1] = 0.0f;
      }
    }
    int p[n_steps][4];
    int m[n_steps][4];
#pragma unroll
    for (uint32_t i = 0; i < n_steps; ++i) multiply_step<type>(w[i], x[i], t, p[i], m[i]);
#pragma unroll
    for (uint32_t i = 0; i < n_steps; ++i) {
      const bool block_ends = (first + i + 1) % layout.n_steps == 0;
#pragma unroll
      for (int e = 0; e < 4; e += kEvery) {
        sums[e].template add_step<type>(p[i][e], m[i][e], x[i].scale[e % 2]);
        if (!block_ends) continue;
        acc[e] = sums[e].template add_to<type>(acc[e], d[i][e / 2], minimum[i][e / 2]);
        sums[e] = BlockSums();
      }
    }
  }
  __device__ void stage(SharedBytes w0, SharedBytes w1, const uint8_t* x_rows, uint32_t n,
                        uint32_t g, uint32_t t) {
    if (n == kStageSteps) {
#pragma unroll
      for (uint32_t s = 0; s < kStageSteps; s += kTogether) {
        steps<kTogether>(w0, w1, x_rows, s, g, t);
      }
    } else if constexpr (layout.n_steps == 1) {
      for (uint32_t s = 0; s < n; ++s) steps<1>(w0, w1, x_rows, s, g, t);
    }
  }
  // visit(weight row, activation row, sum) for the results that this lane has.
  template <typename Visit>
  __device__ void each(uint32_t g, uint32_t t, const Visit& visit) const {
    if (kept_cols == 1 && t != 0) return;
#pragma unroll
    for (int e = 0; e < 4; e += kEvery) {
      visit(g + 8 * (e / 2), kept_cols == 1 ? 0 : 2 * t + e % 2, acc[e]);
    }
  }
};

// blockIdx: x tiles of 16 output rows, one for each warp but the last; y plane. gated: two tiles of
// the first product and the same two of the second, whose activated product is what is kept.
template <QuantType type, uint32_t kept_cols, bool gated>
__global__ void __launch_bounds__(32 * (kMostRingWarps + 1))
    ring_rows(const __grid_constant__ RingSet set) {
  constexpr uint32_t kGroupBytes = kGroupStageBytes<type>;
  static_assert(kGroupBytes % 16 == 0);
  extern __shared__ __align__(128) uint8_t ring[];
  __shared__ CopyBarrier full[kMostRingStages];
  __shared__ CopyBarrier empty[kMostRingStages];
  __shared__ float turned[gated ? 1 : kMostRingWarps][gated ? 1 : kept_cols][gated ? 1 : kTileRows];
  __shared__ float halves[gated ? 2 : 1][gated ? kGatedRows : 1][kept_cols];

  let_next_start();
  const ProductSet& products = set.products;
  const uint32_t n_ring = set.n_stages;
  const uint32_t n_warps = blockDim.x / 32 - 1;
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t stage_weights = n_warps * 2 * kGroupBytes;
  uint8_t* const x_ring = ring + n_ring * stage_weights;
  if (threadIdx.x < n_ring) {
    full[threadIdx.x].init(1);
    empty[threadIdx.x].init(n_warps);
    CopyBarrier::publish_inits();
  }
  __syncthreads();
  const bool knows_plane = products.rows.kind != PlaneRows::Kind::experts;
  if (!knows_plane) wait_for_previous();
  Work work;
  if (!work.find(products)) return;
  const uint32_t n_steps = work.product->matrix.n_cols / kStepCols;
  const uint32_t n_stages = (n_steps + kStageSteps - 1) / kStageSteps;
  const uint32_t n_passes = (work.n + kept_cols - 1) / kept_cols;
  const auto tile_of = [&](uint32_t w) {
    return gated ? work.tile * 2 + w % 2 : work.tile * n_warps + w;
  };

  if (warp == n_warps) {  // brings everything
    const uint32_t w = lane / 2;
    const Matrix& matrix = gated ? products.product[w / 2 % 2].matrix : work.product->matrix;
    const uint32_t group = min(tile_of(w) * 2 + lane % 2, matrix.n_groups - 1);
    const uint8_t* const weights =
        matrix.data + work.plane_id * matrix.plane_bytes + group * matrix.group_bytes;
    const auto fetch_weights = [&](uint32_t k, uint32_t slot) {
      const uint32_t begin = k * kGroupBytes;
      const uint32_t n_bytes = min(kGroupBytes, static_cast<uint32_t>(matrix.group_bytes) - begin);
      if (lane == 0) full[slot].expect(2 * n_warps * n_bytes);
      __syncwarp();
      if (lane < 2 * n_warps) {
        bulk_copy(ring + slot * stage_weights + lane * kGroupBytes, weights + begin, n_bytes,
                  full[slot]);
      }
    };
    const uint32_t n_ahead = min(n_ring, n_passes * n_stages);
    RingPlace ahead;
    for (uint32_t i = 0; i < n_ahead; ++i, ahead.next(n_ring, n_stages)) {
      fetch_weights(ahead.k, ahead.slot);
    }
    if (knows_plane) wait_for_previous();
    RingPlace at;
    for (uint32_t pass = 0; pass < n_passes; ++pass) {
      const uint32_t i = min(pass * kept_cols + lane % kept_cols, work.n - 1);
      const ActivationBlock* x = products.x.q8 + size_t{work.x_row(products, i)} *
                                                     (products.x.stride / kActivationBlockCols);
      for (uint32_t k = 0; k < n_stages; ++k, at.next(n_ring, n_stages)) {
        if (at.lap != 0) {
          empty[at.slot].wait(at.lap - 1);
          fetch_weights(k, at.slot);
        }
        const uint32_t n_bytes =
            min(kStageSteps, n_steps - k * kStageSteps) * sizeof(ActivationBlock);
        if (lane == 0) full[at.slot].arrive_and_expect(kept_cols * n_bytes);
        __syncwarp();
        if (lane < kept_cols) {
          bulk_copy(x_ring + (at.slot * kept_cols + lane) * kStagedRowBytes, x + k * kStageSteps,
                    n_bytes, full[at.slot]);
        }
      }
    }
    return;
  }

  if (knows_plane) wait_for_previous();
  const uint32_t g = lane / 4;
  const uint32_t t = lane % 4;
  RingPlace at;
  for (uint32_t pass = 0; pass < n_passes; ++pass) {
    RingSums<type, kept_cols> sums;
    for (uint32_t k = 0; k < n_stages; ++k, at.next(n_ring, n_stages)) {
      const uint32_t slot = at.slot;
      full[slot].wait(at.lap);
      const SharedBytes w0{ring + slot * stage_weights + warp * 2 * kGroupBytes};
      const SharedBytes w1 = w0 + kGroupBytes;
      const uint8_t* x_rows = x_ring + slot * kept_cols * kStagedRowBytes;
      const uint32_t n = min(kStageSteps, n_steps - k * kStageSteps);
      sums.stage(w0, w1, x_rows, n, g, t);
      __syncwarp();
      if (lane == 0) empty[slot].arrive();
    }
    const uint32_t first = pass * kept_cols;
    if constexpr (gated) {
      const Product& product = products.product[warp / 2];
      sums.each(g, t, [&](uint32_t row, uint32_t col, float value) {
        const uint32_t r = tile_of(warp) * kTileRows + row;
        if (product.bias != nullptr && r < product.matrix.n_rows) {
          value = product.bias[size_t{work.plane_id} * product.matrix.n_rows + r] + value;
        }
        halves[warp / 2][warp % 2 * kTileRows + row][col] = value;
      });
      sync_some(32 * kMostRingWarps);
      for (uint32_t col = warp; col < kept_cols && first + col < work.n; col += kMostRingWarps) {
        const uint32_t r = work.tile * kGatedRows + lane;
        const float gate = halves[0][lane][col];
        const float up = halves[1][lane][col];
        float value = set.gated.clamped ? swiglu_clamped(gate, up) : swiglu(gate, up);
        if (r >= product.matrix.n_rows) value = 0.0f;
        const size_t at = size_t{work.first_row + first + col} * set.gated.stride + r;
        if (set.gated.q8 != nullptr) {
          quantize_block(value, set.gated.q8[at / kActivationBlockCols], lane);
        } else {
          set.gated.values[at] = value;
        }
      }
      if (pass + 1 < n_passes) sync_some(32 * kMostRingWarps);
    } else {
      // Turned in shared memory, so that a write takes 64 bytes of a result row.
      sums.each(g, t,
                [&](uint32_t row, uint32_t col, float value) { turned[warp][col][row] = value; });
      __syncwarp();
      const uint32_t row = lane % kTileRows;
      const uint32_t r = tile_of(warp) * kTileRows + row;
      for (uint32_t col = lane / kTileRows; col < kept_cols; col += 32 / kTileRows) {
        if (first + col < work.n && r < work.product->matrix.n_rows) {
          work.write(first + col, r, turned[warp][col][row]);
        }
      }
      __syncwarp();
    }
  }
}

// Whether bulk copies can bring the set's weights and activations.
template <QuantType type>
bool fits_ring(const ProductSet& set) {
  const auto aligned = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; };
  if (!starts_early() || set.x.stride % (2 * kActivationBlockCols) != 0 || !aligned(set.x.q8)) {
    return false;
  }
  for (uint32_t i = 0; i < set.n; ++i) {
    const Matrix& matrix = set.product[i].matrix;
    if (matrix.group_bytes % 16 != 0 || matrix.plane_bytes % 16 != 0 || !aligned(matrix.data) ||
        matrix.n_cols % (kPacked<type>.block_cols()) != 0) {
      return false;
    }
  }
  return true;
}

template <QuantType type, uint32_t kept_cols, bool gated>
void launch_ring(cudaStream_t stream, const ProductSet& products, const GatedRows& out) {
  constexpr uint32_t kMostShared = 110 << 10;  // of a multiprocessor, all its blocks together
  static const cudaError_t allowed = cudaFuncSetAttribute(
      ring_rows<type, kept_cols, gated>, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostShared);
  (void)allowed;  // a failure shows at the launch
  RingSet set;
  set.products = products;
  set.gated = out;
  uint32_t n_tiles = 0;
  uint32_t most_stages = 0;
  for (uint32_t i = 0; i < products.n; ++i) {
    const Matrix& matrix = products.product[i].matrix;
    n_tiles += (matrix.n_rows + kTileRows - 1) / kTileRows;
    most_stages = max(most_stages, (matrix.n_cols / kStepCols + kStageSteps - 1) / kStageSteps);
  }
  n_tiles *= products.rows.n_planes;
  // Where there are few tiles they have a block of threads each, so that all multiprocessors read.
  const uint32_t n_warps = gated || n_tiles >= 8 * kMultiprocessors ? kMostRingWarps
                           : n_tiles >= 4 * kMultiprocessors        ? 2
                                                                    : 1;
  uint32_t n_blocks = 0;
  for (uint32_t i = 0; i < products.n; ++i) {
    const uint32_t rows_per_block = gated ? kGatedRows : kTileRows * n_warps;
    n_blocks += (products.product[i].matrix.n_rows + rows_per_block - 1) / rows_per_block;
    set.products.tile_end[i] = n_blocks;
    if (gated) break;
  }
  if (gated) set.products.n = 1;  // both are found through the first
  const uint32_t n_all = n_blocks * products.rows.n_planes;
  const uint32_t n_together = min((n_all + kMultiprocessors - 1) / kMultiprocessors, 12 / n_warps);
  const uint32_t stage_bytes = n_warps * 2 * kGroupStageBytes<type> + kept_cols * kStagedRowBytes;
  set.n_stages = kMostShared / n_together / stage_bytes;
  set.n_stages = max(min(min(set.n_stages, most_stages), kMostRingStages), 2u);
  start(stream, ring_rows<type, kept_cols, gated>, dim3(n_blocks, products.rows.n_planes),
        32 * (n_warps + 1), set.n_stages * stage_bytes, set);
}

// Whether each multiprocessor can hold all tiles that it has of these products at once, so that
// their weights are there when the kernel before ends. Then what counts is how soon a tile's own
// work is done, and all warps of a block share it.
template <QuantType type>
bool fits_whole(const ProductSet& set) {
  if (set.rows.kind != PlaneRows::Kind::single) return false;
  size_t n_bytes = 0;
  for (uint32_t i = 0; i < set.n; ++i) {
    const Matrix& matrix = set.product[i].matrix;
    if (2 * matrix.group_bytes > kMostStaged) return false;
    n_bytes += (matrix.n_groups + 1) / 2 * (2 * matrix.group_bytes + kFewRowsShared);
  }
  return n_bytes <= kMultiprocessors * size_t{200 << 10};
}

// Rows beyond the first eight read the weights again, from the second-level cache if they fit
// there.
inline bool passes_pay(const ProductSet& set) {
  constexpr uint32_t kMostRows = 32;
  constexpr size_t kCached = size_t{64} << 20;
  if (has_few_rows(set.rows)) return true;
  size_t n_bytes = 0;
  for (uint32_t i = 0; i < set.n; ++i) {
    n_bytes += set.product[i].matrix.plane_bytes * set.rows.n_planes;
  }
  return set.rows.n <= kMostRows && n_bytes <= kCached;
}

template <QuantType type>
void launch_quantised(cudaStream_t stream, ProductSet& set) {
  if (!passes_pay(set) || !fits_ring<type>(set)) return launch_blocks<type>(stream, set);
  if (fits_whole<type>(set)) return launch_blocks<type>(stream, set, true);
  if (set.rows.n == 1) return launch_ring<type, 1, false>(stream, set, {});
  launch_ring<type, kTileCols, false>(stream, set, {});
}

template <QuantType type>
bool launch_gated(cudaStream_t stream, ProductSet& set, const GatedRows& out) {
  if (!passes_pay(set) || !fits_ring<type>(set) || fits_whole<type>(set)) return false;
  if (set.rows.n == 1) {
    launch_ring<type, 1, true>(stream, set, out);
  } else {
    launch_ring<type, kTileCols, true>(stream, set, out);
  }
  return true;
}

}  // namespace floe::cuda

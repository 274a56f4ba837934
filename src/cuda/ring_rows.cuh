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

struct RingSet {
  ProductSet products;
  uint32_t n_stages;  // of the ring
  GatedRows gated;    // of two products
};

// The sums of 16 x kept_cols results of one warp along K.
template <QuantType type, uint32_t kept_cols>
struct RingSums {
  static constexpr PackedLayout layout = kPacked<type>;
  float acc[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  BlockSums sums[4];

  __device__ void step(SharedBytes w0, SharedBytes w1, const uint8_t* x_rows, uint32_t s,
                       uint32_t g, uint32_t t) {
    const uint32_t at = s / layout.n_steps * layout.block_bytes();
    const uint32_t in_block = s % layout.n_steps;
    StepWeights<type> w;
    w.load(step_at<type>(w0 + at, in_block), step_at<type>(w1 + at, in_block), g, t);
    const auto block_of = [&](uint32_t row) {
      return reinterpret_cast<const ActivationBlock*>(
                 x_rows + (kept_cols == 1 ? 0 : row * kStagedRowBytes)) +
             s;
    };
    StepActivations x;
    const auto* q = reinterpret_cast<const uint32_t*>(block_of(g)->q);
    x.b0 = q[t];
    x.b1 = q[t + 4];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      // Scale and both sums in one load.
      const uint2 head = *reinterpret_cast<const uint2*>(block_of(2 * t + j));
      x.scale[j] = __uint_as_float(head.x);
      x.sums[j][0] = static_cast<int16_t>(head.y & 0xffffu);
      x.sums[j][1] = static_cast<int>(head.y) >> 16;
    }
    int p[4];
    int m[4];
    multiply_step<type>(w, x, t, p, m);
    const bool block_ends = in_block + 1 == layout.n_steps;
    float d[2] = {0.0f, 0.0f};
    float minimum[2] = {0.0f, 0.0f};
    if (block_ends) {
      d[0] = block_scale<type>(w0 + at, g);
      d[1] = block_scale<type>(w1 + at, g);
      if constexpr (layout.has_min) {
        minimum[0] = block_minimum(w0 + at, g);
        minimum[1] = block_minimum(w1 + at, g);
      }
    }
#pragma unroll
    for (int e = 0; e < 4; e += kept_cols == 1 ? 2 : 1) {
      sums[e].template add_step<type>(p[e], m[e], x.scale[e % 2]);
      if (!block_ends) continue;
      acc[e] = sums[e].template add_to<type>(acc[e], d[e / 2], minimum[e / 2]);
      sums[e] = BlockSums();
    }
  }
  // visit(weight row, activation row, sum) for the results that this lane has.
  template <typename Visit>
  __device__ void each(uint32_t g, uint32_t t, const Visit& visit) const {
    if (kept_cols == 1 && t != 0) return;
#pragma unroll
    for (int e = 0; e < 4; e += kept_cols == 1 ? 2 : 1) {
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
  const uint32_t n_fetches = n_passes * n_stages;
  const auto tile_of = [&](uint32_t w) {
    return gated ? work.tile * 2 + w % 2 : work.tile * n_warps + w;
  };

  if (warp == n_warps) {  // brings everything
    const uint32_t w = lane / 2;
    const Matrix& matrix = gated ? products.product[w / 2 % 2].matrix : work.product->matrix;
    const uint32_t group = min(tile_of(w) * 2 + lane % 2, matrix.n_groups - 1);
    const uint8_t* const weights =
        matrix.data + work.plane_id * matrix.plane_bytes + group * matrix.group_bytes;
    const auto group_stage_bytes = [&](uint32_t k) {
      const uint32_t begin = k * kGroupBytes;
      return min(kGroupBytes, static_cast<uint32_t>(matrix.group_bytes) - begin);
    };
    const auto fetch_weights = [&](uint32_t fetch) {
      const uint32_t slot = fetch % n_ring;
      const uint32_t k = fetch % n_stages;
      const uint32_t n_bytes = group_stage_bytes(k);
      if (lane == 0) full[slot].expect(2 * n_warps * n_bytes);
      __syncwarp();
      if (lane < 2 * n_warps) {
        bulk_copy(ring + slot * stage_weights + lane * kGroupBytes, weights + k * kGroupBytes,
                  n_bytes, full[slot]);
      }
    };
    const uint32_t n_ahead = min(n_ring, n_fetches);
    for (uint32_t fetch = 0; fetch < n_ahead; ++fetch) fetch_weights(fetch);
    if (knows_plane) wait_for_previous();
    const ActivationBlock* x = nullptr;
    for (uint32_t fetch = 0; fetch < n_fetches; ++fetch) {
      const uint32_t slot = fetch % n_ring;
      const uint32_t k = fetch % n_stages;
      if (k == 0) {
        const uint32_t i = min(fetch / n_stages * kept_cols + lane % kept_cols, work.n - 1);
        x = products.x.q8 +
            size_t{work.x_row(products, i)} * (products.x.stride / kActivationBlockCols);
      }
      if (fetch >= n_ring) {
        empty[slot].wait(fetch / n_ring - 1);
        fetch_weights(fetch);
      }
      const uint32_t n_bytes =
          min(kStageSteps, n_steps - k * kStageSteps) * sizeof(ActivationBlock);
      if (lane == 0) full[slot].arrive_and_expect(kept_cols * n_bytes);
      __syncwarp();
      if (lane < kept_cols) {
        bulk_copy(x_ring + (slot * kept_cols + lane) * kStagedRowBytes, x + k * kStageSteps,
                  n_bytes, full[slot]);
      }
    }
    return;
  }

  if (knows_plane) wait_for_previous();
  const uint32_t g = lane / 4;
  const uint32_t t = lane % 4;
  for (uint32_t pass = 0; pass < n_passes; ++pass) {
    RingSums<type, kept_cols> sums;
    for (uint32_t k = 0; k < n_stages; ++k) {
      const uint32_t fetch = pass * n_stages + k;
      const uint32_t slot = fetch % n_ring;
      full[slot].wait(fetch / n_ring);
      const SharedBytes w0{ring + slot * stage_weights + warp * 2 * kGroupBytes};
      const SharedBytes w1 = w0 + kGroupBytes;
      const uint8_t* x_rows = x_ring + slot * kept_cols * kStagedRowBytes;
      const uint32_t n = min(kStageSteps, n_steps - k * kStageSteps);
      if (n == kStageSteps) {
#pragma unroll
        for (uint32_t s = 0; s < kStageSteps; ++s) sums.step(w0, w1, x_rows, s, g, t);
      } else if constexpr (kPacked<type>.n_steps == 1) {
        for (uint32_t s = 0; s < n; ++s) sums.step(w0, w1, x_rows, s, g, t);
      }
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
  constexpr uint32_t kMostShared = 200 << 10;  // of a multiprocessor, all its blocks together
  constexpr uint32_t kMultiprocessors = 132;
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

template <QuantType type>
void launch_quantised(cudaStream_t stream, ProductSet& set) {
  if (!has_few_rows(set.rows) || !fits_ring<type>(set)) return launch_blocks<type>(stream, set);
  if (set.rows.n == 1) return launch_ring<type, 1, false>(stream, set, {});
  launch_ring<type, kTileCols, false>(stream, set, {});
}

template <QuantType type>
bool launch_gated(cudaStream_t stream, ProductSet& set, const GatedRows& out) {
  if (!has_few_rows(set.rows) || !fits_ring<type>(set)) return false;
  if (set.rows.n == 1) {
    launch_ring<type, 1, true>(stream, set, out);
  } else {
    launch_ring<type, kTileCols, true>(stream, set, out);
  }
  return true;
}

}  // namespace floe::cuda

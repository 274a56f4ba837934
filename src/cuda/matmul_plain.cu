// F32, F16 and BF16 weights, and the choice between the formats.
//
// A group of 8 rows comes into shared memory by asynchronous copies, stage after stage; each warp
// then takes one activation row through it. Lane 8 * chain + r keeps the partial sum of the columns
// c with c % 4 == chain for row r: what it reads next to its neighbours is one line.
#include <algorithm>

#include "cuda/matmul.cuh"

namespace floe::cuda {

namespace {

constexpr uint32_t kPlainWarps = 8;  // activation rows of a block of threads
constexpr uint32_t kStageCols = 512;
constexpr uint32_t kStages = 4;

constexpr uint32_t stage_bytes(uint32_t element_bytes, uint32_t n_x_rows) {
  return kStageCols * (element_bytes * kRowsPerGroup + n_x_rows * 4);
}

__device__ void copy_16(uint8_t* shared, const uint8_t* global) {
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(global));
}
__device__ void commit_copies() {
  asm volatile("cp.async.commit_group;");
}
template <uint32_t n>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n));
}

template <QuantType type>
__device__ float plain_value(const uint8_t* stage, uint32_t index) {
  if constexpr (type == QuantType::F32) {
    return reinterpret_cast<const float*>(stage)[index];
  } else {
    const unsigned short bits = reinterpret_cast<const unsigned short*>(stage)[index];
    if constexpr (type == QuantType::F16) return __half2float(__ushort_as_half(bits));
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
  }
}

template <QuantType type>
__global__ void __launch_bounds__(32 * kPlainWarps)
    plain_rows(const __grid_constant__ ProductSet set) {
  extern __shared__ __align__(16) uint8_t stages[];
  constexpr uint32_t kElementBytes = type == QuantType::F32 ? 4 : 2;
  constexpr uint32_t kWeightBytes = kStageCols * kElementBytes * kRowsPerGroup;
  let_next_start();
  if (set.rows.kind != PlaneRows::Kind::single) wait_for_previous();
  Work work;
  if (!work.find(set)) return;
  const Matrix& matrix = work.product->matrix;
  const uint8_t* group = work.plane + work.tile * matrix.group_bytes;
  const uint32_t n_cols = matrix.n_cols;
  const uint32_t n_stages = (n_cols + kStageCols - 1) / kStageCols;
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t chain = lane / 8;
  const uint32_t n_x_rows = min(set.rows.n, kPlainWarps);
  const uint32_t one_stage = stage_bytes(kElementBytes, n_x_rows);
  const auto fetch_weights = [&](uint32_t s) {
    uint8_t* stage = stages + s % kStages * one_stage;
    const uint32_t n = min(kStageCols, n_cols - s * kStageCols);
    const uint32_t n_bytes = n * kElementBytes * kRowsPerGroup;
    for (uint32_t at = threadIdx.x * 16; at < n_bytes; at += blockDim.x * 16) {
      copy_16(stage + at, group + size_t{s} * kWeightBytes + at);
    }
  };
  // The first stages' weights are on their way before the kernel before has ended, and the others
  // come from the second-level cache.
  uint32_t n_fetched = 0;
  if (set.rows.kind == PlaneRows::Kind::single) {
    if (threadIdx.x == 0) prefetch_bytes(group, matrix.group_bytes);
    for (; n_fetched + 1 < kStages && n_fetched < n_stages; ++n_fetched) fetch_weights(n_fetched);
    wait_for_previous();
  }

  for (uint32_t first = blockIdx.z * kPlainWarps; first < work.n;
       first += gridDim.z * kPlainWarps) {
    const uint32_t i = first + warp;
    const bool active = i < work.n;
    const float* x = set.x.values + size_t{work.x_row(set, min(i, work.n - 1))} * set.x.stride;
    const auto fetch = [&](uint32_t s) {
      if (s < n_stages) {
        uint8_t* stage = stages + s % kStages * one_stage;
        const uint32_t n = min(kStageCols, n_cols - s * kStageCols);
        if (n_fetched == 0) {
          fetch_weights(s);
        } else {
          --n_fetched;  // they are on their way
        }
        if (active) {
          // The row's columns past n_cols are zeros up to a multiple of 32.
          uint8_t* own = stage + kWeightBytes + warp * kStageCols * 4;
          const uint32_t x_bytes = (n + 3) / 4 * 16;
          const auto* from = reinterpret_cast<const uint8_t*>(x + s * kStageCols);
          for (uint32_t at = lane * 16; at < x_bytes; at += 32 * 16) copy_16(own + at, from + at);
        }
      }
      commit_copies();
    };
    for (uint32_t s = 0; s + 1 < kStages; ++s) fetch(s);
    float sum = 0.0f;
    for (uint32_t s = 0; s < n_stages; ++s) {
      fetch(s + kStages - 1);
      wait_copies<kStages - 1>();
      __syncthreads();
      if (active) {
        const uint8_t* stage = stages + s % kStages * one_stage;
        const auto* own = reinterpret_cast<const float*>(stage + kWeightBytes) + warp * kStageCols;
        const uint32_t n = min(kStageCols, n_cols - s * kStageCols);
        uint32_t c = 0;
#pragma unroll 16
        for (; c + 4 <= n; c += 4) {
          sum = fmaf(plain_value<type>(stage, c * kRowsPerGroup + lane), own[c + chain], sum);
        }
        if (c + chain < n) {
          sum = fmaf(plain_value<type>(stage, c * kRowsPerGroup + lane), own[c + chain], sum);
        }
      }
      __syncthreads();
    }
    // (p0 + p1) + (p2 + p3)
    sum += __shfl_xor_sync(0xffffffffu, sum, 8);
    sum += __shfl_xor_sync(0xffffffffu, sum, 16);
    const uint32_t row = work.tile * kRowsPerGroup + lane;
    if (active && lane < kRowsPerGroup && row < matrix.n_rows) work.write(i, row, sum);
    wait_copies<0>();
    __syncthreads();
  }
}

template <QuantType type>
void launch_plain_type(cudaStream_t stream, ProductSet& set) {
  uint32_t n_tiles = 0;
  for (uint32_t i = 0; i < set.n; ++i) {
    n_tiles += set.product[i].matrix.n_groups;
    set.tile_end[i] = n_tiles;
  }
  const uint32_t n_row_tiles =
      set.rows.kind == PlaneRows::Kind::experts ? 1 : (set.rows.n + kPlainWarps - 1) / kPlainWarps;
  constexpr uint32_t kElementBytes = type == QuantType::F32 ? 4 : 2;
  constexpr uint32_t kMostShared = kStages * stage_bytes(kElementBytes, kPlainWarps);
  static const cudaError_t allowed = cudaFuncSetAttribute(
      plain_rows<type>, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostShared);
  (void)allowed;  // a failure shows at the launch
  const uint32_t n_x_rows = std::min(set.rows.n, kPlainWarps);
  start(stream, plain_rows<type>, dim3(n_tiles, set.rows.n_planes, n_row_tiles), 32 * kPlainWarps,
        kStages * stage_bytes(kElementBytes, n_x_rows), set);
}

}  // namespace

void launch_plain(cudaStream_t stream, QuantType type, ProductSet& set) {
  switch (type) {
    case QuantType::F32:
      return launch_plain_type<QuantType::F32>(stream, set);
    case QuantType::F16:
      return launch_plain_type<QuantType::F16>(stream, set);
    case QuantType::BF16:
      return launch_plain_type<QuantType::BF16>(stream, set);
    default:
      return;
  }
}

void matmul(cudaStream_t stream, const Product* products, uint32_t n_products,
            const ActivationRows& x, const PlaneRows& rows) {
  uint32_t done = 0;  // bit i: product i is launched
  for (uint32_t i = 0; i < n_products; ++i) {
    if ((done >> i & 1u) != 0) continue;
    const QuantType type = products[i].matrix.type;
    ProductSet set;
    set.x = x;
    set.rows = rows;
    for (uint32_t k = i; k < n_products && set.n < ProductSet::kMost; ++k) {
      if (products[k].matrix.type != type) continue;
      set.product[set.n++] = products[k];
      done |= 1u << k;
    }
    switch (type) {
      case QuantType::F32:
      case QuantType::F16:
      case QuantType::BF16:
        launch_plain(stream, type, set);
        break;
      case QuantType::Q2_K:
      case QuantType::Q3_K:
      case QuantType::Q4_K:
      case QuantType::Q5_K:
      case QuantType::Q6_K:
      case QuantType::IQ4_XS:
        launch_k(stream, type, set);
        break;
      default:
        launch_small(stream, type, set);
    }
  }
}

void matmul_gated(cudaStream_t stream, const Product& gate, const Product& up,
                  const ActivationRows& x, const PlaneRows& rows, uint32_t n_out_rows,
                  const GatedRows& out) {
  const Product products[] = {gate, up};
  const QuantType type = gate.matrix.type;
  if (up.matrix.type == type) {
    ProductSet set;
    set.x = x;
    set.rows = rows;
    set.n = 2;
    std::copy(products, products + 2, set.product);
    if (launch_small_gated(stream, type, set, out) || launch_k_gated(stream, type, set, out))
      return;
  }
  matmul(stream, products, 2, x, rows);
  activate_rows(stream, gate.out, up.out, gate.matrix.n_rows, out.stride, out.clamped, out.q8,
                n_out_rows);
}

}  // namespace floe::cuda

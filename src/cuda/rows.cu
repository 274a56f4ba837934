// What is done to one row at a time: embedding, norms, 8-bit forms, activations.
#include "cuda/start.cuh"
#include "cuda/warp.cuh"

namespace floe::cuda {

namespace {

constexpr uint32_t kThreads = 256;

__global__ void quantize_kernel(const float* values, ActivationBlock* q8, uint32_t n_blocks) {
  let_next_start();
  wait_for_previous();
  const uint32_t block = blockIdx.x * (kThreads / 32) + threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  if (block >= n_blocks) return;
  quantize_block(values[size_t{block} * 32 + lane], q8[block], lane);
}

template <QuantType type>
__global__ void embed_kernel(Matrix embedding, const RowInfo* rows, uint32_t* slot_table,
                             float* out, size_t out_stride) {
  let_next_start();
  wait_for_previous();
  const RowInfo info = rows[blockIdx.x];
  if (threadIdx.x == 0) slot_table[info.slots + info.position] = info.slot;
  const uint32_t token = static_cast<uint32_t>(info.token);
  const uint8_t* group = embedding.data + token / kRowsPerGroup * embedding.group_bytes;
  const uint32_t row = token % kRowsPerGroup;
  float* to = out + blockIdx.x * out_stride;
  for (uint32_t c = threadIdx.x; c < embedding.n_cols; c += kThreads) {
    if constexpr (type == QuantType::F32) {
      to[c] = reinterpret_cast<const float*>(group)[c * kRowsPerGroup + row];
    } else if constexpr (type == QuantType::F16) {
      to[c] = __half2float(reinterpret_cast<const __half*>(group)[c * kRowsPerGroup + row]);
    } else if constexpr (type == QuantType::BF16) {
      const unsigned short bits =
          reinterpret_cast<const unsigned short*>(group)[c * kRowsPerGroup + row];
      to[c] = __uint_as_float(static_cast<uint32_t>(bits) << 16);
    } else {
      constexpr PackedLayout layout = kPacked<type>;
      constexpr uint32_t block_cols = layout.n_steps * kStepCols;
      constexpr uint32_t block_bytes =
          layout.head_bytes + layout.n_steps * (layout.sub_bytes + plane_bytes(layout.planes));
      const uint8_t* block = group + size_t{c / block_cols} * block_bytes;
      to[c] = decode_weight<type>(block, row, c % block_cols / kStepCols, c % kStepCols);
    }
  }
}

constexpr uint32_t kFinishThreads = 1024;
constexpr uint32_t kMostActive = 64;  // experts of a row whose outputs are loaded side by side

// Columns of a thread whose loads are on their way together, and experts of a column.
constexpr uint32_t kColsTogether = 3;
constexpr uint32_t kExpertsTogether = 8;

__global__ void __launch_bounds__(kFinishThreads)
    finish_kernel(const __grid_constant__ FinishRow p) {
  extern __shared__ float x[];
  __shared__ float scale;
  __shared__ const float* outputs[kMostActive];
  __shared__ float weights[kMostActive];
  let_next_start();
  const uint32_t row = blockIdx.x;
  const uint32_t n = p.n;
  const uint32_t lane = threadIdx.x % 32;
  float* norm = x + n;  // no kernel writes it: it is on its way before the kernel before has ended
  if (p.norm != nullptr) {
    for (uint32_t c = threadIdx.x; c < n; c += kFinishThreads) norm[c] = p.norm[c];
  }
  wait_for_previous();
  float* hidden = p.hidden + size_t{row} * n;
  const bool adds = p.branch != nullptr || p.pair_outputs != nullptr;
  const uint32_t n_listed = min(p.n_active, kMostActive);
  if (p.pair_outputs != nullptr) {
    if (threadIdx.x < n_listed) {
      const uint32_t at = row * p.n_active + threadIdx.x;
      weights[threadIdx.x] = p.weights[at];
      outputs[threadIdx.x] = p.pair_outputs + size_t{p.pair_of[at]} * n;
    }
    __syncthreads();
  }
  for (uint32_t first = threadIdx.x; first < n; first += kFinishThreads * kColsTogether) {
    float value[kColsTogether];
    float branch[kColsTogether];
    float shared[kColsTogether];
    float sum[kColsTogether];
    uint32_t col[kColsTogether];
#pragma unroll
    for (uint32_t i = 0; i < kColsTogether; ++i) {
      // Columns past the end are the last one once more: they load and store nothing else.
      col[i] = min(first + i * kFinishThreads, n - 1);
      value[i] = hidden[col[i]];
      branch[i] = p.branch != nullptr ? p.branch[size_t{row} * n + col[i]] : 0.0f;
      shared[i] = p.shared != nullptr ? p.shared[size_t{row} * n + col[i]] : 0.0f;
      sum[i] = 0.0f;
    }
    if (p.pair_outputs != nullptr) {
      uint32_t j = 0;
      for (; j + kExpertsTogether <= n_listed; j += kExpertsTogether) {
        float loaded[kExpertsTogether][kColsTogether];
#pragma unroll
        for (uint32_t k = 0; k < kExpertsTogether; ++k) {
#pragma unroll
          for (uint32_t i = 0; i < kColsTogether; ++i) loaded[k][i] = outputs[j + k][col[i]];
        }
#pragma unroll
        for (uint32_t k = 0; k < kExpertsTogether; ++k) {
#pragma unroll
          for (uint32_t i = 0; i < kColsTogether; ++i) {
            sum[i] = fmaf(weights[j + k], loaded[k][i], sum[i]);
          }
        }
      }
      for (; j < p.n_active; ++j) {
        const uint32_t at = row * p.n_active + j;
        const float weight = p.weights[at];
        const float* output = p.pair_outputs + size_t{p.pair_of[at]} * n;
#pragma unroll
        for (uint32_t i = 0; i < kColsTogether; ++i) sum[i] = fmaf(weight, output[col[i]], sum[i]);
      }
    }
#pragma unroll
    for (uint32_t i = 0; i < kColsTogether; ++i) {
      if (first + i * kFinishThreads >= n) break;
      const uint32_t c = col[i];
      if (p.branch != nullptr) value[i] = value[i] + branch[i];
      if (p.pair_outputs != nullptr) {
        if (p.shared != nullptr) sum[i] = sum[i] + shared[i];
        value[i] = value[i] + sum[i];
      }
      if (adds) hidden[c] = value[i];
      for (uint32_t k = 0; k < p.n_taps; ++k) p.tap[k][row * p.tap_stride + c] = value[i];
      if (p.copy != nullptr && !p.copy_normed) p.copy[size_t{row} * n + c] = value[i];
      x[c] = value[i];
    }
  }
  if (p.norm == nullptr) return;
  __syncthreads();
  if (threadIdx.x < 32) {
    const float own = rms_scale(x, n, p.eps, lane);
    if (lane == 0) scale = own;
  }
  __syncthreads();
  float* out = p.out + row * p.out_stride;
  for (uint32_t c = threadIdx.x; c < p.out_stride; c += kFinishThreads) {
    const bool inside = c < n;
    float value = 0.0f;
    if (inside) {
      value = x[c] * scale * norm[c];
      out[c] = value;
      if (p.copy != nullptr && p.copy_normed) p.copy[size_t{row} * n + c] = value;
    }
    // out_stride is a multiple of 32: a warp is in one block, whole.
    if (p.q8 != nullptr) {
      quantize_block(value, p.q8[row * (p.out_stride / 32) + c / 32], lane);
    }
  }
}

__global__ void activate_kernel(float* gate, const float* up, uint32_t n, size_t stride,
                                bool clamped, ActivationBlock* q8) {
  let_next_start();
  wait_for_previous();
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t c = blockIdx.x * kThreads + threadIdx.x;
  if (c >= stride) return;
  const size_t at = blockIdx.y * stride + c;
  float value = 0.0f;
  if (c < n) {
    value = clamped ? swiglu_clamped(gate[at], up[at]) : swiglu(gate[at], up[at]);
    gate[at] = value;
  }
  if (q8 != nullptr) quantize_block(value, q8[at / 32], lane);
}

template <QuantType type>
void launch_embed(cudaStream_t stream, const Matrix& embedding, const RowInfo* rows,
                  uint32_t n_rows, uint32_t* slot_table, float* out, size_t out_stride) {
  start(stream, embed_kernel<type>, n_rows, kThreads, 0, embedding, rows, slot_table, out,
        out_stride);
}

}  // namespace

void quantize_rows(cudaStream_t stream, const float* values, ActivationBlock* q8, uint32_t stride,
                   uint32_t n_rows) {
  const uint32_t n_blocks = stride / 32 * n_rows;
  start(stream, quantize_kernel, (n_blocks + kThreads / 32 - 1) / (kThreads / 32), kThreads, 0,
        values, q8, n_blocks);
}

void embed_rows(cudaStream_t stream, const Matrix& embedding, const RowInfo* rows, uint32_t n_rows,
                uint32_t* slot_table, float* out, size_t out_stride) {
#define FLOE_EMBED(name)                                                                   \
  case QuantType::name:                                                                    \
    return launch_embed<QuantType::name>(stream, embedding, rows, n_rows, slot_table, out, \
                                         out_stride)
  switch (embedding.type) {
    FLOE_EMBED(F32);
    FLOE_EMBED(F16);
    FLOE_EMBED(BF16);
    FLOE_EMBED(Q4_0);
    FLOE_EMBED(Q4_1);
    FLOE_EMBED(Q5_0);
    FLOE_EMBED(Q5_1);
    FLOE_EMBED(Q8_0);
    FLOE_EMBED(Q2_K);
    FLOE_EMBED(Q3_K);
    FLOE_EMBED(Q4_K);
    FLOE_EMBED(Q5_K);
    FLOE_EMBED(Q6_K);
    FLOE_EMBED(IQ4_NL);
    FLOE_EMBED(IQ4_XS);
    FLOE_EMBED(MXFP4);
  }
#undef FLOE_EMBED
}

void finish_rows(cudaStream_t stream, const FinishRow& what, uint32_t n_rows) {
  // The row and its norm wait in shared memory, of which more than 48 KB have to be asked for.
  static const cudaError_t allowed =
      cudaFuncSetAttribute(finish_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           2 * kMaxHiddenDim * sizeof(float));
  (void)allowed;  // a failure shows at the launch
  start(stream, finish_kernel, n_rows, kFinishThreads, 2 * what.n * sizeof(float), what);
}

void activate_rows(cudaStream_t stream, float* gate, const float* up, uint32_t n, size_t stride,
                   bool clamped, ActivationBlock* q8, uint32_t n_rows) {
  const auto n_blocks = static_cast<uint32_t>((stride + kThreads - 1) / kThreads);
  start(stream, activate_kernel, dim3(n_blocks, n_rows), kThreads, 0, gate, up, n, stride, clamped,
        q8);
}

}  // namespace floe::cuda

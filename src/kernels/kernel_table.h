#pragma once
// Every numeric operation of a forward, chosen once per process for the instruction set at hand.
//
// Contract of all kernels: an output element is reduced in one order that depends on nothing but
// the element's own inputs and shape: not on how many rows are processed, how rows are grouped into
// calls, or which thread runs. All instruction sets follow the same order and use fused
// multiply-add at the same places, so they agree in every bit with the scalar reference
// (tests/kernels).
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/packed_matrix.h"
#include "quant/kv_type.h"

namespace floe {

inline constexpr uint32_t kActivationBlockCols = 32;

// 32 columns of an activation row for quantised weights. All that a kernel reads of a row lies
// behind one pointer: with one for each field, eight rows would need more registers than there are.
struct ActivationBlock {
  float scale;
  int16_t sums[2];  // of the first and of the last 16 q, for formats with an offset or a minimum;
                    // 16 bits so that they meet two 16-bit factors
  int8_t q[kActivationBlockCols];  // value / scale, |q| <= 127
};
static_assert(sizeof(ActivationBlock) == 40);

// Activation rows as matrix kernels read them. Both forms of the same n_rows vectors:
//   values  f32 [n_rows][stride]   for F32, F16 and BF16 weights
//   q8      [n_rows][stride / 32]  for quantised weights
// stride is n_cols rounded up to 32; columns past n_cols are zero. The form that the weights do not
// need may be absent.
struct ActivationRows {
  uint32_t n_cols = 0;
  uint32_t stride = 0;
  const float* values = nullptr;
  const ActivationBlock* q8 = nullptr;

  // The rows from first_row on.
  ActivationRows from(size_t first_row) const {
    return {n_cols, stride, values == nullptr ? nullptr : values + first_row * stride,
            q8 == nullptr ? nullptr : q8 + first_row * (stride / kActivationBlockCols)};
  }
};

// Cached vectors of one head: vector of slot s starts at base + s * stride_bytes.
struct KvPlane {
  const std::byte* base = nullptr;
  size_t stride_bytes = 0;
  KvType type = KvType::F16;
};

struct KernelTable {
  const char* isa;  // "reference", "avx2", ...

  // out[i * out_stride + r] = weights[plane] row r . activation row ids[i], for i in [0, n_ids) and
  // r in [group_begin * 8, min(group_end * 8, n_rows)). ids null: rows 0..n_ids-1. A weight block
  // is unpacked once for all n_ids rows it serves.
  void (*matmul)(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin,
                 uint32_t group_end, const ActivationRows& x, const uint32_t* ids, uint32_t n_ids,
                 float* out, size_t out_stride);

  // One row: q8[stride / 32] from values[stride]. Per ActivationBlock: scale = largest magnitude /
  // 127, q = value / scale to the nearest, ties to even. 32 columns that hold a NaN or an infinity
  // get scale NaN and q 0, so that what they feed becomes NaN; magnitudes below 1e-36 become 0.
  void (*quantize_row)(const float* values, uint32_t stride, ActivationBlock* q8);

  // out = x / sqrt(mean(x^2) + eps) * weight. weight null: ones. out may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, float* out, uint32_t n);
  // out = (x - mean) / sqrt(var + eps) * weight + bias.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, float* out,
                     uint32_t n);

  // Rotates the first n_pairs * 2 values of x in place. interleaved: pairs (2i, 2i+1); otherwise
  // halves (i, i + n_pairs). cos_sin f32 [n_pairs][2].
  void (*rope)(float* x, const float* cos_sin, uint32_t n_pairs, bool interleaved);

  // out = silu(gate) * up. out may be gate or up.
  void (*swiglu)(const float* gate, const float* up, float* out, uint32_t n);
  // out = g sigmoid(1.702 g) * (u + 1), g = min(gate, 7), u = up clamped to [-7, 7]. out may be
  // gate or up.
  void (*swiglu_clamped)(const float* gate, const float* up, float* out, uint32_t n);
  // out += scale * x
  void (*axpy)(float scale, const float* x, float* out, uint32_t n);
  void (*add)(const float* x, float* out, uint32_t n);  // out += x

  // x[n] <- exp(x - max) / sum, in place.
  void (*softmax)(float* x, uint32_t n);

  // Attention: a softmax over positions taken block by block (attend.h walks the blocks).
  // vectors[t] is the address of a cached vector, all of one type.
  //
  // tile[t * tile_stride ..] = the dim values of vectors[t], t in [0, n).
  void (*load_kv)(const std::byte* const* vectors, KvType type, uint32_t n, uint32_t dim,
                  float* tile, size_t tile_stride);
  // scores[h * score_stride + t] = scale * (q[h * q_stride ..] . keys[t]). F32 or F16.
  void (*attn_scores)(const float* q, size_t q_stride, uint32_t n_heads,
                      const std::byte* const* keys, KvType type, uint32_t n, uint32_t dim,
                      float scale, float* scores, size_t score_stride);
  // The next block of scores, x[h * stride + t], becomes exp(x - maxima[h]) with the largest score
  // so far, which maxima[h] becomes. factors[h] = exp(maximum before - after) is what earlier
  // weights have to be multiplied by; sums[h] = factors[h] * sums[h] + the sum of x. At the start a
  // maximum is -infinity and a sum 0. A NaN never becomes the maximum.
  void (*softmax_block)(float* x, size_t stride, uint32_t n_heads, uint32_t n, float* maxima,
                        float* sums, float* factors);
  // out[h * out_stride ..] = factors[h] * out + the sum over t, ascending, of
  // weights[h * weight_stride + t] * values[t]. F32 or F16.
  void (*attn_values)(const float* weights, size_t weight_stride, const float* factors,
                      uint32_t n_heads, const std::byte* const* values, KvType type, uint32_t n,
                      uint32_t dim, float* out, size_t out_stride);
  // scores[t] = sum over h of head_weights[h] * relu(q[h * dim ..] . keys[t])   (DSA indexer).
  // F32 or F16.
  void (*indexer_scores)(const float* q, const float* head_weights, uint32_t n_heads,
                         const std::byte* const* keys, KvType type, uint32_t n, uint32_t dim,
                         float* scores);

  // Stores n floats as the cache type at dst. Q8_0, per block: scale = f16(largest magnitude /
  // 127), at most 65504; q = value / scale to the nearest, ties to even, within +-127. A block that
  // holds a NaN or an infinity gets scale NaN and q 0.
  void (*store_kv)(const float* x, KvType type, std::byte* dst, uint32_t n);
};

// The table chosen for this machine at first use: the first of machine_kernels(), or the one that
// the environment's FLOE_ISA names.
const KernelTable& kernels();
const KernelTable& reference_kernels();
// nullptr where the machine or the build lacks the instruction set.
const KernelTable* find_kernels(const char* isa);
// Every table of this build that this machine can run, best first, the reference last.
std::vector<const KernelTable*> machine_kernels();

}  // namespace floe

#pragma once
// The kernels of the card, as the host starts them. All addresses are the device's; all sizes that
// are not given as addresses are fixed when a forward is built, so that it can be a graph.
//
// Orders of operations are numeric_order.h's: every function here gives the bits of its namesake in
// KernelTable. Calls are asynchronous on the stream; errors surface at the next check().
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "quant/format.h"

namespace floe::cuda {

// What the rows of a forward are.
struct RowInfo {
  int32_t token;
  uint32_t position;
  uint32_t slots;  // where the row's sequence begins in the slot table
  uint32_t slot;   // its own
};

// A PackedMatrix whose data lies on the device.
struct Matrix {
  QuantType type = QuantType::F32;
  uint32_t n_cols = 0;
  uint32_t n_rows = 0;
  uint32_t n_groups = 0;
  size_t group_bytes = 0;
  size_t plane_bytes = 0;
  const uint8_t* data = nullptr;
};

// Which activation rows meet which plane of a stack.
struct PlaneRows {
  enum class Kind : uint8_t {
    single,   // plane 0, rows 0..n-1
    heads,    // plane p: rows p * n .. p * n + n-1, results at out + p * plane_stride
    experts,  // plane used[y]: pairs begin[plane] .. begin[plane + 1]-1 of the sorted pairs
  };
  Kind kind = Kind::single;
  uint32_t n = 0;         // rows of a plane; of experts: at most
  uint32_t n_planes = 1;  // heads; experts: the most that can be used
  size_t plane_stride = 0;
  // experts
  const uint32_t* used = nullptr;
  const uint32_t* n_used = nullptr;
  const uint32_t* begin = nullptr;
  const uint32_t* row_of_pair = nullptr;  // null: the pair's own row
};

// out[i * out_stride + r] = row r of the matrix . activation row i + bias[r].
struct Product {
  Matrix matrix;
  float* out = nullptr;
  size_t out_stride = 0;
  const float* bias = nullptr;    // [planes][n_rows]; null: none
  const uint32_t* ids = nullptr;  // of PlaneRows::single: row of the i-th result; null: i
};

// Products of the same activation rows, in one launch for each weight format among them.
void matmul(cudaStream_t stream, const Product* products, uint32_t n_products,
            const ActivationRows& x, const PlaneRows& rows);

// What becomes of a gate and its up product.
struct GatedRows {
  float* values = nullptr;        // [rows][stride]
  ActivationBlock* q8 = nullptr;  // [rows][stride / 32]; null: the values are what is read
  uint32_t stride = 0;            // the products' rows rounded up to 32
  bool clamped = false;           // the activation
};
// The activation of gate and up of the same activation rows, in the form that out asks for; in one
// launch where few rows allow it. The products' own results are scratch, and out.values is gate's.
void matmul_gated(cudaStream_t stream, const Product& gate, const Product& up,
                  const ActivationRows& x, const PlaneRows& rows, uint32_t n_out_rows,
                  const GatedRows& out);

// rows x stride floats at values -> 8-bit form.
void quantize_rows(cudaStream_t stream, const float* values, ActivationBlock* q8, uint32_t stride,
                   uint32_t n_rows);

// out[i] = the embedding of rows[i].token; the rows' own slots go into the slot table.
void embed_rows(cudaStream_t stream, const Matrix& embedding, const RowInfo* rows, uint32_t n_rows,
                uint32_t* slot_table, float* out, size_t out_stride);

// Of finish_rows().
inline constexpr uint32_t kMaxHiddenDim = 24576;

// What the steps between a layer's halves do to a row: add a branch or the outputs of experts to
// the residual stream, keep what taps ask for, norm it, quantise it.
struct FinishRow {
  uint32_t n = 0;                 // hidden_dim
  float* hidden = nullptr;        // [rows][n], updated unless nothing is added
  const float* branch = nullptr;  // [rows][n], added; null: none
  // Outputs of experts, added in rank order before the shared one's; null: none.
  const float* pair_outputs = nullptr;  // [pairs][n]
  const uint32_t* pair_of = nullptr;    // [rows][n_active]
  const float* weights = nullptr;       // [rows][n_active]
  uint32_t n_active = 0;
  const float* shared = nullptr;  // [rows][n]; null: none
  float* tap[3] = {};             // + row * tap_stride: copies of the row so far
  uint32_t n_taps = 0;
  size_t tap_stride = 0;
  const float* norm = nullptr;  // [n]; null: no norm, and no output
  float eps = 0.0f;
  float* out = nullptr;  // [rows][out_stride]
  size_t out_stride = 0;
  ActivationBlock* q8 = nullptr;  // [rows][out_stride / 32]; null: not needed
  float* copy = nullptr;          // [rows][n]: the normed row once more, or the row before it
  bool copy_normed = true;
};
void finish_rows(cudaStream_t stream, const FinishRow& what, uint32_t n_rows);

// gate <- activation of gate and up, and its 8-bit form (null: not needed).
void activate_rows(cudaStream_t stream, float* gate, const float* up, uint32_t n, size_t stride,
                   bool clamped, ActivationBlock* q8, uint32_t n_rows);

struct CachePlane {
  std::byte* base = nullptr;  // [heads][n_slots] vectors
  size_t stride_bytes = 0;    // of a slot
  size_t head_bytes = 0;      // of a head's slots
  KvType type = KvType::F16;
};

struct Rotation {
  const float* cos_sin = nullptr;  // [positions][n_pairs][2]
  uint32_t n_pairs = 0;
  bool interleaved = false;
};

struct GqaStore {
  uint32_t n_heads, n_kv_heads, key_dim, value_dim;
  float* queries;       // [rows][n_heads * key_dim], normed and rotated in place
  const float* keys;    // [rows][n_kv_heads * key_dim]
  const float* values;  // [rows][n_kv_heads * value_dim]
  const float* q_norm;  // null: none
  const float* k_norm;
  float eps;
  Rotation rotation;
  CachePlane key_plane, value_plane;
};
void store_gqa(cudaStream_t stream, const GqaStore& what, const RowInfo* rows, uint32_t n_rows);

struct MlaStore {
  uint32_t kv_lora_dim, rope_dim;
  float* latents;  // [rows][kv_lora_dim + rope_dim]
  const float* norm;
  float eps;
  Rotation rotation;
  CachePlane plane;
  // The indexer's, where the layer has one; else keys null.
  float* indexer_keys;  // [rows][indexer_dim]
  const float* indexer_norm;
  const float* indexer_bias;
  float indexer_eps;
  uint32_t indexer_dim, indexer_heads;
  bool indexer_interleaved;
  float* indexer_weights;  // [rows][indexer_heads], multiplied by indexer_scale
  float indexer_scale;
  CachePlane indexer_plane;
};
void store_mla(cudaStream_t stream, const MlaStore& what, const RowInfo* rows, uint32_t n_rows);

// Per (head, row): q_nope[head * n_rows + row] and its 8-bit form (null: not needed), and the
// rotated rest behind the kv_lora_dim values of absorbed[row][head].
struct SplitQueries {
  uint32_t n_heads, nope_dim, rope_dim, kv_lora_dim;
  const float* queries;  // [rows][n_heads * (nope + rope)]
  float* q_nope;
  size_t nope_stride;
  ActivationBlock* q8;
  float* absorbed;  // [rows][n_heads][kv_lora + rope]
  Rotation rotation;
};
void split_queries(cudaStream_t stream, const SplitQueries& what, const RowInfo* rows,
                   uint32_t n_rows);

// The indexer of rows that see more than top_k positions: rotates their queries, scores every
// position, and writes the slots of the best to selected.
struct IndexerPass {
  uint32_t n_heads, key_dim, top_k;
  float* queries;        // [rows][n_heads * key_dim]
  const float* weights;  // [rows][n_heads]
  Rotation rotation;
  CachePlane plane;
  const uint32_t* slots;
  float* scores;  // [score_rows][score_stride]
  size_t score_stride;
  uint32_t score_rows;  // rows scored at once
  uint32_t* selected;   // [rows][selected_stride]
  size_t selected_stride;
  uint32_t max_visible;  // of the batch, at most
};
void select_positions(cudaStream_t stream, const IndexerPass& what, const RowInfo* rows,
                      uint32_t n_rows);

// More rows need the registers that it takes.
inline constexpr uint32_t kMostAttendedQ8Rows = 32;

struct Attention {
  uint32_t n_heads, heads_per_kv, key_dim, value_dim;
  float scale;
  const float* sinks;    // [n_heads]; null: none
  uint32_t window;       // 0: none
  const float* queries;  // + row * query_stride + head * key_dim
  size_t query_stride;
  float* out;  // + row * row_stride + head * head_stride
  size_t row_stride, head_stride;
  // The 8-bit form of out, of at most kMostAttendedQ8Rows rows, where the strides and value_dim are
  // multiples of 32; null: not needed.
  ActivationBlock* q8;
  CachePlane keys, values;  // values.base null: the first value_dim of the keys
  const uint32_t* slots;
  // Rows that see more than top_k positions attend to selected[row]; null: none do.
  const uint32_t* selected;
  size_t selected_stride;
  uint32_t top_k;
  // Spans taken side by side, from span 0 on; 1: one item takes all.
  uint32_t n_spans;
  float* parts;  // [rows][n_heads][n_spans][attend_part_size(value_dim)]
};
void attend(cudaStream_t stream, const Attention& what, const RowInfo* rows, uint32_t n_rows);

struct Routing {
  uint32_t n_experts, n_active;
  uint8_t gating;  // floe::Gating
  const float* correction_bias;
  uint32_t n_groups, n_active_groups;
  bool normalise;
  float scale;
  const float* logits;  // [rows][n_experts]
  uint32_t* chosen;     // [rows][n_active]
  float* weights;       // [rows][n_active]
  // The pairs sorted by expert.
  uint32_t* pair_of;      // [rows][n_active]
  uint32_t* row_of_pair;  // [rows * n_active]
  uint32_t* begin;        // [n_experts + 1]
  uint32_t* used;         // [n_experts]
  uint32_t* n_used;
  // chosen and n_used once more, for the host.
  uint32_t* chosen_result;
  uint32_t* n_used_result;
};
void route(cudaStream_t stream, const Routing& what, uint32_t n_rows);

// Slots that changed since the last forward.
struct SlotEdit {
  uint32_t at;  // in the slot table
  uint32_t n;
  uint32_t source;  // in the uploaded slots
  uint32_t reserved;
};
void edit_slots(cudaStream_t stream, const SlotEdit* edits, uint32_t n_edits,
                const uint32_t* source, uint32_t* slots);

// Fills n_bytes of vectors of a cache type with NaN.
void fill_nan(cudaStream_t stream, std::byte* at, size_t n_bytes, KvType type);

// Reads n_bytes (a multiple of 16) once, as fast as the card can; for measuring.
void read_all(cudaStream_t stream, const std::byte* data, size_t n_bytes, uint64_t* sum);

}  // namespace floe::cuda

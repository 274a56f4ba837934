#pragma once
// The memory a forward works in, carved once from one buffer by reserve().
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/memory.h"
#include "kernels/kernel_table.h"
#include "model/model.h"
#include "model/row_blocks.h"

namespace floe {

struct Network;

// Rows of activations in the forms that matrix kernels read. The columns past n_cols are zero from
// the start and never written, so every buffer keeps one width for its life.
struct ActivationBuffer {
  uint32_t n_cols = 0;
  uint32_t stride = 0;            // n_cols rounded up to 32
  float* values = nullptr;        // f32 [n_rows][stride]
  ActivationBlock* q8 = nullptr;  // [n_rows][stride / 32]

  float* row(size_t index) const { return values + index * stride; }
  // The rows from first_row on.
  ActivationRows rows(size_t first_row = 0) const {
    return ActivationRows{n_cols, stride, values, q8}.from(first_row);
  }
  // Fills the 8-bit form of columns [col_begin, col_end) of a row; col_begin is a multiple of 32,
  // col_end too unless it is n_cols.
  void quantize(const KernelTable& kernels, size_t index, uint32_t col_begin,
                uint32_t col_end) const {
    const size_t at = index * stride + col_begin;
    const uint32_t width = ((col_end + 31) & ~31u) - col_begin;
    kernels.quantize_row(values + at, width, q8 + at / kActivationBlockCols);
  }
  void quantize(const KernelTable& kernels, size_t index) const {
    quantize(kernels, index, 0, n_cols);
  }
};

// Sizes of the widest layer. R = max_rows of the limits; a field is null where no layer needs it.
struct Workspace {
  uint32_t max_rows = 0;
  uint32_t max_logit_rows = 0;
  uint32_t max_context = 0;
  uint32_t hidden_dim = 0;
  uint32_t score_stride = 0;  // max_context rounded up to 16, where there is an indexer

  float* hidden = nullptr;   // f32 [R][hidden_dim], the residual stream
  float* branch = nullptr;   // f32 [R][hidden_dim], what attention or a dense FFN adds to it
  float* cos_sin = nullptr;  // f32 [R][n_pairs][2]
  ActivationBuffer input;    // [R][hidden_dim], the normed input of attention, FFN or lm_head
  // What draft heads read: [R][2 * hidden_dim], an embedding and a hidden state side by side.
  ActivationBuffer joined_input;
  ActivationBuffer fused_taps;          // [R][kTaps * hidden_dim of the trunk], of an EAGLE-3 head
  std::optional<TapLayers> tap_layers;  // as in the limits
  float* taps = nullptr;                // f32 [R][kTaps * hidden_dim], as ForwardOutput::taps

  // GQA: queries, keys, values. MLA: queries, the latent row with its rotary part in keys.
  float* queries = nullptr;
  float* keys = nullptr;
  float* values = nullptr;
  ActivationBuffer attention;  // [R][n_heads * value_dim], input of the output projection

  // MLA
  float* q_lora_raw = nullptr;       // f32 [R][q_lora_dim]
  ActivationBuffer q_lora;           // [R][q_lora_dim], normed
  ActivationBuffer q_nope;           // [n_heads * R][nope_dim]: rows of one head stand together
  float* absorbed = nullptr;         // f32 [R][n_heads][kv_lora_dim + rope_dim]
  ActivationBuffer context;          // [n_heads * R][kv_lora_dim]: rows of one head stand together
  float* indexer_queries = nullptr;  // f32 [R][n_indexer_heads * indexer_dim]
  float* indexer_keys = nullptr;     // f32 [R][indexer_dim]
  float* indexer_weights = nullptr;  // f32 [R][n_indexer_heads]
  uint32_t* selected = nullptr;      // u32 [R][top_k], cache slots in ascending position
  uint32_t selected_stride = 0;

  // Of attention in spans: f32 [R][n_heads][spans][attend_part_size], where it fits.
  static constexpr uint64_t kAttendPartsSize = uint64_t{1} << 20;
  float* attend_parts = nullptr;
  uint64_t attend_parts_size = 0;

  // FFN. A pair is a (row, chosen expert); pairs are sorted by expert.
  ActivationBuffer dense_inner;    // [R][ffn_dim]
  ActivationBuffer shared_inner;   // [R][shared ffn_dim]
  ActivationBuffer routed_inner;   // [R * n_active][expert_ffn_dim]
  float* router_logits = nullptr;  // f32 [R][n_experts]
  uint32_t router_stride = 0;
  uint32_t* chosen = nullptr;        // u32 [R][n_active], experts in rank order
  float* chosen_weights = nullptr;   // f32 [R][n_active]
  uint32_t* pair_of = nullptr;       // u32 [R][n_active], position among the sorted pairs
  uint32_t* pair_rows = nullptr;     // u32 [R * n_active], row of a sorted pair
  uint32_t* expert_begin = nullptr;  // u32 [n_experts + 1], first sorted pair of each expert
  uint32_t* used_experts = nullptr;  // u32 [n_experts], experts with pairs, ascending
  float* pair_outputs = nullptr;     // f32 [R * n_active][hidden_dim]
  float* shared_outputs = nullptr;   // f32 [R][hidden_dim]

  float* indexer_scores = nullptr;  // f32 [kIndexerRows][score_stride]

  // Per worker, at worker * the size named.
  uint32_t attend_key_dim = 0;  // of the widest layer, as attend_value_dim
  uint32_t attend_value_dim = 0;
  float* attend_memory = nullptr;  // f32 [AttendScratch::size]
  uint64_t* ranking = nullptr;     // u64 [score_stride], only with an indexer
  float* up = nullptr;             // f32 [kUpRows][up_stride]
  uint32_t up_stride = 0;
  float* router_scratch = nullptr;  // f32 [3][router_stride]

  uint32_t* logit_rows = nullptr;           // u32 [max_logit_rows], rows that want logits
  float* logits = nullptr;                  // f32 [max_logit_rows][n_vocab]
  float* output_hidden = nullptr;           // f32 [R][hidden_dim]
  RowBlocks row_blocks;                     // of the batch
  std::vector<uint32_t> last_rows;          // the last row of each sequence of the batch
  std::vector<uint32_t> first_rows;         // its first row, in the same order
  std::vector<uint32_t> index_of_sequence;  // scratch for both
  std::vector<ForwardRow> wanted_rows;      // as keep_wanted() returns them

  HugeBuffer buffer;

  static constexpr uint32_t kIndexerRows =
      RowBlocks::kMaxRows;                 // whose positions are scored at once
  static constexpr uint32_t kUpRows = 32;  // FFN rows that share an unpacked tile

  AttendScratch attend_scratch(uint32_t worker) const {
    return AttendScratch(
        attend_memory + worker * AttendScratch::size(attend_key_dim, attend_value_dim),
        attend_key_dim, attend_value_dim);
  }

  // Checks a batch, and notes which rows stand together and which want logits: their number is
  // returned. Tokens are below n_vocab.
  uint32_t prepare(const ForwardBatch& batch, uint32_t n_vocab);

  // Prepares for the rows of a prepared batch that want logits, and for them alone: their `hidden`
  // moves to the front.
  ForwardBatch keep_wanted(const ForwardBatch& batch, uint32_t n_vocab);

  // Fails with ErrorKind::memory, naming the bytes needed.
  static Result<Workspace> create(const Network& network, const ForwardLimits& limits,
                                  uint32_t n_workers);
};

}  // namespace floe

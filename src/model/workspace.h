#pragma once
// The memory a forward works in, laid out once in one buffer by reserve(): what every layer uses,
// and what each kind of layer asks for itself.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
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

// The bounds that arrays are sized by.
struct WorkspaceLimits {
  uint32_t max_rows = 0;
  uint32_t max_logit_rows = 0;
  uint32_t max_context = 0;
  uint32_t n_workers = 1;
  uint32_t hidden_dim = 0;
};

// Lays arrays out one after the other, each on its own cache lines. Without a base it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  uint64_t size_bytes() const { return offset_; }

  template <typename T>
  void array(T*& target, uint64_t n) {
    if (n == 0) return;
    if (base_ != nullptr) target = reinterpret_cast<T*>(base_ + offset_);
    offset_ += (n * sizeof(T) + 63) / 64 * 64;
  }

  void activations(ActivationBuffer& target, uint64_t n_rows, uint32_t n_cols) {
    target.n_cols = n_cols;
    target.stride = (n_cols + 31) & ~31u;
    const uint64_t n = n_rows * target.stride;
    array(target.values, n);
    array(target.q8, n / kActivationBlockCols);
  }

 private:
  std::byte* base_;
  uint64_t offset_ = 0;
};

// Memory that the layers of one kind share, since one layer runs at a time: a kind derives its own,
// with the largest of its layers' widths in it, and lays its arrays out by them.
class LayerScratch {
 public:
  virtual ~LayerScratch() = default;
  // Called twice: by a carver that only counts, and by one that hands out the memory.
  virtual void carve(Carver& carver, const WorkspaceLimits& limits) = 0;
};

inline void widen(uint32_t& width, uint32_t layer_width) {
  width = std::max(width, layer_width);
}
// Of an activation buffer, which keeps one width: every layer that uses it must agree.
void same_width(uint32_t& width, uint32_t layer_width);

// The scratch of every kind of layer that a network has, one of each type.
class LayerScratches {
 public:
  // Makes it where it is not there yet.
  template <typename Scratch>
  Scratch& add() {
    for (const Entry& entry : entries_) {
      if (entry.type == &kType<Scratch>) return static_cast<Scratch&>(*entry.scratch);
    }
    entries_.push_back({&kType<Scratch>, std::make_unique<Scratch>()});
    return static_cast<Scratch&>(*entries_.back().scratch);
  }
  // One that a layer has added.
  template <typename Scratch>
  Scratch& get() const {
    size_t i = 0;
    while (entries_[i].type != &kType<Scratch>) ++i;
    return static_cast<Scratch&>(*entries_[i].scratch);
  }
  void carve(Carver& carver, const WorkspaceLimits& limits) {
    for (const Entry& entry : entries_) entry.scratch->carve(carver, limits);
  }

 private:
  template <typename Scratch>
  static constexpr char kType = 0;  // its address tells types apart
  struct Entry {
    const char* type;
    std::unique_ptr<LayerScratch> scratch;
  };
  std::vector<Entry> entries_;
};

// R = max_rows of the limits; a field is null where the network needs none.
struct Workspace {
  WorkspaceLimits limits;

  float* hidden = nullptr;   // f32 [R][hidden_dim], the residual stream
  float* branch = nullptr;   // f32 [R][hidden_dim], what attention or a dense FFN adds to it
  float* cos_sin = nullptr;  // f32 [R][n_pairs][2]
  ActivationBuffer input;    // [R][hidden_dim], the normed input of attention, FFN or lm_head
  LayerScratches scratches;
  // What draft heads read: [R][2 * hidden_dim], an embedding and a hidden state side by side.
  ActivationBuffer joined_input;
  ActivationBuffer fused_taps;          // [R][kTaps * hidden_dim of the trunk], of an EAGLE-3 head
  std::optional<TapLayers> tap_layers;  // as in the limits
  float* taps = nullptr;                // f32 [R][kTaps * hidden_dim], as ForwardOutput::taps

  uint32_t* logit_rows = nullptr;  // u32 [max_logit_rows], rows that want logits
  float* logits = nullptr;         // f32 [max_logit_rows][n_vocab]
  float* output_hidden = nullptr;  // f32 [R][hidden_dim]

  RowBlocks row_blocks;                     // of the batch
  std::vector<uint32_t> last_rows;          // the last row of each sequence of the batch
  std::vector<uint32_t> first_rows;         // its first row, in the same order
  std::vector<uint32_t> index_of_sequence;  // scratch for both
  std::vector<ForwardRow> wanted_rows;      // as keep_wanted() returns them

  HugeBuffer buffer;

  // Checks a batch, and notes which rows stand together and which want logits: their number is
  // returned. Tokens are below n_vocab.
  uint32_t prepare(const ForwardBatch& batch, uint32_t n_vocab);

  // Prepares for the rows of a prepared batch that want logits, and for them alone: their `hidden`
  // moves to the front.
  ForwardBatch keep_wanted(const ForwardBatch& batch, uint32_t n_vocab);

  // What create() will allocate.
  static uint64_t bytes_of(const Network& network, const ForwardLimits& limits, uint32_t n_workers);
  // Fails with ErrorKind::memory, naming the bytes needed.
  static Result<Workspace> create(const Network& network, const ForwardLimits& limits,
                                  uint32_t n_workers);
};

}  // namespace floe

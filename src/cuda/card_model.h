#pragma once
// The forward of every architecture on a card: Decoder's walk over the layers of a Network, with
// the same steps in the same order, as kernels on one stream. Few rows run as a graph, which is
// recorded once for each number of rows.
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cuda/card_cache.h"
#include "cuda/card_workspace.h"
#include "cuda/device.h"
#include "cuda/launch.h"
#include "cuda/layer_kinds.h"
#include "model/load.h"
#include "model/model.h"

namespace floe::cuda {

class CardModel final : public Model {
 public:
  // Uploads the weights; the host's go when that is done.
  static Result<std::unique_ptr<CardModel>> create(LoadedNetwork loaded, ThreadPool& pool,
                                                   uint32_t index);
  ~CardModel() override;

  const ModelInfo& info() const override { return info_; }
  Result<void> reserve(const ForwardLimits& limits) override;
  KvCacheBytes cache_bytes(KvTypes types) const override;
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override;
  uint64_t cache_fingerprint(KvTypes types) const override;
  Result<ForwardOutput> forward(const ForwardBatch& batch) override;
  Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float* hidden) override;
  void embed(int32_t token, float* out) const override;
  // Not in this process's memory.
  std::span<const std::byte> weights() const override { return {}; }
  double read_bandwidth() const override;

 private:
  // What decides which kernels a forward starts, and with which arguments: the key of a graph.
  struct Shape {
    const CardKvCache* cache = nullptr;
    bool mtp = false;
    uint32_t n_rows = 0;
    uint32_t n_logit_rows = 0;
    uint32_t n_logits = 0;     // of a row that wants them
    uint32_t n_spans = 1;      // that attention takes side by side
    uint32_t max_visible = 0;  // at most; only where a layer has an indexer

    auto operator<=>(const Shape&) const = default;
  };

  // Where a sequence of the batch stands in the slot table, and what its rows are.
  static constexpr uint32_t kNowhere = UINT32_MAX;
  struct Place {
    uint32_t index = kNowhere;
    uint32_t first_position = 0;
    uint32_t last_position = 0;
  };

  CardModel(LoadedNetwork loaded, ThreadPool& pool, uint32_t index);
  Result<void> upload();
  Result<void> fill_positions(uint32_t max_context);

  // Addresses of the device for those of the host's weights.
  Matrix matrix(const PackedMatrix& packed) const;
  const float* vector(const float* host) const;
  template <typename T>
  const T* moved(const T* host) const;

  // hidden: of forward_mtp(); null: the trunk's.
  Result<ForwardOutput> forward_rows(const ForwardBatch& batch, const float* hidden);
  Result<ForwardOutput> try_forward(const ForwardBatch& batch, const float* hidden);
  // Checks and uploads the rows and the slots that changed.
  Result<Shape> prepare(const ForwardBatch& batch, bool mtp);
  Result<void> upload_rows(const ForwardBatch& batch, Shape& shape);
  uint32_t spans_side_by_side(uint32_t n_rows, uint32_t most_visible) const;
  Result<void> make_results(const ForwardLimits& limits);
  Result<void> grow_slot_table(uint32_t n_sequences);
  void drop_graphs();
  Result<cudaGraphExec_t> record(const Shape& shape);
  // Runs the shape's kernels, as a graph where it has few rows.
  Result<void> run(const Shape& shape);
  ForwardOutput collect(const ForwardBatch& batch, const Shape& shape);
  ByteLedger count(const ForwardBatch& batch, const Shape& shape) const;

  void walk(const Shape& shape);
  void walk_layer(const Shape& shape, uint32_t index);
  void attend_gqa(const Shape& shape, const GqaAttention& a, uint32_t layer);
  void attend_mla(const Shape& shape, const MlaAttention& a, uint32_t layer);
  void run_ffn(const Shape& shape, const GatedFfn& ffn, const ActivationBuffer& inner, float* out);
  void run_moe(const Shape& shape, const MoeFfn& moe, uint32_t moe_index);
  void join_mtp(const Shape& shape);
  // Adds what the layer's second half gave (null: none), then norms for whoever comes next.
  void finish(const Shape& shape, const Layer* layer, FinishRow what);
  void project_logits(const Shape& shape);
  Rotation rotation(bool interleaved) const;
  uint32_t* slot_table() const { return reinterpret_cast<uint32_t*>(slot_table_.data()); }
  PlaneRows all_rows(const Shape& shape) const;

  ModelInfo info_;
  std::unique_ptr<Network> network_;
  const uint64_t hyperparameters_hash_;
  HugeBuffer host_weights_;  // until they are uploaded
  const std::byte* host_base_ = nullptr;
  std::vector<KvLayerSpec> layout_;
  ThreadPool& pool_;
  const uint32_t index_;
  std::vector<std::byte> embedding_bytes_;  // of the token embedding, for embed()
  PackedMatrix embedding_;
  std::vector<uint32_t> moe_index_;  // of each layer that has experts, among those that have
  uint32_t next_moe_index_ = 0;

  DeviceMemory weights_;
  cudaStream_t stream_ = nullptr;
  CardWorkspace ws_;
  std::optional<TapLayers> tap_layers_;
  DeviceMemory cos_sin_;  // f32 [max_context][n_pairs][2]

  // Uploaded with every forward: rows, rows that want logits, edits of the slot table, their slots.
  PinnedMemory staging_;
  DeviceMemory uploaded_;
  const RowInfo* rows_ = nullptr;  // of the device, in uploaded_
  const uint32_t* logit_rows_ = nullptr;
  DeviceMemory slot_table_;      // u32 [sequences][max_context]
  std::vector<uint32_t> slots_;  // what it holds; kNowhere: unknown
  uint32_t n_sequences_ = 0;     // it has room for
  std::vector<Place> places_;    // of the batch's sequences
  uint32_t n_places_ = 0;        // sequences that have rows

  // What kernels write into this process's memory themselves, for the host to read behind a
  // forward.
  struct Results {
    float* logits = nullptr;
    float* hidden = nullptr;
    float* taps = nullptr;       // null: none
    uint32_t* n_used = nullptr;  // [MoE layers], the size of each layer's union
    uint32_t* chosen = nullptr;  // as CardWorkspace::chosen
  };
  PinnedMemory result_memory_;
  Results results_;
  std::vector<float> wanted_hidden_;
  std::map<Shape, cudaGraphExec_t> graphs_;
  mutable std::optional<uint64_t> weights_hash_;
};

}  // namespace floe::cuda

#include "cuda/card_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "cuda/cards.h"
#include "kernels/attend.h"
#include "model/fingerprint.h"

namespace floe {

Result<std::unique_ptr<Model>> load_card_model(const std::string& path, const ModelOptions& options,
                                               ThreadPool& pool, uint32_t index) {
  const std::vector<CardInfo> cards = list_cards();
  if (index >= cards.size()) {
    return usage_error("--device cuda:{}: {}", index,
                       cards.empty()
                           ? std::string("this machine has no card that CUDA can use")
                           : fmt::format("this machine has cards 0 to {}", cards.size() - 1));
  }
  FLOE_TRY(LoadedNetwork loaded, load_network(path, options, pool));
  loaded.info.device = fmt::format("cuda:{} {}", index, cards[index].name);
  FLOE_TRY(auto model, cuda::CardModel::create(std::move(loaded), pool, index));
  return std::unique_ptr<Model>(std::move(model));
}

}  // namespace floe

namespace floe::cuda {

namespace {

// Forwards of at most this many rows run as graphs.
constexpr uint32_t kGraphRows = 64;
// Graphs that are kept; with more shapes than these they start anew.
constexpr size_t kMostGraphs = 256;
// Slots that one upload carries; longer edits are copied by themselves.
constexpr uint32_t kUploadSlots = 16384;
constexpr uint32_t kFirstSequences = 16;

size_t align_up(size_t value) {
  return (value + 255) & ~size_t{255};
}

// Where the parts of an upload begin.
struct UploadLayout {
  size_t logit_rows, edits, slots, size;

  UploadLayout(uint32_t max_rows, uint32_t max_logit_rows) {
    logit_rows = align_up(max_rows * sizeof(RowInfo));
    edits = align_up(logit_rows + max_logit_rows * sizeof(uint32_t));
    slots = align_up(edits + max_rows * sizeof(SlotEdit));
    size = slots + kUploadSlots * sizeof(uint32_t);
  }
};

}  // namespace

CardModel::CardModel(LoadedNetwork loaded, ThreadPool& pool, uint32_t index)
    : info_(std::move(loaded.info)),
      network_(std::move(loaded.network)),
      hyperparameters_hash_(loaded.hyperparameters_hash),
      host_weights_(std::move(loaded.weights)),
      host_base_(host_weights_.data()),
      pool_(pool),
      index_(index) {
  for (const Layer& layer : network_->layers) {
    layout_.push_back(layer.attention->cache_spec());
    const bool has_experts = layer.ffn->routing().n_experts != 0;
    moe_index_.push_back(next_moe_index_);
    if (has_experts) ++next_moe_index_;
  }
}

CardModel::~CardModel() {
  for (const auto& [shape, graph] : graphs_) cudaGraphExecDestroy(graph);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Result<std::unique_ptr<CardModel>> CardModel::create(LoadedNetwork loaded, ThreadPool& pool,
                                                     uint32_t index) {
  FLOE_TRY_VOID(check_layers(*loaded.network, loaded.info.name));
  if (loaded.network->hidden_dim > kMaxHiddenDim) {
    return model_error("{}: embedding_length: expected at most {} on a card, found {}",
                       loaded.info.name, kMaxHiddenDim, loaded.network->hidden_dim);
  }
  auto model = std::unique_ptr<CardModel>(new CardModel(std::move(loaded), pool, index));
  FLOE_TRY_VOID(model->upload());
  return model;
}

Result<void> CardModel::upload() {
  FLOE_TRY_VOID(check(cudaSetDevice(static_cast<int>(index_)), "cudaSetDevice"));
  FLOE_TRY_VOID(
      check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"));
  FLOE_TRY(weights_, DeviceMemory::allocate(
                         host_weights_.size_bytes(),
                         fmt::format("--device cuda:{}: the weights of {}", index_, info_.name)));
  FLOE_TRY_VOID(check(cudaMemcpy(weights_.data(), host_weights_.data(), host_weights_.size_bytes(),
                                 cudaMemcpyHostToDevice),
                      "uploading the weights"));
  embedding_ = network_->token_embedding;
  embedding_bytes_.assign(embedding_.data, embedding_.data + embedding_.size_bytes());
  embedding_.data = embedding_bytes_.data();
  host_weights_ = HugeBuffer();
  return {};
}

template <typename T>
const T* CardModel::moved(const T* host) const {
  if (host == nullptr) return nullptr;
  const auto offset = reinterpret_cast<const std::byte*>(host) - host_base_;
  return reinterpret_cast<const T*>(weights_.data() + offset);
}

Matrix CardModel::matrix(const PackedMatrix& packed) const {
  Matrix matrix;
  matrix.type = packed.type;
  matrix.n_cols = packed.n_cols;
  matrix.n_rows = packed.n_rows;
  matrix.n_groups = packed.n_groups;
  matrix.group_bytes = packed.group_bytes;
  matrix.plane_bytes = packed.plane_bytes();
  matrix.data = reinterpret_cast<const uint8_t*>(moved(packed.data));
  return matrix;
}

const float* CardModel::vector(const float* host) const {
  return moved(host);
}

Result<void> CardModel::fill_positions(uint32_t max_context) {
  const RopeFrequencies& rope = network_->rope;
  const size_t stride = size_t{rope.n_pairs()} * 2;
  FLOE_TRY(HugeBuffer table, HugeBuffer::allocate(max_context * stride * sizeof(float)));
  auto* cos_sin = reinterpret_cast<float*>(table.data());
  pool_.run([&](Worker& worker) {
    worker.chunks(max_context, 64, [&](uint32_t begin, uint32_t end) {
      for (uint32_t p = begin; p < end; ++p) rope.fill(p, cos_sin + p * stride);
    });
  });
  const size_t size_bytes = max_context * stride * sizeof(float);
  FLOE_TRY(cos_sin_, DeviceMemory::allocate(size_bytes, "the table of rotations"));
  return check(cudaMemcpy(cos_sin_.data(), cos_sin, size_bytes, cudaMemcpyHostToDevice),
               "uploading the table of rotations");
}

Result<void> CardModel::reserve(const ForwardLimits& limits) {
  if (limits.max_rows == 0 || limits.max_context == 0) {
    return usage_error("a forward needs room for at least one row and one position");
  }
  if (limits.tap_layers) {
    for (const uint32_t layer : *limits.tap_layers) {
      if (layer >= network_->n_trunk_layers) {
        return usage_error("expected taps behind layers below {}, found {}",
                           network_->n_trunk_layers, layer);
      }
    }
  }
  FLOE_TRY_VOID(check(cudaSetDevice(static_cast<int>(index_)), "cudaSetDevice"));
  drop_graphs();
  ws_ = CardWorkspace();  // the old one goes before the new one is asked for
  cos_sin_ = DeviceMemory();
  slot_table_ = DeviceMemory();
  tap_layers_ = limits.tap_layers;
  FLOE_TRY(ws_, CardWorkspace::create(*network_, limits));
  FLOE_TRY_VOID(fill_positions(limits.max_context));
  const UploadLayout upload(limits.max_rows, limits.max_logit_rows);
  FLOE_TRY(staging_, PinnedMemory::allocate(upload.size, "what a forward uploads"));
  FLOE_TRY(uploaded_, DeviceMemory::allocate(upload.size, "what a forward uploads"));
  rows_ = reinterpret_cast<const RowInfo*>(uploaded_.data());
  logit_rows_ = reinterpret_cast<const uint32_t*>(uploaded_.data() + upload.logit_rows);
  FLOE_TRY_VOID(make_results(limits));
  return grow_slot_table(std::min(limits.max_rows, kFirstSequences));
}

Result<void> CardModel::make_results(const ForwardLimits& limits) {
  const size_t hidden_bytes = limits.max_rows * size_t{network_->hidden_dim} * sizeof(float);
  const size_t hidden = align_up(size_t{limits.max_logit_rows} * network_->n_vocab * sizeof(float));
  const size_t taps = align_up(hidden + hidden_bytes);
  const size_t n_used = limits.tap_layers ? align_up(taps + kTaps * hidden_bytes) : taps;
  const size_t chosen = align_up(n_used + (ws_.n_moe_layers + 1) * sizeof(uint32_t));
  const size_t size = chosen + size_t{ws_.n_moe_layers} * ws_.chosen_stride * sizeof(uint32_t);
  FLOE_TRY(result_memory_, PinnedMemory::allocate(size, "the results of a forward"));
  std::byte* base = result_memory_.data();
  results_.logits = reinterpret_cast<float*>(base);
  results_.hidden = reinterpret_cast<float*>(base + hidden);
  results_.taps = limits.tap_layers ? reinterpret_cast<float*>(base + taps) : nullptr;
  results_.n_used = reinterpret_cast<uint32_t*>(base + n_used);
  results_.chosen = reinterpret_cast<uint32_t*>(base + chosen);
  return {};
}

// Everything that is in the table goes; forwards fill it again.
Result<void> CardModel::grow_slot_table(uint32_t n_sequences) {
  FLOE_TRY(slot_table_,
           DeviceMemory::allocate(size_t{n_sequences} * ws_.max_context * sizeof(uint32_t),
                                  fmt::format("the slots of {} sequences", n_sequences)));
  drop_graphs();
  n_sequences_ = n_sequences;
  slots_.assign(size_t{n_sequences} * ws_.max_context, 0);
  return {};
}

void CardModel::drop_graphs() {
  for (const auto& [shape, graph] : graphs_) cudaGraphExecDestroy(graph);
  graphs_.clear();
}

KvCacheBytes CardModel::cache_bytes(KvTypes types) const {
  return HostKvCache::bytes_of(layout_, types);
}

Result<std::unique_ptr<KvCache>> CardModel::make_cache(const KvCacheLimits& limits) {
  FLOE_TRY_VOID(check(cudaSetDevice(static_cast<int>(index_)), "cudaSetDevice"));
  // A graph knows its cache by the address, which may be that of one that is gone.
  drop_graphs();
  FLOE_TRY(std::unique_ptr<CardKvCache> cache, CardKvCache::create(layout_, limits, stream_));
  return std::unique_ptr<KvCache>(std::move(cache));
}

// The host's: the same bits in the same order of bytes. Of a card that cannot be read no block can
// be, either.
uint64_t CardModel::cache_fingerprint(KvTypes types) const {
  if (!weights_hash_) {
    std::vector<std::byte> copy(weights_.size_bytes());
    const cudaError_t status =
        cudaMemcpy(copy.data(), weights_.data(), copy.size(), cudaMemcpyDeviceToHost);
    if (check(status, "reading the weights").ok()) weights_hash_ = hash_of_weights(copy, pool_);
  }
  return cache_fingerprint_of(weights_hash_.value_or(0), hyperparameters_hash_, layout_, types);
}

namespace {

// Bytes per second of one pass; NaN where the card fails.
double read_once(cudaStream_t stream, const std::byte* data, size_t n_bytes, uint64_t* sum) {
  cudaEvent_t events[2] = {};
  float milliseconds = 0.0f;
  const auto measure = [&]() -> cudaError_t {
    for (cudaEvent_t& event : events) {
      if (const cudaError_t status = cudaEventCreate(&event)) return status;
    }
    if (const cudaError_t status = cudaEventRecord(events[0], stream)) return status;
    read_all(stream, data, n_bytes, sum);
    if (const cudaError_t status = cudaEventRecord(events[1], stream)) return status;
    if (const cudaError_t status = cudaEventSynchronize(events[1])) return status;
    return cudaEventElapsedTime(&milliseconds, events[0], events[1]);
  };
  const bool measured = check(measure(), "reading the weights").ok();
  for (const cudaEvent_t event : events) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  return measured ? static_cast<double>(n_bytes) / (milliseconds * 1e-3)
                  : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

// Of at most kProbeBytes of the weights: far more than the card's caches hold.
double CardModel::read_bandwidth() const {
  constexpr size_t kProbeBytes = size_t{4} << 30;
  constexpr int kPasses = 3;
  const cudaError_t status = cudaSetDevice(static_cast<int>(index_));
  if (!check(status, "cudaSetDevice").ok()) return std::numeric_limits<double>::quiet_NaN();
  const size_t n_bytes = std::min(weights_.size_bytes(), kProbeBytes) / 16 * 16;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double rate =
        read_once(stream_, weights_.data(), n_bytes, reinterpret_cast<uint64_t*>(ws_.hidden));
    if (std::isnan(rate)) return rate;
    best = std::max(best, rate);
  }
  return best;
}

void CardModel::embed(int32_t token, float* out) const {
  FLOE_CHECK(token >= 0 && static_cast<uint32_t>(token) < network_->n_vocab);
  decode_row(embedding_, 0, static_cast<uint32_t>(token), out);
}

Result<CardModel::Shape> CardModel::prepare(const ForwardBatch& batch, bool mtp) {
  FLOE_TRY_VOID(check(cudaSetDevice(static_cast<int>(index_)), "cudaSetDevice"));
  FLOE_CHECK(batch.rows.size() <= ws_.max_rows);
  FLOE_CHECK(batch.n_logits <= network_->n_vocab);
  Shape shape;
  shape.cache = dynamic_cast<const CardKvCache*>(&batch.cache);
  FLOE_CHECK(shape.cache != nullptr);
  shape.mtp = mtp;
  shape.n_rows = static_cast<uint32_t>(batch.rows.size());
  shape.n_logits = batch.n_logits != 0 ? batch.n_logits : network_->n_vocab;

  // The sequences that have rows, in the order of their first one.
  places_.assign(batch.sequences.size(), Place());
  n_places_ = 0;
  uint32_t most_visible = 0;
  for (const ForwardRow& row : batch.rows) {
    FLOE_CHECK(row.sequence < batch.sequences.size());
    FLOE_CHECK(row.position < ws_.max_context);
    FLOE_CHECK(row.position < batch.sequences[row.sequence].slots.size());
    FLOE_CHECK(row.token >= 0 && static_cast<uint32_t>(row.token) < network_->n_vocab);
    most_visible = std::max(most_visible, row.position + 1);
    Place& place = places_[row.sequence];
    if (place.index == kNowhere) {
      place.index = n_places_++;
      place.first_position = row.position;
    }
    place.last_position = row.position;
  }
  if (n_places_ > n_sequences_) {
    FLOE_TRY_VOID(grow_slot_table(std::min(ws_.max_rows, std::bit_ceil(n_places_))));
  }
  shape.n_spans = spans_side_by_side(shape.n_rows, most_visible);
  if (ws_.selected_stride != 0) {
    // In steps, so that a growing context does not need a graph for every length.
    shape.max_visible = std::min((most_visible + 1023) / 1024 * 1024, ws_.max_context);
  }
  FLOE_TRY_VOID(upload_rows(batch, shape));
  return shape;
}

// Only few rows need it, and only where there is more than one span; in powers of two, so that a
// growing context does not need a graph for every length.
uint32_t CardModel::spans_side_by_side(uint32_t n_rows, uint32_t most_visible) const {
  const uint32_t n_spans = std::bit_ceil(count_spans(most_visible));
  if (n_spans == 1 || n_rows > CardWorkspace::kSpanRows) return 1;
  uint64_t part = 0;
  for (const Layer& layer : network_->layers) {
    if (const auto* gqa = as_gqa(layer)) {
      part = std::max(part, uint64_t{gqa->n_heads} * attend_part_size(gqa->value_dim));
    } else {
      const auto& mla = as_mla(layer);
      part = std::max(part, uint64_t{mla.n_heads} * attend_part_size(mla.kv_lora_dim));
    }
  }
  return n_rows * n_spans * part <= ws_.attend_parts_size ? n_spans : 1;
}

Result<void> CardModel::upload_rows(const ForwardBatch& batch, Shape& shape) {
  const UploadLayout layout(ws_.max_rows, ws_.max_logit_rows);
  std::byte* staging = staging_.data();
  auto* rows = reinterpret_cast<RowInfo*>(staging);
  auto* logit_rows = reinterpret_cast<uint32_t*>(staging + layout.logit_rows);
  auto* edits = reinterpret_cast<SlotEdit*>(staging + layout.edits);
  auto* edited = reinterpret_cast<uint32_t*>(staging + layout.slots);
  for (uint32_t i = 0; i < shape.n_rows; ++i) {
    const ForwardRow& row = batch.rows[i];
    const uint32_t begin = places_[row.sequence].index * ws_.max_context;
    const uint32_t slot = batch.sequences[row.sequence].slots[row.position];
    FLOE_CHECK(slot < batch.cache.n_slots());
    rows[i] = {row.token, row.position, begin, slot};
    if (!row.wants_logits) continue;
    FLOE_CHECK(shape.n_logit_rows < ws_.max_logit_rows);
    logit_rows[shape.n_logit_rows++] = i;
  }
  uint32_t n_edits = 0;
  uint32_t n_edited = 0;
  for (uint32_t s = 0; s < batch.sequences.size(); ++s) {
    const Place& place = places_[s];
    if (place.index == kNowhere) continue;
    const uint32_t* slots = batch.sequences[s].slots.data();
    const uint32_t begin = place.index * ws_.max_context;
    uint32_t* known = slots_.data() + begin;
    // The rows' own slots are written by the rows themselves.
    const uint32_t* differ = std::mismatch(slots, slots + place.first_position, known).first;
    const auto at = static_cast<uint32_t>(differ - slots);
    const uint32_t n = place.first_position - at;
    std::copy(differ, slots + place.last_position + 1, known + at);
    if (n == 0) continue;
    if (n_edited + n > kUploadSlots) {
      FLOE_TRY_VOID(check(cudaMemcpyAsync(slot_table() + begin + at, differ, n * sizeof(uint32_t),
                                          cudaMemcpyHostToDevice, stream_),
                          "uploading slots"));
      continue;
    }
    edits[n_edits++] = {begin + at, n, n_edited, 0};
    std::copy(differ, differ + n, edited + n_edited);
    n_edited += n;
  }
  const size_t size_bytes = n_edits == 0 ? layout.logit_rows + shape.n_logit_rows * sizeof(uint32_t)
                                         : layout.slots + n_edited * sizeof(uint32_t);
  FLOE_TRY_VOID(
      check(cudaMemcpyAsync(uploaded_.data(), staging, size_bytes, cudaMemcpyHostToDevice, stream_),
            "uploading rows"));
  edit_slots(stream_, reinterpret_cast<const SlotEdit*>(uploaded_.data() + layout.edits), n_edits,
             reinterpret_cast<const uint32_t*>(uploaded_.data() + layout.slots), slot_table());
  return {};
}

Result<cudaGraphExec_t> CardModel::record(const Shape& shape) {
  FLOE_TRY_VOID(check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
                      "recording a forward"));
  walk(shape);
  cudaGraph_t graph = nullptr;
  FLOE_TRY_VOID(check(cudaStreamEndCapture(stream_, &graph), "recording a forward"));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  FLOE_TRY_VOID(check(status, "recording a forward"));
  return executable;
}

Result<void> CardModel::run(const Shape& shape) {
  if (shape.n_rows > kGraphRows) {
    walk(shape);
  } else {
    auto at = graphs_.find(shape);
    if (at == graphs_.end()) {
      if (graphs_.size() >= kMostGraphs) drop_graphs();
      FLOE_TRY(const cudaGraphExec_t executable, record(shape));
      at = graphs_.emplace(shape, executable).first;
    }
    FLOE_TRY_VOID(check(cudaGraphLaunch(at->second, stream_), "starting a forward"));
  }
  FLOE_TRY_VOID(check(cudaGetLastError(), "starting a forward"));
  return check(cudaStreamSynchronize(stream_), "a forward");
}

ForwardOutput CardModel::collect(const ForwardBatch& batch, const Shape& shape) {
  if (batch.routing_log != nullptr) {
    for (size_t i = 0; i < network_->n_trunk_layers; ++i) {
      const uint32_t n_active = network_->layers[i].ffn->routing().n_active;
      if (n_active == 0) continue;
      const uint32_t* chosen = results_.chosen + size_t{moe_index_[i]} * ws_.chosen_stride;
      const size_t n = size_t{shape.n_rows} * n_active;
      batch.routing_log->insert(batch.routing_log->end(), chosen, chosen + n);
    }
  }
  ForwardOutput output;
  output.n_logit_rows = shape.n_logit_rows;
  output.logits = results_.logits;
  output.hidden = results_.hidden;
  if (!shape.mtp) output.taps = results_.taps;
  output.ledger = count(batch, shape);
  return output;
}

Result<ForwardOutput> CardModel::forward_rows(const ForwardBatch& batch, const float* hidden) {
  Result<ForwardOutput> output = try_forward(batch, hidden);
  if (!output.ok()) {
    // What was started reads the staging buffer, and nobody knows which slots have reached the
    // card.
    cudaStreamSynchronize(stream_);
    cudaGetLastError();
    std::fill(slots_.begin(), slots_.end(), kNowhere);
  }
  return output;
}

Result<ForwardOutput> CardModel::try_forward(const ForwardBatch& batch, const float* hidden) {
  FLOE_TRY(const Shape shape, prepare(batch, hidden != nullptr));
  if (hidden != nullptr) {
    const size_t n_bytes = size_t{shape.n_rows} * network_->hidden_dim * sizeof(float);
    FLOE_TRY_VOID(check(
        cudaMemcpyAsync(ws_.previous_hidden, hidden, n_bytes, cudaMemcpyHostToDevice, stream_),
        "uploading hidden states"));
  }
  FLOE_TRY_VOID(run(shape));
  return collect(batch, shape);
}

Result<ForwardOutput> CardModel::forward(const ForwardBatch& batch) {
  if (batch.rows.empty()) return ForwardOutput{};
  return forward_rows(batch, nullptr);
}

// All rows go all the way, also those whose logits nobody wants: their bits are the same.
Result<ForwardOutput> CardModel::forward_mtp(const ForwardBatch& batch, const float* hidden) {
  FLOE_CHECK(info_.has_mtp && hidden != nullptr && batch.routing_log == nullptr);
  if (batch.rows.empty()) return ForwardOutput{};
  Result<ForwardOutput> result = forward_rows(batch, hidden);
  if (!result.ok()) return result;
  ForwardOutput& output = result.value();
  output.ledger = as_draft(output.ledger);
  if (output.n_logit_rows == batch.rows.size()) return result;
  const size_t hidden_dim = network_->hidden_dim;
  wanted_hidden_.clear();
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    if (!batch.rows[i].wants_logits) continue;
    const float* row = output.hidden + i * hidden_dim;
    wanted_hidden_.insert(wanted_hidden_.end(), row, row + hidden_dim);
  }
  output.hidden = wanted_hidden_.data();
  return result;
}

}  // namespace floe::cuda

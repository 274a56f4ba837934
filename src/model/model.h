#pragma once
// A language model as the rest of the program sees it: rows in, logits out.
//
// A forward computes rows. A row is one token at one position of one sequence. Chunks of prompts,
// decode steps of many sequences and drafts to be verified are all lists of rows. The bits of a
// row's logits depend on its token, its position and the
// cached tokens before it, and on nothing else: not on its neighbours, the chunk, the threads or
// the cache's history.
//
// The model makes its caches and knows where their bytes are; its callers know slots, blocks and
// states (kv/kv_cache.h).
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "kv/kv_cache.h"
#include "model/ledger.h"
#include "quant/format.h"

namespace floe {

class GgufMetadata;

struct ModelInfo {
  std::string device;        // the card it runs on, "cuda:0 NVIDIA H200"; empty: the processor
  std::string architecture;  // as in general.architecture
  std::string name;          // general.name, or the file's name
  std::string format;        // the weight format with the most bytes, as in GGUF: "Q4_0"
  // The format with the most bytes among the matrices that each of kLedgerClasses counts.
  std::array<QuantType, kLedgerClassCount> class_formats{};
  uint32_t n_layers = 0;  // trunk layers, without the MTP layer
  uint32_t hidden_dim = 0;
  uint32_t n_vocab = 0;
  uint32_t context_length = 0;
  uint32_t n_experts = 0;         // most of any trunk layer; 0 for dense models
  uint32_t n_active_experts = 0;  // per token and MoE layer
  bool has_mtp = false;
  uint64_t n_params = 0;
  uint64_t file_bytes = 0;
  uint64_t weight_bytes = 0;  // resident, packed
};

struct ForwardRow {
  int32_t token = 0;
  uint32_t position = 0;
  uint32_t sequence = 0;  // index into ForwardBatch::sequences
  bool wants_logits = false;
};

// Where a sequence lies in the batch's cache.
struct SequenceSlots {
  // slots[p] is the slot of position p. Covers every position up to the sequence's last row.
  std::span<const uint32_t> slots;
  // The sequence's state, which stands behind exactly the tokens before its first row; the forward
  // takes it behind the last one. kNoState where the model keeps none.
  uint32_t state = kNoState;
};

// Rows of one sequence appear in ascending position order and extend what is cached without a hole.
struct ForwardBatch {
  std::span<const ForwardRow> rows;
  std::span<const SequenceSlots> sequences;
  KvCache& cache;  // made by this model
  // Compute only the logits of token ids below n_logits, and read only those rows of the lm_head:
  // for drafters that guess no other tokens. 0: all of the vocabulary.
  uint32_t n_logits = 0;
  // A forward of the trunk appends the experts that the rows chose, u32
  // [MoE layer][row][n_active_experts], the highest score first. nullptr: no log.
  std::vector<uint32_t>* routing_log = nullptr;
};

// Valid until the next forward of the same model.
struct ForwardOutput {
  const float* logits =
      nullptr;  // f32 [n_logit_rows][n_vocab or n_logits], rows with wants_logits in batch order
  uint32_t n_logit_rows = 0;
  const float* hidden =
      nullptr;  // f32 [n_rows][hidden_dim] after the output norm: what an MTP head reads
  // f32 [n_rows][kTaps * hidden_dim]: the residual stream behind each of ForwardLimits::tap_layers,
  // one after the other: what an EAGLE-3 head reads. Null where none were asked for.
  const float* taps = nullptr;
  ByteLedger ledger;  // of this forward
};

// Taps: trunk layers whose outputs a forward returns beside the final ones. Behind layer i stands
// the residual stream that layer i + 1 reads, before its norm.
inline constexpr uint32_t kTaps = 3;
using TapLayers = std::array<uint32_t, kTaps>;

// Upper bounds for one forward, fixed before the first so that a step allocates nothing.
struct ForwardLimits {
  uint32_t max_rows = 512;
  uint32_t max_logit_rows = 64;
  uint32_t max_context = 4096;                         // positions 0 .. max_context - 1
  std::optional<TapLayers> tap_layers = std::nullopt;  // each below n_layers
};

// Not thread-safe: one forward at a time.
class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelInfo& info() const = 0;

  // Workspace for forwards within the limits, in place of the one before. Fails with
  // ErrorKind::memory, naming the bytes.
  virtual Result<void> reserve(const ForwardLimits& limits) = 0;

  // What a cache of these types takes of memory, the draft head's share included.
  virtual KvCacheBytes cache_bytes(KvTypes types) const = 0;
  // A cache for forwards of this model, where the model's layers can read it: in this process's
  // memory, on a device, or spread over machines. It does not outlive the model. A model may have
  // several; slots and states of one mean nothing in another. Fails with ErrorKind::memory, naming
  // the bytes.
  virtual Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) = 0;
  // A hash of all that decides which bytes a token leaves in a cache of these types: weights,
  // hyperparameters, layout, version of the program. Where it is equal, blocks and states of one
  // cache may be written to another, in another process too. The first call reads all weights.
  virtual uint64_t cache_fingerprint(KvTypes types) const = 0;

  // Runs the trunk and stores what the cache keeps of the rows. Every token id is below n_vocab,
  // every position below max_context: the caller has checked.
  //
  // Fails where the device that the model runs on does: ErrorKind::runtime, or ErrorKind::memory
  // when it has no room. What the cache holds of the batch's sequences from their first row on is
  // unknown then; the model and everything else in its caches stay usable, if the device is.
  virtual Result<ForwardOutput> forward(const ForwardBatch& batch) = 0;

  // The MTP layer: row i takes its token and hidden[i], the hidden state of the position before it
  // (f32 [n_rows][hidden_dim]); its logits predict the token after its own. Rows that want no
  // logits are cached and no more. output.hidden f32 [n_logit_rows][hidden_dim] is what a chained
  // draft feeds back. Only when info().has_mtp. Fails as forward() does.
  virtual Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float* hidden) = 0;

  // out f32 [hidden_dim]: the embedding of a token below n_vocab, as layers read it.
  virtual void embed(int32_t token, float* out) const = 0;

  // The packed weights that forwards read, in this process's memory; empty where they are
  // elsewhere. For measuring how fast this memory can be read.
  virtual std::span<const std::byte> weights() const = 0;

  // Bytes per second that the memory of the weights can be read with, measured now. 0: it is this
  // process's memory, where weights() are, and who wants to know measures there. NaN: the device
  // failed; so does the next forward.
  virtual double read_bandwidth() const { return 0; }
};

// ErrorKind::model, naming the families there are, when that of the file is none of them.
Result<void> check_supported(const GgufMetadata& file);

struct ModelOptions {
  bool show_progress = false;            // a bar on a terminal, lines elsewhere
  const KernelTable* kernels = nullptr;  // nullptr: the table chosen for this machine
  // A GGUF file with the draft head of the model, which wins over a head in the model's own file.
  // Of this file only the head's block is read: it may hold the whole model. Empty: none.
  std::string mtp_path;
};

// Reads, checks and packs a GGUF model. The pool runs every forward of the model and outlives it.
Result<std::unique_ptr<Model>> load_model(const std::string& path, const ModelOptions& options,
                                          ThreadPool& pool);

}  // namespace floe

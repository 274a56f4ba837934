#pragma once
// What an architecture's file builds: the layers of a model with their weights. The forward runs
// through them without knowing the architecture.
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/packed_matrix.h"
#include "model/attention.h"
#include "model/ffn.h"
#include "model/rope.h"

namespace floe {

// hidden += attention(norm(hidden)), then hidden += ffn(norm(hidden)).
struct Layer {
  const float* attention_norm = nullptr;  // [hidden_dim]
  std::unique_ptr<Attention> attention;
  const float* ffn_norm = nullptr;  // [hidden_dim]
  std::unique_ptr<Ffn> ffn;

  template <typename Kind>
  Kind& make_attention() {
    auto made = std::make_unique<Kind>();
    Kind& kind = *made;
    attention = std::move(made);
    return kind;
  }
  template <typename Kind>
  Kind& make_ffn() {
    auto made = std::make_unique<Kind>();
    Kind& kind = *made;
    ffn = std::move(made);
    return kind;
  }
};

// The draft head: hidden = eh_proj [enorm(embedding) ; hnorm(previous hidden)], one more layer, the
// trunk's lm_head.
struct MtpHead {
  PackedMatrix eh_proj;                   // [hidden_dim][2 * hidden_dim]
  const float* embedding_norm = nullptr;  // [hidden_dim]
  const float* hidden_norm = nullptr;     // [hidden_dim]
  const float* output_norm = nullptr;     // [hidden_dim]
  // Whether a chained draft reads the hidden state after output_norm or before it.
  bool feeds_normed_hidden = true;
};

// What an EAGLE-3 head has beside its one layer. The layer's attention reads
// [embedding_norm(embedding) ; hidden_norm(features)], and its residual stream begins with the
// features: fc of the trunk's taps, or in a chain of guesses the layer's output for the row before.
struct Eagle3Parts {
  PackedMatrix fc;                        // [hidden_dim][kTaps * hidden_dim of the trunk]
  const float* embedding_norm = nullptr;  // [hidden_dim]
  const float* hidden_norm = nullptr;     // [hidden_dim]
  // Whether the residual stream begins with the features after hidden_norm.
  bool norms_residual = false;
};

struct Network {
  uint32_t hidden_dim = 0;
  uint32_t n_vocab = 0;
  float rms_eps = 0.0f;
  RopeFrequencies rope;
  PackedMatrix token_embedding;  // [n_vocab][hidden_dim]
  PackedMatrix output;           // [n_vocab][hidden_dim]; unused when tied
  bool tied_output = false;
  const float* output_norm = nullptr;  // [hidden_dim]
  std::vector<Layer> layers;           // the trunk; with an MTP head one more
  uint32_t n_trunk_layers = 0;
  std::optional<MtpHead> mtp;
  std::optional<Eagle3Parts> eagle3;

  const PackedMatrix& lm_head() const { return tied_output ? token_embedding : output; }
};

// What each layer keeps in the cache.
std::vector<KvLayerSpec> cache_layout(const Network& network);
// The batch's cache. Stops the process unless it was made for this network.
HostKvCache& host_cache(const ForwardBatch& batch, const Network& network);

}  // namespace floe

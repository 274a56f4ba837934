#include <cmath>

#include "model/architecture.h"

namespace floe {

std::string layer_prefix(uint32_t layer) {
  return fmt::format("blk.{}.", layer);
}

Result<void> build_frame(const Hparams& hparams, WeightLoader& loader, uint32_t n_trunk_layers,
                         bool has_mtp, Network& network) {
  network.hidden_dim = hparams.hidden_dim;
  network.rms_eps = hparams.rms_eps;
  network.n_trunk_layers = n_trunk_layers;
  network.layers.resize(n_trunk_layers + (has_mtp ? 1 : 0));
  if (has_mtp) network.mtp.emplace();

  FLOE_TRY(network.n_vocab, loader.count_rows("token_embd.weight", hparams.hidden_dim));
  const MetadataEntry* tokens = loader.file().find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->type == ValueType::array) {
    if (tokens->n_elements() != network.n_vocab) {
      return model_error(
          "{}: tensor token_embd.weight: expected {} rows as tokenizer.ggml.tokens has "
          "elements, found {}",
          hparams.source, tokens->n_elements(), network.n_vocab);
    }
  } else if (hparams.n_vocab != 0 && hparams.n_vocab != network.n_vocab) {
    return model_error("{}: tensor token_embd.weight: expected vocab_size {} rows, found {}",
                       hparams.source, hparams.n_vocab, network.n_vocab);
  }
  FLOE_TRY_VOID(loader.matrix("token_embd.weight", hparams.hidden_dim, network.n_vocab,
                              network.token_embedding));
  FLOE_TRY_VOID(loader.vector("output_norm.weight", hparams.hidden_dim, network.output_norm));
  network.tied_output = !loader.has("output.weight");
  if (!network.tied_output) {
    FLOE_TRY_VOID(
        loader.matrix("output.weight", hparams.hidden_dim, network.n_vocab, network.output));
  }

  std::vector<float> divisors;
  if (loader.has("rope_freqs.weight")) {
    FLOE_TRY(divisors, loader.read_vector("rope_freqs.weight", hparams.rope_dim / 2));
    for (float divisor : divisors) {
      if (!(divisor > 0.0f) || !std::isfinite(divisor)) {
        return model_error("{}: tensor rope_freqs.weight: expected positive divisors, found {}",
                           hparams.source, divisor);
      }
    }
  }
  network.rope = RopeFrequencies(hparams, divisors);
  return {};
}

BlockSplit split_blocks(const Hparams& hparams, const WeightLoader& loader) {
  BlockSplit split;
  split.n_trunk_layers = hparams.n_blocks - hparams.n_mtp_layers;
  // A file may hold the trunk alone and still count the head's block. Another file is there for the
  // head only.
  split.has_mtp = loader.has_other_file() ||
                  (hparams.n_mtp_layers != 0 &&
                   loader.has(layer_prefix(split.n_trunk_layers) + "nextn.eh_proj.weight"));
  return split;
}

Result<void> build_mtp(const Hparams& hparams, const std::string& prefix, WeightLoader& loader,
                       MtpHead& mtp) {
  const uint32_t hidden_dim = hparams.hidden_dim;
  FLOE_TRY_VOID(
      loader.matrix(prefix + "nextn.eh_proj.weight", 2 * hidden_dim, hidden_dim, mtp.eh_proj));
  FLOE_TRY_VOID(loader.vector(prefix + "nextn.enorm.weight", hidden_dim, mtp.embedding_norm));
  FLOE_TRY_VOID(loader.vector(prefix + "nextn.hnorm.weight", hidden_dim, mtp.hidden_norm));
  FLOE_TRY_VOID(
      loader.vector(prefix + "nextn.shared_head_norm.weight", hidden_dim, mtp.output_norm));
  loader.ignore(prefix + "nextn.embed_tokens.weight");
  loader.ignore(prefix + "nextn.shared_head_head.weight");
  return {};
}

}  // namespace floe

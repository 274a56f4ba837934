#include "tools/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/progress.h"
#include "base/rng.h"
#include "store/gguf_writer.h"
#include "tools/synth_shapes.h"
#include "tools/synth_weights.h"
#include "tools/synth_words.h"

namespace floe {

namespace {

constexpr size_t kPieceBytes = size_t{8} << 20;
constexpr uint32_t kMaxLayers = 512;
constexpr uint32_t kMaxExperts = 1024;
constexpr uint32_t kMinVocab = 16;
constexpr uint32_t kMaxVocab = 1 << 20;

enum class Fill : uint8_t { ones, random };

// The format of 32-wide blocks in place of one of 256-wide blocks.
QuantType fallback_type(QuantType type) {
  switch (type) {
    case QuantType::Q4_K:
      return QuantType::Q5_0;
    case QuantType::Q5_K:
      return QuantType::Q5_1;
    case QuantType::Q6_K:
      return QuantType::Q8_0;
    default:
      return type;
  }
}

// A tensor's content beside its header entry, in the same order.
struct TensorFill {
  Fill fill = Fill::random;
  float deviation = 0;
};

// Collects the header and the fills of one model.
class Blueprint {
 public:
  Blueprint(const SynthShape& shape, QuantType type) : shape_(shape), type_(type) {}

  GgufHeaderBuilder header;
  std::vector<TensorFill> fills;

  void metadata(uint64_t seed);
  void tensors();

 private:
  std::string key(std::string_view name) const {
    return fmt::format("{}.{}", shape_.architecture, name);
  }

  void norm(std::string name, uint64_t dim) {
    header.add_tensor(name, QuantType::F32, {dim});
    fills.push_back({Fill::ones, 0});
  }
  void plain(std::string name, const TensorDims& dims, float deviation) {
    header.add_tensor(name, QuantType::F32, dims);
    fills.push_back({Fill::random, deviation});
  }
  // A matrix or a stack of them; outputs keep the size of their inputs.
  void matrix(std::string name, const TensorDims& dims) { matrix(std::move(name), dims, 1.0f); }
  void matrix(std::string name, const TensorDims& dims, float gain) {
    header.add_tensor(name, fitting_type(dims[0]), dims);
    fills.push_back({Fill::random, gain / std::sqrt(static_cast<float>(dims[0]))});
  }
  // As llama.cpp's quantiser chooses where rows are no multiple of the block.
  QuantType fitting_type(uint64_t n_cols) const {
    for (const QuantType type : {type_, fallback_type(type_)}) {
      if (n_cols % format_traits(type).block_elems == 0) return type;
    }
    return QuantType::F16;
  }

  void gqa(const std::string& prefix);
  void mla(const std::string& prefix);
  void ffn(const std::string& prefix, bool dense);

  const SynthShape& shape_;
  QuantType type_;
};

void Blueprint::metadata(uint64_t seed) {
  const SynthShape& s = shape_;
  header.add_string("general.architecture", s.architecture);
  header.add_string("general.name", fmt::format("synth {} seed {}", s.name, seed));
  header.add_u32(key("vocab_size"), s.n_vocab);
  header.add_u32(key("block_count"), s.n_layers);
  header.add_u32(key("context_length"), s.context_length);
  header.add_u32(key("embedding_length"), s.hidden_dim);
  header.add_u32(key("feed_forward_length"), s.dense_ffn_dim);
  header.add_u32(key("attention.head_count"), s.n_heads);
  header.add_u32(key("attention.head_count_kv"), s.n_kv_heads);
  header.add_f32(key("attention.layer_norm_rms_epsilon"), s.rms_eps);
  header.add_f32(key("rope.freq_base"), s.rope_base);
  header.add_u32(key("expert_count"), s.n_experts);
  header.add_u32(key("expert_used_count"), s.n_active);
  header.add_u32(key("expert_feed_forward_length"), s.expert_ffn_dim);
  if (s.attention == AttentionKind::mla) {
    header.add_u32(key("rope.dimension_count"), s.rope_dim);
    header.add_u32(key("attention.key_length"), s.kv_lora_dim + s.rope_dim);
    header.add_u32(key("attention.value_length"), s.kv_lora_dim);
    header.add_u32(key("attention.key_length_mla"), s.nope_dim + s.rope_dim);
    header.add_u32(key("attention.value_length_mla"), s.value_dim);
    header.add_u32(key("attention.q_lora_rank"), s.q_lora_dim);
    header.add_u32(key("attention.kv_lora_rank"), s.kv_lora_dim);
    header.add_u32(key("leading_dense_block_count"), s.n_dense);
    header.add_u32(key("expert_shared_count"), s.n_shared);
    header.add_f32(key("expert_weights_scale"), s.expert_scale);
    header.add_bool(key("expert_weights_norm"), true);
    header.add_u32(key("expert_gating_func"), 2);  // sigmoid
    header.add_u32(key("expert_group_count"), s.n_groups);
    header.add_u32(key("expert_group_used_count"), s.n_active_groups);
  } else {
    header.add_u32(key("attention.key_length"), s.head_dim);
    header.add_u32(key("attention.value_length"), s.head_dim);
    if (s.rope_dim != 0) header.add_u32(key("rope.dimension_count"), s.rope_dim);
    if (s.sliding_window != 0) header.add_u32(key("attention.sliding_window"), s.sliding_window);
  }
  if (s.n_indexer_heads != 0) {
    header.add_u32(key("attention.indexer.head_count"), s.n_indexer_heads);
    header.add_u32(key("attention.indexer.key_length"), s.indexer_dim);
    header.add_u32(key("attention.indexer.top_k"), s.indexer_top_k);
  }
  if (s.yarn_factor != 0) {
    header.add_string(key("rope.scaling.type"), "yarn");
    header.add_f32(key("rope.scaling.factor"), s.yarn_factor);
    header.add_u32(key("rope.scaling.original_context_length"), 4096);
    if (s.attention == AttentionKind::mla)
      header.add_f32(key("rope.scaling.yarn_log_multiplier"), 0.1f);
  }
}

void Blueprint::gqa(const std::string& prefix) {
  const SynthShape& s = shape_;
  const uint64_t q_dim = uint64_t{s.n_heads} * s.head_dim;
  const uint64_t kv_dim = uint64_t{s.n_kv_heads} * s.head_dim;
  matrix(prefix + "attn_q.weight", {s.hidden_dim, q_dim});
  matrix(prefix + "attn_k.weight", {s.hidden_dim, kv_dim});
  matrix(prefix + "attn_v.weight", {s.hidden_dim, kv_dim});
  matrix(prefix + "attn_output.weight", {q_dim, s.hidden_dim});
  if (s.qk_norm) {
    norm(prefix + "attn_q_norm.weight", s.head_dim);
    norm(prefix + "attn_k_norm.weight", s.head_dim);
  }
  if (s.biases_and_sinks) {
    plain(prefix + "attn_q.bias", {q_dim}, 0.1f);
    plain(prefix + "attn_k.bias", {kv_dim}, 0.1f);
    plain(prefix + "attn_v.bias", {kv_dim}, 0.1f);
    plain(prefix + "attn_output.bias", {s.hidden_dim}, 0.1f);
    plain(prefix + "attn_sinks.weight", {s.n_heads}, 1.0f);
  }
}

void Blueprint::mla(const std::string& prefix) {
  const SynthShape& s = shape_;
  matrix(prefix + "attn_q_a.weight", {s.hidden_dim, s.q_lora_dim});
  norm(prefix + "attn_q_a_norm.weight", s.q_lora_dim);
  matrix(prefix + "attn_q_b.weight",
         {s.q_lora_dim, uint64_t{s.n_heads} * (s.nope_dim + s.rope_dim)});
  matrix(prefix + "attn_kv_a_mqa.weight", {s.hidden_dim, uint64_t{s.kv_lora_dim} + s.rope_dim});
  norm(prefix + "attn_kv_a_norm.weight", s.kv_lora_dim);
  matrix(prefix + "attn_k_b.weight", {s.nope_dim, s.kv_lora_dim, s.n_heads});
  matrix(prefix + "attn_v_b.weight", {s.kv_lora_dim, s.value_dim, s.n_heads});
  matrix(prefix + "attn_output.weight", {uint64_t{s.n_heads} * s.value_dim, s.hidden_dim});
  if (s.n_indexer_heads != 0) {
    norm(prefix + "indexer.k_norm.weight", s.indexer_dim);
    plain(prefix + "indexer.k_norm.bias", {s.indexer_dim}, 0.1f);
    plain(prefix + "indexer.proj.weight", {s.hidden_dim, s.n_indexer_heads},
          1.0f / std::sqrt(static_cast<float>(s.hidden_dim)));
    matrix(prefix + "indexer.attn_k.weight", {s.hidden_dim, s.indexer_dim});
    matrix(prefix + "indexer.attn_q_b.weight",
           {s.q_lora_dim, uint64_t{s.n_indexer_heads} * s.indexer_dim});
  }
}

void Blueprint::ffn(const std::string& prefix, bool dense) {
  const SynthShape& s = shape_;
  if (dense) {
    matrix(prefix + "ffn_gate.weight", {s.hidden_dim, s.dense_ffn_dim});
    matrix(prefix + "ffn_up.weight", {s.hidden_dim, s.dense_ffn_dim});
    matrix(prefix + "ffn_down.weight", {s.dense_ffn_dim, s.hidden_dim});
    return;
  }
  plain(prefix + "ffn_gate_inp.weight", {s.hidden_dim, s.n_experts},
        1.0f / std::sqrt(static_cast<float>(s.hidden_dim)));
  if (s.attention == AttentionKind::mla) plain(prefix + "exp_probs_b.bias", {s.n_experts}, 0.01f);
  matrix(prefix + "ffn_gate_exps.weight", {s.hidden_dim, s.expert_ffn_dim, s.n_experts});
  matrix(prefix + "ffn_up_exps.weight", {s.hidden_dim, s.expert_ffn_dim, s.n_experts});
  matrix(prefix + "ffn_down_exps.weight", {s.expert_ffn_dim, s.hidden_dim, s.n_experts});
  if (s.biases_and_sinks) {
    plain(prefix + "ffn_gate_inp.bias", {s.n_experts}, 0.1f);
    plain(prefix + "ffn_gate_exps.bias", {s.expert_ffn_dim, s.n_experts}, 0.1f);
    plain(prefix + "ffn_up_exps.bias", {s.expert_ffn_dim, s.n_experts}, 0.1f);
    plain(prefix + "ffn_down_exps.bias", {s.hidden_dim, s.n_experts}, 0.1f);
  }
  if (s.n_shared != 0) {
    const uint64_t shared_dim = uint64_t{s.n_shared} * s.expert_ffn_dim;
    matrix(prefix + "ffn_gate_shexp.weight", {s.hidden_dim, shared_dim});
    matrix(prefix + "ffn_up_shexp.weight", {s.hidden_dim, shared_dim});
    matrix(prefix + "ffn_down_shexp.weight", {shared_dim, s.hidden_dim});
  }
}

void Blueprint::tensors() {
  const SynthShape& s = shape_;
  // Embeddings of unit size: the first norm sees what later ones see.
  matrix("token_embd.weight", {s.hidden_dim, s.n_vocab},
         std::sqrt(static_cast<float>(s.hidden_dim)));
  norm("output_norm.weight", s.hidden_dim);
  matrix("output.weight", {s.hidden_dim, s.n_vocab});
  for (uint32_t layer = 0; layer < s.n_layers; ++layer) {
    const std::string prefix = fmt::format("blk.{}.", layer);
    norm(prefix + "attn_norm.weight", s.hidden_dim);
    if (s.attention == AttentionKind::mla) {
      mla(prefix);
    } else {
      gqa(prefix);
    }
    // gpt-oss names the norm before its experts after the attention it follows.
    norm(prefix + (s.biases_and_sinks ? "post_attention_norm.weight" : "ffn_norm.weight"),
         s.hidden_dim);
    ffn(prefix, layer < s.n_dense);
  }
}

Result<SynthShape> chosen_shape(const SynthOptions& options) {
  const auto table = synth_shape_table();
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const SynthShape& s) { return s.name == options.like; });
  if (found == table.end()) {
    return usage_error("--like: expected one of {}, found '{}'", fmt::join(synth_shapes(), ", "),
                       options.like);
  }
  SynthShape shape = *found;
  if (options.n_layers) {
    shape.n_layers = *options.n_layers;
    shape.n_dense = std::min<uint32_t>(shape.n_dense, 1);
  }
  if (options.n_dense) shape.n_dense = *options.n_dense;
  if (options.n_experts) shape.n_experts = *options.n_experts;
  if (options.n_vocab) shape.n_vocab = *options.n_vocab;
  if (shape.n_layers < 1 || shape.n_layers > kMaxLayers) {
    return usage_error("--layers: expected 1 to {}, found {}", kMaxLayers, shape.n_layers);
  }
  if (shape.n_dense > shape.n_layers ||
      (shape.n_dense > 0 && shape.attention == AttentionKind::gqa)) {
    return usage_error("--dense: {} leading dense layers do not fit {} with {} layers",
                       shape.n_dense, shape.name, shape.n_layers);
  }
  if (shape.n_experts < shape.n_active || shape.n_experts > kMaxExperts ||
      shape.n_experts % shape.n_groups != 0) {
    return usage_error("--experts: expected {} to {}, in {} equal group(s), found {}",
                       shape.n_active, kMaxExperts, shape.n_groups, shape.n_experts);
  }
  if (shape.n_vocab < kMinVocab || shape.n_vocab > kMaxVocab) {
    return usage_error("--vocab: expected {} to {}, found {}", kMinVocab, kMaxVocab, shape.n_vocab);
  }
  if (!can_fill(options.type)) {
    return usage_error("--type: expected one of {}, found {}", fmt::join(synth_types(), ", "),
                       format_traits(options.type).name);
  }
  return shape;
}

}  // namespace

std::vector<std::string> synth_shapes() {
  std::vector<std::string> names;
  for (const SynthShape& shape : synth_shape_table()) names.emplace_back(shape.name);
  return names;
}

std::vector<std::string> synth_types() {
  std::vector<std::string> names;
  for (uint32_t id = 0; id < 64; ++id) {
    const FormatTraits* traits = find_format(id);
    if (traits != nullptr && can_fill(traits->type)) names.emplace_back(traits->name);
  }
  return names;
}

Result<SynthResult> synthesize(const SynthOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  FLOE_TRY(const SynthShape shape, chosen_shape(options));
  Blueprint blueprint(shape, options.type);
  blueprint.metadata(options.seed);
  if (options.words_path.empty()) {
    blueprint.header.add_string("tokenizer.ggml.model", "none");
  } else {
    FLOE_TRY(const GgufFile words, GgufFile::open(options.words_path, NoTensors::allow));
    FLOE_TRY_VOID(add_words(words, shape.n_vocab, blueprint.header));
  }
  blueprint.tensors();

  const auto tensors = blueprint.header.tensors();
  FLOE_TRY(GgufWriter writer, GgufWriter::create(options.output_path, blueprint.header));
  Progress progress("writing", blueprint.header.data_bytes(), Progress::Unit::bytes,
                    options.show_progress);
  SynthResult result;
  std::vector<std::byte> piece(kPieceBytes);
  uint64_t piece_seed = mix64(options.seed);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& tensor = tensors[i];
    const TensorFill& fill = blueprint.fills[i];
    const FormatTraits& traits = format_traits(tensor.type);
    const uint64_t n_piece_bytes = kPieceBytes - kPieceBytes % traits.block_bytes;
    for (uint64_t done = 0; done < tensor.size_bytes;) {
      const auto bytes = std::span(piece).first(std::min(n_piece_bytes, tensor.size_bytes - done));
      if (fill.fill == Fill::ones) {
        auto* values = reinterpret_cast<float*>(bytes.data());
        std::fill_n(values, bytes.size() / sizeof(float), 1.0f);
      } else {
        fill_random_blocks(tensor.type, fill.deviation, ++piece_seed, bytes);
      }
      FLOE_TRY_VOID(writer.append(tensor.name, bytes));
      done += bytes.size();
      progress.advance(bytes.size());
    }
    result.n_params += tensor.dims.n_elems();
  }
  FLOE_TRY_VOID(writer.finish());
  progress.finish();
  result.file_bytes = blueprint.header.data_bytes();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace floe

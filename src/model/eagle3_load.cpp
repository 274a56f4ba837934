// Reading an EAGLE-3 head: its vocabulary and its weights.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "base/terminal_text.h"
#include "model/attention_gqa.h"
#include "model/eagle3_config.h"
#include "model/eagle3_head.h"
#include "model/gated_ffn.h"
#include "model/network.h"
#include "quant/format.h"
#include "store/safetensors.h"

namespace floe {

namespace {

constexpr uint64_t kAlignBytes = 64;

// Tensors asked for by name and shape, packed into one buffer. Targets stay in place until then.
class HeadPacker {
 public:
  HeadPacker(const SafetensorsFile& file, bool quantize) : file_(file), quantize_(quantize) {}

  Result<void> matrix(const std::string& name, uint32_t n_cols, uint32_t n_rows,
                      PackedMatrix& target) {
    FLOE_TRY(const Source source, require(name, {n_cols, n_rows}));
    const uint32_t block = format_traits(QuantType::Q4_0).block_elems;
    target = packed_shape(quantize_ && n_cols % block == 0 ? QuantType::Q4_0 : source.format,
                          n_cols, n_rows, 1);
    matrices_.push_back({&target, source, 0});
    return {};
  }

  Result<void> vector(const std::string& name, uint32_t n, const float*& target) {
    FLOE_TRY(const Source source, require(name, {n}));
    vectors_.push_back({&target, source, 0});
    return {};
  }

  // n integers of any width, in a tensor of one dimension.
  Result<std::vector<int64_t>> integers(const std::string& name, uint32_t n,
                                        std::initializer_list<ElementType> types) {
    const SafetensorsTensor* tensor = file_.find(name);
    FLOE_CHECK(tensor != nullptr);
    used_.insert(name);
    const bool known = std::find(types.begin(), types.end(), tensor->type) != types.end();
    if (!known || tensor->dims != TensorDims{n}) {
      return model_error("{}: tensor {}: expected [{}] of {}, found {} of {}", file_.source(), name,
                         n, to_string(*types.begin()), tensor->dims.text(),
                         to_string(tensor->type));
    }
    std::vector<std::byte> bytes(tensor->size_bytes);
    FLOE_TRY_VOID(file_.read(*tensor, 0, bytes));
    const size_t width = bytes.size() / n;
    std::vector<int64_t> values(n);
    for (size_t i = 0; i < n; ++i) {
      if (width == 8) {
        std::memcpy(&values[i], bytes.data() + i * 8, 8);
      } else if (width == 4) {
        int32_t value = 0;
        std::memcpy(&value, bytes.data() + i * 4, 4);
        values[i] = value;
      } else {
        values[i] = static_cast<int64_t>(bytes[i]);
      }
    }
    return values;
  }

  Result<void> check_complete() const {
    for (const SafetensorsTensor& tensor : file_.tensors()) {
      if (used_.find(tensor.name) != used_.end()) continue;
      return model_error("{}: tensor {}: expected only tensors of an EAGLE-3 head, found {} of {}",
                         file_.source(), escape_for_terminal(tensor.name, 128), tensor.dims.text(),
                         to_string(tensor.type));
    }
    return {};
  }

  Result<HugeBuffer> pack(ThreadPool& pool) {
    uint64_t needed = 0;
    const auto place = [&](uint64_t n_bytes) {
      const uint64_t offset = needed;
      needed += (n_bytes + kAlignBytes - 1) & ~(kAlignBytes - 1);
      return offset;
    };
    for (MatrixJob& job : matrices_) job.offset = place(job.target->size_bytes());
    for (VectorJob& job : vectors_) job.offset = place(job.source.tensor->dims.n_elems() * 4);
    const uint64_t available = available_memory_bytes();
    if (available != 0 && needed > available) {
      return make_error(ErrorKind::memory,
                        "{}: the weights need {:.1f} GB, {:.1f} GB are available", file_.source(),
                        static_cast<double>(needed) / 1e9, static_cast<double>(available) / 1e9);
    }
    FLOE_TRY(HugeBuffer buffer, HugeBuffer::allocate(needed));
    for (const MatrixJob& job : matrices_) {
      job.target->data = buffer.data() + job.offset;
      FLOE_TRY_VOID(pack_matrix(job, buffer.data() + job.offset, pool));
    }
    for (const VectorJob& job : vectors_) {
      auto* values = reinterpret_cast<float*>(buffer.data() + job.offset);
      std::vector<std::byte> bytes(job.source.tensor->size_bytes);
      FLOE_TRY_VOID(file_.read(*job.source.tensor, 0, bytes));
      format_traits(job.source.format)
          .decode(bytes.data(), values, job.source.tensor->dims.n_elems());
      *job.target = values;
    }
    return buffer;
  }

 private:
  struct Source {
    const SafetensorsTensor* tensor = nullptr;
    QuantType format = QuantType::F32;
  };
  struct MatrixJob {
    PackedMatrix* target = nullptr;
    Source source;
    uint64_t offset = 0;
  };
  struct VectorJob {
    const float** target = nullptr;
    Source source;
    uint64_t offset = 0;
  };

  Result<Source> require(const std::string& name, const TensorDims& dims) {
    FLOE_TRY(const SafetensorsTensor* tensor, file_.require(name, dims));
    const std::optional<QuantType> format = float_format(tensor->type);
    if (!format) {
      return model_error("{}: tensor {}: expected F32, F16 or BF16, found {}", file_.source(), name,
                         to_string(tensor->type));
    }
    used_.insert(name);
    return Source{tensor, *format};
  }

  // Rows [begin, end) of the matrix in the target's format, in the file's layout.
  Result<void> read_rows(const MatrixJob& job, uint32_t begin, uint32_t end,
                         std::vector<std::byte>& rows) const {
    const uint32_t n_cols = job.target->n_cols;
    const uint64_t n = uint64_t{end - begin} * n_cols;
    const uint64_t one_row = row_bytes(job.source.format, n_cols);
    std::vector<std::byte> bytes((end - begin) * one_row);
    FLOE_TRY_VOID(file_.read(*job.source.tensor, begin * one_row, bytes));
    if (job.target->type == job.source.format) {
      rows.swap(bytes);
      return {};
    }
    std::vector<float> values(n);
    format_traits(job.source.format).decode(bytes.data(), values.data(), n);
    rows.resize((end - begin) * row_bytes(job.target->type, n_cols));
    format_traits(job.target->type).encode(values.data(), rows.data(), n);
    return {};
  }

  Result<void> pack_matrix(const MatrixJob& job, std::byte* packed, ThreadPool& pool) const {
    const PackedMatrix& target = *job.target;
    constexpr uint64_t kPieceBytes = 256 << 10;
    const auto step =
        static_cast<uint32_t>(std::max<uint64_t>(1, kPieceBytes / target.group_bytes));
    std::mutex mutex;
    std::optional<Error> error;
    pool.run([&](Worker& worker) {
      worker.chunks(target.n_groups, step, [&](uint32_t begin, uint32_t end) {
        std::vector<std::byte> rows;
        const Result<void> read = read_rows(job, begin * kRowsPerGroup,
                                            std::min(end * kRowsPerGroup, target.n_rows), rows);
        if (read.ok()) {
          pack_groups(target, rows.data(), packed, begin, end);
          return;
        }
        const std::lock_guard lock(mutex);
        if (!error) error = read.error();
      });
    });
    if (error) return *error;
    return {};
  }

  const SafetensorsFile& file_;
  const bool quantize_;
  std::unordered_set<std::string> used_;
  std::vector<MatrixJob> matrices_;
  std::vector<VectorJob> vectors_;
};

// d2t says how far behind its own number a draft id's token stands; t2d, where it is there, marks
// those tokens.
Result<std::vector<uint32_t>> read_vocabulary(const SafetensorsFile& file, HeadPacker& packer,
                                              uint32_t n_vocab) {
  const SafetensorsTensor* lm_head = file.find("lm_head.weight");
  if (lm_head == nullptr || lm_head->dims.size() != 2 || lm_head->dims.n_rows() > n_vocab) {
    return model_error("{}: tensor lm_head.weight: expected [hidden_size, at most {}], found {}",
                       file.source(), n_vocab, lm_head == nullptr ? "none" : lm_head->dims.text());
  }
  const auto n_draft = static_cast<uint32_t>(lm_head->dims.n_rows());
  std::vector<int64_t> offsets(n_draft, 0);
  if (file.find("d2t") != nullptr) {
    FLOE_TRY(offsets, packer.integers("d2t", n_draft, {ElementType::I64, ElementType::I32}));
  }
  std::vector<uint32_t> ids(n_draft);
  std::vector<bool> taken(n_vocab, false);
  for (uint32_t i = 0; i < n_draft; ++i) {
    const bool within = offsets[i] >= -static_cast<int64_t>(i) &&
                        offsets[i] < static_cast<int64_t>(n_vocab) - static_cast<int64_t>(i);
    if (!within || taken[static_cast<size_t>(i + offsets[i])]) {
      return model_error("{}: tensor d2t: expected different tokens below {}, found {} at {}",
                         file.source(), n_vocab, offsets[i], i);
    }
    ids[i] = static_cast<uint32_t>(i + offsets[i]);
    taken[ids[i]] = true;
  }
  if (file.find("t2d") != nullptr) {
    FLOE_TRY(const std::vector<int64_t> mask,
             packer.integers("t2d", n_vocab, {ElementType::BOOL, ElementType::U8}));
    for (uint32_t i = 0; i < n_vocab; ++i) {
      if ((mask[i] != 0) != taken[i]) {
        return model_error("{}: tensor t2d: expected the tokens of d2t, found another at {}",
                           file.source(), i);
      }
    }
  }
  return ids;
}

}  // namespace

struct Eagle3Loader {
  static Result<void> read(const SafetensorsFile& file, const Eagle3Config& config,
                           const Eagle3Options& options, Eagle3Head& head);
};

Result<void> Eagle3Loader::read(const SafetensorsFile& file, const Eagle3Config& config,
                                const Eagle3Options& options, Eagle3Head& head) {
  HeadPacker packer(file, options.quantize);
  FLOE_TRY(head.target_ids_, read_vocabulary(file, packer, head.n_vocab_));

  head.network_ = std::make_unique<Network>();
  Network& network = *head.network_;
  const uint32_t hidden_dim = config.hidden_dim;
  const uint32_t trunk_hidden_dim = head.trunk_.info().hidden_dim;
  network.hidden_dim = hidden_dim;
  network.n_vocab = static_cast<uint32_t>(head.target_ids_.size());
  network.rms_eps = config.rms_eps;
  Hparams rope;
  rope.rope_dim = config.head_dim;
  rope.rope_base = config.rope_base;
  network.rope = RopeFrequencies(rope, {});

  Eagle3Parts& parts = network.eagle3.emplace();
  parts.norms_residual = config.norms_residual;
  Layer& layer = network.layers.emplace_back();
  const std::string p =
      file.find("layers.0.input_layernorm.weight") != nullptr ? "layers.0." : "midlayer.";
  FLOE_TRY_VOID(packer.matrix("fc.weight", kTaps * trunk_hidden_dim, hidden_dim, parts.fc));
  FLOE_TRY_VOID(packer.vector(p + "input_layernorm.weight", hidden_dim, parts.embedding_norm));
  FLOE_TRY_VOID(packer.vector(p + "hidden_norm.weight", hidden_dim, parts.hidden_norm));

  auto& attention = layer.make_attention<GqaAttention>();
  attention.n_heads = config.n_heads;
  attention.n_kv_heads = config.n_kv_heads;
  attention.key_dim = attention.value_dim = config.head_dim;
  attention.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  attention.norm_eps = config.rms_eps;
  const uint32_t q_dim = config.n_heads * config.head_dim;
  const uint32_t kv_dim = config.n_kv_heads * config.head_dim;
  const std::string a = p + "self_attn.";
  FLOE_TRY_VOID(packer.matrix(a + "q_proj.weight", 2 * hidden_dim, q_dim, attention.q));
  FLOE_TRY_VOID(packer.matrix(a + "k_proj.weight", 2 * hidden_dim, kv_dim, attention.k));
  FLOE_TRY_VOID(packer.matrix(a + "v_proj.weight", 2 * hidden_dim, kv_dim, attention.v));
  FLOE_TRY_VOID(packer.matrix(a + "o_proj.weight", q_dim, hidden_dim, attention.output));

  FLOE_TRY_VOID(packer.vector(p + "post_attention_layernorm.weight", hidden_dim, layer.ffn_norm));
  GatedFfn& ffn = layer.make_ffn<DenseFfn>().ffn;
  FLOE_TRY_VOID(packer.matrix(p + "mlp.gate_proj.weight", hidden_dim, config.ffn_dim, ffn.gate));
  FLOE_TRY_VOID(packer.matrix(p + "mlp.up_proj.weight", hidden_dim, config.ffn_dim, ffn.up));
  FLOE_TRY_VOID(packer.matrix(p + "mlp.down_proj.weight", config.ffn_dim, hidden_dim, ffn.down));

  FLOE_TRY_VOID(packer.vector("norm.weight", hidden_dim, network.output_norm));
  FLOE_TRY_VOID(packer.matrix("lm_head.weight", hidden_dim, network.n_vocab, network.output));
  if (file.find("embed_tokens.weight") != nullptr) {
    FLOE_TRY_VOID(
        packer.matrix("embed_tokens.weight", hidden_dim, head.n_vocab_, network.token_embedding));
  } else if (hidden_dim != trunk_hidden_dim) {
    return model_error(
        "{}: tensor embed_tokens.weight: expected one, for hidden_size {} is not the model's {}",
        file.source(), hidden_dim, trunk_hidden_dim);
  }
  FLOE_TRY_VOID(packer.check_complete());
  FLOE_TRY(head.weights_, packer.pack(head.pool_));
  return {};
}

Result<std::unique_ptr<Eagle3Head>> Eagle3Head::load(const std::string& folder, const Model& trunk,
                                                     const Eagle3Options& options,
                                                     ThreadPool& pool) {
  FLOE_TRY(const Eagle3Config config, read_eagle3_config(folder));
  const ModelInfo& info = trunk.info();
  if (config.trunk_hidden_dim.value_or(info.hidden_dim) != info.hidden_dim) {
    return model_error("{}: target_hidden_size: expected {}, found {}", config.source,
                       info.hidden_dim, *config.trunk_hidden_dim);
  }
  FLOE_TRY(const TapLayers tap_layers, read_tap_layers(config, info.n_layers));
  FLOE_TRY(const SafetensorsFile file, SafetensorsFile::open(folder));
  const KernelTable& table = options.kernels != nullptr ? *options.kernels : floe::kernels();
  std::unique_ptr<Eagle3Head> head(new Eagle3Head(trunk, pool, table));
  head->tap_layers_ = tap_layers;
  head->n_vocab_ = info.n_vocab;
  FLOE_TRY_VOID(Eagle3Loader::read(file, config, options, *head));
  return head;
}

}  // namespace floe

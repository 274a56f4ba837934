// Reading an EAGLE-3 head: its configuration, its vocabulary, its weights.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "base/json.h"
#include "base/terminal_text.h"
#include "model/eagle3_head.h"
#include "quant/format.h"
#include "store/regular_file.h"
#include "store/safetensors.h"

namespace floe {

namespace {

constexpr uint64_t kAlignBytes = 64;
constexpr uint32_t kMaxDim = 1u << 20;
constexpr uint32_t kMaxHeadDim = 8192;  // as of every model

struct Eagle3Config {
  uint32_t hidden_dim = 0;
  uint32_t trunk_hidden_dim = 0;
  uint32_t ffn_dim = 0;
  uint32_t n_heads = 0;
  uint32_t n_kv_heads = 0;
  uint32_t head_dim = 0;
  float rms_eps = 0.0f;
  float rope_base = 0.0f;
  bool norms_residual = false;
  TapLayers tap_layers{};
};

// The fields of config.json, each with what it must be.
class ConfigReader {
 public:
  ConfigReader(const Json& config, std::string source)
      : config_(config), source_(std::move(source)) {}

  const Json* find(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }
  Error wrong(const char* key, std::string_view expected, const Json* found) const {
    return model_error("{}: {}: expected {}, found {}", source_, key, expected,
                       found == nullptr ? "none" : escape_for_terminal(dump_json(*found), 128));
  }

  Result<uint32_t> count(const char* key, std::optional<uint32_t> absent = std::nullopt) const {
    const Json* value = find(key);
    if (value == nullptr && absent) return *absent;
    const bool good = value != nullptr && value->is_number_unsigned() &&
                      value->get<uint64_t>() >= 1 && value->get<uint64_t>() <= kMaxDim;
    if (!good) return wrong(key, fmt::format("1 to {}", kMaxDim), value);
    return value->get<uint32_t>();
  }
  Result<float> number(const Json* value, const char* key, double low, double high,
                       double absent) const {
    if (value == nullptr) return static_cast<float>(absent);
    const bool good =
        value->is_number() && value->get<double>() >= low && value->get<double>() <= high;
    if (!good) return wrong(key, fmt::format("{} to {}", low, high), value);
    return value->get<float>();
  }
  // Fails where the field is there and is another value.
  Result<void> only(const char* key, const Json& value) const {
    const Json* found = find(key);
    if (found == nullptr || *found == value) return {};
    return wrong(key, dump_json(value), found);
  }

 private:
  const Json& config_;
  std::string source_;
};

// Published ids mean two things: inside eagle_config the layers themselves, at the top level the
// layer that reads the state, one higher. Without ids: near the bottom, the middle, near the top.
Result<TapLayers> read_tap_layers(const Json& config, const ConfigReader& reader,
                                  uint32_t n_layers) {
  constexpr const char* kKey = "eagle_aux_hidden_state_layer_ids";
  const Json* ids = nullptr;
  uint64_t first = 0;  // the number that stands for layer 0
  if (const Json* inner = reader.find("eagle_config"); inner != nullptr && inner->is_object()) {
    if (inner->value("use_aux_hidden_state", Json(true)) != Json(true)) {
      return reader.wrong("eagle_config", "a head that uses hidden states of three layers", inner);
    }
    if (const auto found = inner->find(kKey); found != inner->end() && !found->is_null()) {
      ids = &*found;
    }
  }
  if (ids == nullptr && reader.find(kKey) != nullptr) {
    ids = &config.at(kKey);
    first = 1;
  }
  TapLayers taps{1, n_layers / 2 - 1, n_layers - 4};
  const auto expected = fmt::format("three layers below {}", n_layers);
  if (ids == nullptr) {
    if (n_layers >= 5) return taps;
    return reader.wrong(kKey, expected, nullptr);
  }
  if (!ids->is_array() || ids->size() != kTaps) return reader.wrong(kKey, expected, ids);
  for (uint32_t i = 0; i < kTaps; ++i) {
    const Json& id = (*ids)[i];
    const bool good = id.is_number_unsigned() && id.get<uint64_t>() >= first &&
                      id.get<uint64_t>() - first < n_layers;
    if (!good) return reader.wrong(kKey, expected, ids);
    taps[i] = static_cast<uint32_t>(id.get<uint64_t>() - first);
  }
  return taps;
}

Result<Eagle3Config> read_config(const std::string& folder, const ModelInfo& trunk) {
  const std::string path = (std::filesystem::path(folder) / "config.json").string();
  FLOE_TRY(const RegularFile file, open_regular_file(path));
  const std::string& source = file.name;
  JsonLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_values = 1 << 16;
  if (file.size_bytes > limits.max_bytes) {
    return model_error("{}: expected at most {} bytes, found {}", source, limits.max_bytes,
                       file.size_bytes);
  }
  FLOE_TRY(const std::string text, read_text(file, 0, file.size_bytes));
  const auto parsed = parse_json(text, limits);
  if (!parsed.ok()) return model_error("{}: {}", source, parsed.error().message);
  const Json& json = *parsed;
  if (!json.is_object()) return model_error("{}: expected an object", source);

  const ConfigReader reader(json, source);
  FLOE_TRY_VOID(reader.only("num_hidden_layers", 1));
  FLOE_TRY_VOID(reader.only("hidden_act", "silu"));
  FLOE_TRY_VOID(reader.only("attention_bias", false));
  FLOE_TRY_VOID(reader.only("mlp_bias", false));
  FLOE_TRY_VOID(reader.only("target_hidden_size", trunk.hidden_dim));
  Eagle3Config config;
  config.trunk_hidden_dim = trunk.hidden_dim;
  FLOE_TRY(config.hidden_dim, reader.count("hidden_size"));
  FLOE_TRY(config.ffn_dim, reader.count("intermediate_size"));
  FLOE_TRY(config.n_heads, reader.count("num_attention_heads"));
  FLOE_TRY(config.n_kv_heads, reader.count("num_key_value_heads", config.n_heads));
  FLOE_TRY(config.head_dim,
           reader.count("head_dim", std::max(1u, config.hidden_dim / config.n_heads)));
  if (config.n_heads % config.n_kv_heads != 0) {
    return reader.wrong("num_key_value_heads",
                        fmt::format("a divisor of num_attention_heads {}", config.n_heads),
                        reader.find("num_key_value_heads"));
  }
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim ||
      uint64_t{config.n_heads} * config.head_dim > kMaxDim) {
    return reader.wrong(
        "head_dim",
        fmt::format("an even number up to {}, at most {} for all heads", kMaxHeadDim, kMaxDim),
        reader.find("head_dim"));
  }
  FLOE_TRY(config.rms_eps,
           reader.number(reader.find("rms_norm_eps"), "rms_norm_eps", 1e-12, 1.0, 1e-6));
  const Json* scaling = reader.find("rope_scaling");
  const Json* base = reader.find("rope_theta");
  if (const Json* rope = reader.find("rope_parameters"); rope != nullptr && rope->is_object()) {
    if (const auto theta = rope->find("rope_theta"); theta != rope->end()) base = &*theta;
    if (rope->value("rope_type", Json("default")) != Json("default")) scaling = rope;
  }
  if (scaling != nullptr) return reader.wrong("rope_scaling", "none", scaling);
  FLOE_TRY(config.rope_base, reader.number(base, "rope_theta", 1.0, 1e12, 10000.0));
  if (const Json* norms = reader.find("norm_before_residual"); norms != nullptr) {
    if (!norms->is_boolean()) return reader.wrong("norm_before_residual", "true or false", norms);
    config.norms_residual = norms->get<bool>();
  }
  FLOE_TRY(config.tap_layers, read_tap_layers(json, reader, trunk.n_layers));
  return config;
}

std::optional<QuantType> float_format(ElementType type) {
  switch (type) {
    case ElementType::F32:
      return QuantType::F32;
    case ElementType::F16:
      return QuantType::F16;
    case ElementType::BF16:
      return QuantType::BF16;
    default:
      return std::nullopt;
  }
}

// Tensors asked for by name and shape, packed into one buffer. Targets stay in place until then.
class HeadPacker {
 public:
  HeadPacker(const SafetensorsFile& file, bool quantize) : file_(file), quantize_(quantize) {}

  Result<void> matrix(const std::string& name, uint32_t n_cols, uint32_t n_rows,
                      PackedMatrix& target) {
    FLOE_TRY(const Source source, require(name, {n_cols, n_rows}));
    const uint32_t block = format_traits(QuantType::Q8_0).block_elems;
    target = packed_shape(quantize_ && n_cols % block == 0 ? QuantType::Q8_0 : source.format,
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
      return make_error(ErrorKind::memory, "{}: the weights need {} bytes, {} are available",
                        file_.source(), needed, available);
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
  head.tap_layers_ = config.tap_layers;
  FLOE_TRY(head.target_ids_, read_vocabulary(file, packer, head.n_vocab_));

  head.network_ = std::make_unique<Network>();
  Network& network = *head.network_;
  const uint32_t hidden_dim = config.hidden_dim;
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
  FLOE_TRY_VOID(packer.matrix("fc.weight", kTaps * config.trunk_hidden_dim, hidden_dim, parts.fc));
  FLOE_TRY_VOID(packer.vector(p + "input_layernorm.weight", hidden_dim, parts.embedding_norm));
  FLOE_TRY_VOID(packer.vector(p + "hidden_norm.weight", hidden_dim, parts.hidden_norm));

  auto& attention = layer.attention.emplace<GqaAttention>();
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
  GatedFfn& ffn = layer.ffn.emplace<DenseFfn>().ffn;
  FLOE_TRY_VOID(packer.matrix(p + "mlp.gate_proj.weight", hidden_dim, config.ffn_dim, ffn.gate));
  FLOE_TRY_VOID(packer.matrix(p + "mlp.up_proj.weight", hidden_dim, config.ffn_dim, ffn.up));
  FLOE_TRY_VOID(packer.matrix(p + "mlp.down_proj.weight", config.ffn_dim, hidden_dim, ffn.down));

  FLOE_TRY_VOID(packer.vector("norm.weight", hidden_dim, network.output_norm));
  FLOE_TRY_VOID(packer.matrix("lm_head.weight", hidden_dim, network.n_vocab, network.output));
  if (file.find("embed_tokens.weight") != nullptr) {
    FLOE_TRY_VOID(
        packer.matrix("embed_tokens.weight", hidden_dim, head.n_vocab_, network.token_embedding));
  } else if (hidden_dim != config.trunk_hidden_dim) {
    return model_error(
        "{}: tensor embed_tokens.weight: expected one, for hidden_size {} is not the model's {}",
        file.source(), hidden_dim, config.trunk_hidden_dim);
  }
  FLOE_TRY_VOID(packer.check_complete());
  FLOE_TRY(head.weights_, packer.pack(head.pool_));
  return {};
}

Result<std::unique_ptr<Eagle3Head>> Eagle3Head::load(const std::string& folder, const Model& trunk,
                                                     const Eagle3Options& options,
                                                     ThreadPool& pool) {
  FLOE_TRY(const Eagle3Config config, read_config(folder, trunk.info()));
  FLOE_TRY(const SafetensorsFile file, SafetensorsFile::open(folder));
  const KernelTable& table = options.kernels != nullptr ? *options.kernels : floe::kernels();
  std::unique_ptr<Eagle3Head> head(new Eagle3Head(trunk, pool, table));
  head->n_vocab_ = trunk.info().n_vocab;
  FLOE_TRY_VOID(Eagle3Loader::read(file, config, options, *head));
  return head;
}

}  // namespace floe

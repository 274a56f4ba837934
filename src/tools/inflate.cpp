#include "tools/inflate.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <span>

#include "base/progress.h"
#include "base/terminal_text.h"
#include "model/architecture.h"
#include "quant/blocks.h"
#include "store/gguf_writer.h"
#include "tools/inflate_widths.h"

namespace floe {

namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;
// Beyond it no reader accepts the file.
constexpr uint64_t kMaxDim = 1 << 20;
constexpr uint64_t kMaxHeadDim = 8192;

// Pads one tensor after the other; holds a piece of input and one of output, a row each at least.
class Padder {
 public:
  Padder(const GgufFile& file, GgufWriter& writer, Progress& progress, float norm_factor)
      : file_(file), writer_(writer), progress_(progress), norm_factor_(norm_factor) {}

  Result<void> write(const TensorPlan& plan) {
    plan_ = &plan;
    const QuantType type = plan.source->type;
    zero_ = zero_block(type);
    source_row_bytes_ = row_bytes(type, plan.source->dims.n_cols());
    n_source_rows_ = plan.source->dims.n_rows();
    row_bytes_ = row_bytes(type, plan.dims.n_cols());
    n_read_rows_ = 0;
    uint64_t first = 0;  // source row of the run
    for (uint64_t plane = 0; plane < plan.n_planes; ++plane) {
      for (const Run& run : plan.rows) {
        for (uint64_t i = 0; i < run.n_padded; ++i) {
          if (i >= run.n && run.padding == Padding::zeros) {
            FLOE_TRY_VOID(add_zero_row());
          } else {
            FLOE_TRY(const std::byte* row, source_row(first + i % run.n));
            FLOE_TRY_VOID(add_row(row));
          }
        }
        first += run.n;
      }
    }
    return flush();
  }

 private:
  // The row, out of a piece that is read when the row is not in it.
  Result<const std::byte*> source_row(uint64_t row) {
    if (row < first_read_row_ || row >= first_read_row_ + n_read_rows_) {
      n_read_rows_ = std::clamp<uint64_t>(kPieceBytes / source_row_bytes_, 1, n_source_rows_ - row);
      first_read_row_ = row;
      in_.resize(n_read_rows_ * source_row_bytes_);
      FLOE_TRY_VOID(file_.read(*plan_->source, row * source_row_bytes_, in_));
    }
    return in_.data() + (row - first_read_row_) * source_row_bytes_;
  }

  Result<void> make_room() {
    if (!out_.empty() && out_.size() + row_bytes_ > kPieceBytes) return flush();
    return {};
  }

  Result<void> add_row(const std::byte* row) {
    FLOE_TRY_VOID(make_room());
    const QuantType type = plan_->source->type;
    for (const Run& run : plan_->cols) {
      const size_t n_bytes = row_bytes(type, run.n);
      const size_t begin = out_.size();
      out_.insert(out_.end(), row, row + n_bytes);
      if (plan_->is_norm && norm_factor_ != 1.0f) scale({out_.data() + begin, n_bytes});
      uint64_t n_left = run.n_padded - run.n;
      if (run.padding == Padding::copies) {
        for (; n_left > 0; n_left -= run.n) out_.insert(out_.end(), row, row + n_bytes);
      }
      add_zeros(row_bytes(type, n_left));
      row += n_bytes;
    }
    return {};
  }

  Result<void> add_zero_row() {
    FLOE_TRY_VOID(make_room());
    add_zeros(row_bytes_);
    return {};
  }

  void add_zeros(size_t n_bytes) {
    const size_t begin = out_.size();
    out_.resize(begin + n_bytes);  // zero bytes
    if (std::none_of(zero_.begin(), zero_.end(), [](std::byte b) { return b != std::byte{0}; })) {
      return;
    }
    for (size_t at = begin; at < out_.size(); at += zero_.size()) {
      std::memcpy(out_.data() + at, zero_.data(), zero_.size());
    }
  }

  void scale(std::span<std::byte> values) const {
    for (size_t at = 0; at < values.size(); at += sizeof(float)) {
      float value;
      std::memcpy(&value, values.data() + at, sizeof value);
      value *= norm_factor_;
      std::memcpy(values.data() + at, &value, sizeof value);
    }
  }

  Result<void> flush() {
    FLOE_TRY_VOID(writer_.append(plan_->source->name, out_));
    progress_.advance(out_.size());
    out_.clear();
    return {};
  }

  const GgufFile& file_;
  GgufWriter& writer_;
  Progress& progress_;
  float norm_factor_;
  const TensorPlan* plan_ = nullptr;
  std::vector<std::byte> zero_;
  uint64_t source_row_bytes_ = 0;
  uint64_t n_source_rows_ = 0;
  uint64_t row_bytes_ = 0;
  std::vector<std::byte> in_;
  uint64_t first_read_row_ = 0;
  uint64_t n_read_rows_ = 0;
  std::vector<std::byte> out_;
};

// The keys that state a width, with their values in the output.
struct WidthKeys {
  std::vector<std::pair<std::string, uint64_t>> values;

  WidthKeys(const GgufFile& file, const Hparams& h, uint64_t times) {
    const auto key = [&](const char* name) { return h.architecture + "." + name; };
    const auto grow = [&](const char* name, uint64_t value) {
      if (file.has(key(name))) values.emplace_back(key(name), value * times);
    };
    grow("embedding_length", h.hidden_dim);
    grow("feed_forward_length", h.ffn_dim);
    grow("expert_feed_forward_length", h.expert_ffn_dim);
    grow("expert_shared_feed_forward_length", uint64_t{h.n_shared_experts} * h.expert_ffn_dim);
    grow("attention.q_lora_rank", h.q_lora_dim);
    grow("attention.kv_lora_rank", h.kv_lora_dim);
    if (h.kv_lora_dim == 0) {
      // Left out, it would follow from the hidden width.
      values.emplace_back(key("attention.key_length"), h.key_dim);
      values.emplace_back(key("attention.value_length"), h.value_dim);
    } else if (file.has(key("attention.key_length_mla"))) {
      // What attention over latents sees as its heads.
      values.emplace_back(key("attention.key_length"), h.kv_lora_dim * times + h.rope_dim);
      values.emplace_back(key("attention.value_length"), h.kv_lora_dim * times);
    }
  }
};

Result<GgufHeaderBuilder> make_header(const GgufFile& file, const Hparams& h,
                                      const InflatePlan& plan, uint32_t times) {
  WidthKeys widths(file, h, times);
  for (const auto& [key, value] : widths.values) {
    const bool of_head = key.ends_with("key_length") || key.ends_with("value_length");
    const uint64_t most = of_head ? kMaxHeadDim : kMaxDim;
    if (value <= most) continue;
    return model_error("{}: {}: expected at most {} after padding {} times, found {}",
                       file.source(), key, most, times, value);
  }
  const std::string eps_key = h.architecture + ".attention.layer_norm_rms_epsilon";
  GgufHeaderBuilder header(file.alignment());
  for (const MetadataEntry& entry : file.entries()) {
    // The output is one file.
    if (entry.key.starts_with("split.")) continue;
    const auto width = std::find_if(widths.values.begin(), widths.values.end(),
                                    [&](const auto& pair) { return pair.first == entry.key; });
    if (width != widths.values.end()) {
      header.add_u32(entry.key, static_cast<uint32_t>(width->second));
      widths.values.erase(width);
    } else if (entry.key == eps_key) {
      header.add_f32(entry.key, plan.rms_eps);
    } else if (entry.key == "general.name" && entry.type == ValueType::string) {
      FLOE_TRY(const std::string_view name, file.require_string(entry.key));
      header.add_string(entry.key, fmt::format("{} x{}", name, times));
    } else {
      header.add_copy(entry);
    }
  }
  for (const auto& [key, value] : widths.values) header.add_u32(key, static_cast<uint32_t>(value));
  for (const TensorPlan& tensor : plan.tensors) {
    header.add_tensor(tensor.source->name, tensor.source->type, tensor.dims);
  }
  return header;
}

}  // namespace

std::vector<std::byte> zero_block(QuantType type) {
  std::vector<std::byte> block(format_traits(type).block_bytes, std::byte{0});
  // Zero values under an ordinary scale: the exponent 0 is a subnormal number, which slows some
  // machines down. Scales of other formats are half-precision numbers, and 0 is one.
  if (type == QuantType::MXFP4) block[offsetof(BlockMXFP4, e)] = std::byte{127};
  return block;
}

Result<InflateResult> inflate(const InflateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.times < 2 || options.times > kMaxInflation) {
    return usage_error("--times: expected 2 to {}, found {}", kMaxInflation, options.times);
  }
  FLOE_TRY(const GgufFile file, GgufFile::open(options.model_path));
  if (file.is_part(options.output_path)) {
    return usage_error("-o: expected another file than the model, found {}",
                       escape_for_terminal(options.output_path, 1024));
  }
  FLOE_TRY(const std::string_view name, file.require_string("general.architecture"));
  const Architecture* architecture = find_architecture(name);
  if (architecture == nullptr) {
    return model_error("{}: general.architecture: expected one of {}, found {}", file.source(),
                       supported_architectures(), escape_for_terminal(name));
  }
  FLOE_TRY(const Hparams hparams,
           read_hparams(file, architecture->name, architecture->required_keys));
  FLOE_TRY(const InflatePlan plan, plan_inflation(file, hparams, options.times));
  FLOE_TRY(const GgufHeaderBuilder header, make_header(file, hparams, plan, options.times));

  InflateResult result;
  for (const TensorView& tensor : file.tensors()) result.input_bytes += tensor.size_bytes;
  for (const auto& tensor : header.tensors()) result.output_bytes += tensor.size_bytes;
  Progress progress("inflating", result.output_bytes, Progress::Unit::bytes, options.show_progress);
  FLOE_TRY(GgufWriter writer, GgufWriter::create(options.output_path, header));
  Padder padder(file, writer, progress, plan.norm_factor);
  for (const TensorPlan& tensor : plan.tensors) FLOE_TRY_VOID(padder.write(tensor));
  FLOE_TRY_VOID(writer.finish());
  progress.finish();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace floe

#include "tools/inflate.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <span>

#include "base/progress.h"
#include "base/terminal_text.h"
#include "model/architecture.h"
#include "model/hparams.h"
#include "store/gguf_writer.h"
#include "tools/inflate_head.h"
#include "tools/inflate_widths.h"
#include "tools/pad_tensor.h"

namespace floe {

namespace {

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
    header.add_tensor(tensor.name, tensor.type, tensor.dims);
  }
  return header;
}

Result<InflateResult> inflate_model(const InflateOptions& options) {
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
  FLOE_TRY(GgufWriter writer, GgufWriter::create(options.output_path, header));
  Progress progress("inflating", result.output_bytes, Progress::Unit::bytes, options.show_progress);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const TensorPlan& tensor = plan.tensors[i];
    FLOE_TRY_VOID(pad_tensor(
        tensor, plan.norm_factor,
        [&](uint64_t begin, std::span<std::byte> out) {
          return file.read(file.tensors()[i], begin, out);
        },
        [&](std::span<const std::byte> bytes) {
          progress.advance(bytes.size());
          return writer.append(tensor.name, bytes);
        }));
  }
  FLOE_TRY_VOID(writer.finish());
  progress.finish();
  return result;
}

}  // namespace

Result<InflateResult> inflate(const InflateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.times < 2 || options.times > kMaxInflation) {
    return usage_error("--times: expected 2 to {}, found {}", kMaxInflation, options.times);
  }
  std::error_code failure;  // what cannot be looked at is refused when it is opened
  FLOE_TRY(InflateResult result, std::filesystem::is_directory(options.model_path, failure)
                                     ? inflate_head(options)
                                     : inflate_model(options));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace floe

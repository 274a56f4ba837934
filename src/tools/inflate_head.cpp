#include "tools/inflate_head.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "base/terminal_text.h"
#include "model/eagle3_config.h"
#include "model/hparams.h"
#include "model/model.h"
#include "store/safetensors.h"
#include "tools/inflate_widths.h"
#include "tools/pad_tensor.h"

namespace floe {

namespace {

namespace fs = std::filesystem;

struct Part {
  const SafetensorsTensor* source;
  const TensorPlan* plan;  // nullptr: copied as it is
};

// In the file's order.
std::vector<Part> parts_of(const SafetensorsFile& file, const InflatePlan& plan) {
  std::vector<Part> parts;
  for (const SafetensorsTensor& source : file.tensors()) {
    const auto found =
        std::find_if(plan.tensors.begin(), plan.tensors.end(),
                     [&](const TensorPlan& candidate) { return candidate.name == source.name; });
    parts.push_back({&source, found == plan.tensors.end() ? nullptr : &*found});
  }
  return parts;
}

// The tensor's values from byte `begin` of its F32 form on.
Result<void> read_as_f32(const SafetensorsFile& file, const SafetensorsTensor& tensor,
                         QuantType format, uint64_t begin, std::span<std::byte> out) {
  const size_t n = out.size() / sizeof(float);
  const uint64_t n_bytes = element_bytes(tensor.type);
  std::vector<std::byte> bytes(n * n_bytes);
  FLOE_TRY_VOID(file.read(tensor, begin / sizeof(float) * n_bytes, bytes));
  format_traits(format).decode(bytes.data(), reinterpret_cast<float*>(out.data()), n);
  return {};
}

Result<void> copy_tensor(const SafetensorsFile& file, const SafetensorsTensor& tensor,
                         const WriteTensor& write) {
  std::vector<std::byte> piece(size_t{1} << 20);
  for (uint64_t done = 0; done < tensor.size_bytes;) {
    const std::span<std::byte> part(piece.data(),
                                    std::min<uint64_t>(piece.size(), tensor.size_bytes - done));
    FLOE_TRY_VOID(file.read(tensor, done, part));
    FLOE_TRY_VOID(write(part));
    done += part.size();
  }
  return {};
}

Result<std::string> inflated_config(const Eagle3Config& config, float rms_eps, uint32_t times) {
  Json json = config.json;
  const auto grow = [&](const char* key, uint64_t value) -> Result<void> {
    if (value * times > kMaxDim) {
      return model_error("{}: {}: expected at most {} after padding {} times, found {}",
                         config.source, key, kMaxDim, times, value * times);
    }
    json[key] = value * times;
    return {};
  };
  FLOE_TRY_VOID(grow("hidden_size", config.hidden_dim));
  FLOE_TRY_VOID(grow("intermediate_size", config.ffn_dim));
  if (config.trunk_hidden_dim) {
    FLOE_TRY_VOID(grow("target_hidden_size", *config.trunk_hidden_dim));
  }
  // Left out, it would follow from the hidden width.
  json["head_dim"] = config.head_dim;
  json["rms_norm_eps"] = rms_eps;
  return dump_json(json) + "\n";
}

Result<void> make_head_folder(const std::string& path, const std::string& shown) {
  std::error_code failure;
  fs::create_directory(path, failure);
  if (!fs::is_directory(path)) {
    return make_error(ErrorKind::runtime, "{}: cannot make the folder: {}", shown,
                      failure ? failure.message() : "a file is there");
  }
  constexpr const char* kIndex = "model.safetensors.index.json";
  if (fs::exists(fs::path(path) / kIndex, failure)) {
    return usage_error("-o: expected a folder without {}, found one in {}", kIndex, shown);
  }
  return {};
}

}  // namespace

Result<InflateResult> inflate_head(const InflateOptions& options) {
  FLOE_TRY(const Eagle3Config config, read_eagle3_config(options.model_path));
  FLOE_TRY(const SafetensorsFile file, SafetensorsFile::open(options.model_path));
  const std::string shown = escape_for_terminal(options.output_path, 1024);
  std::error_code failure;
  if (fs::equivalent(options.model_path, options.output_path, failure)) {
    return usage_error("-o: expected another folder than the head's, found {}", shown);
  }
  FLOE_TRY(const InflatePlan plan, plan_head_inflation(file, config, options.times));
  FLOE_TRY(const std::string text, inflated_config(config, plan.rms_eps, options.times));
  const std::vector<Part> parts = parts_of(file, plan);

  InflateResult result;
  std::vector<SafetensorsTensor> tensors;
  for (const Part& part : parts) {
    SafetensorsTensor tensor{part.source->name, part.source->type, part.source->dims};
    if (part.plan != nullptr) {
      tensor.dims = part.plan->dims;
      if (part.plan->is_norm) tensor.type = ElementType::F32;
    }
    result.input_bytes += part.source->size_bytes;
    result.output_bytes += tensor.dims.n_elems() * element_bytes(tensor.type);
    tensors.push_back(std::move(tensor));
  }
  FLOE_TRY_VOID(make_head_folder(options.output_path, shown));
  const fs::path folder(options.output_path);
  FLOE_TRY(OutputFile out, create_safetensors((folder / "model.safetensors").string(), tensors));
  Progress progress("inflating", result.output_bytes, Progress::Unit::bytes, options.show_progress);
  const WriteTensor write = [&](std::span<const std::byte> bytes) {
    progress.advance(bytes.size());
    return out.append(bytes);
  };
  for (const Part& part : parts) {
    if (part.plan == nullptr) {
      FLOE_TRY_VOID(copy_tensor(file, *part.source, write));
      continue;
    }
    const QuantType format = *float_format(part.source->type);
    const ReadTensor read = [&](uint64_t begin, std::span<std::byte> bytes) {
      if (format != part.plan->type) return read_as_f32(file, *part.source, format, begin, bytes);
      return file.read(*part.source, begin, bytes);
    };
    FLOE_TRY_VOID(pad_tensor(*part.plan, plan.norm_factor, read, write));
  }
  FLOE_TRY(OutputFile config_file,
           OutputFile::create((folder / "config.json").string(), text.size()));
  FLOE_TRY_VOID(config_file.append(std::as_bytes(std::span(text))));
  // Without its config.json a folder is no head: an old one must not stand beside new weights.
  fs::remove(folder / "config.json", failure);
  FLOE_TRY_VOID(out.finish());
  FLOE_TRY_VOID(config_file.finish());
  progress.finish();
  return result;
}

}  // namespace floe

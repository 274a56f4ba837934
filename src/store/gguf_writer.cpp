#include "store/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/terminal_text.h"
#include "store/checked_int.h"
#include "store/output_file.h"

namespace floe {

namespace {
constexpr const char* kAlignmentKey = "general.alignment";
constexpr char kMagic[4] = {'G', 'G', 'U', 'F'};
constexpr uint32_t kVersion = 3;

void put_bytes(std::vector<std::byte>& out, const void* data, size_t n_bytes) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + n_bytes);
}

template <typename T>
void put(std::vector<std::byte>& out, T value) {
  put_bytes(out, &value, sizeof value);
}

void put_string(std::vector<std::byte>& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  put_bytes(out, text.data(), text.size());
}

void put_array_head(std::vector<std::byte>& out, ValueType type, uint64_t n_elements) {
  put(out, static_cast<uint32_t>(type));
  put(out, n_elements);
}

template <typename Text>
void put_strings(std::vector<std::byte>& out, std::span<const Text> values) {
  put_array_head(out, ValueType::string, values.size());
  for (const Text& value : values) put_string(out, value);
}
}  // namespace

GgufHeaderBuilder::GgufHeaderBuilder(uint32_t alignment) : alignment_(alignment) {
  if (!is_power_of_two(alignment) || alignment < kMinAlignment || alignment > kMaxAlignment) {
    fail(fmt::format("alignment: expected a power of two in {}..{}, found {}", kMinAlignment,
                     kMaxAlignment, alignment));
    alignment_ = kDefaultAlignment;
  }
  if (alignment_ == kDefaultAlignment) return;
  put<uint32_t>(begin_pair(kAlignmentKey, ValueType::u32), alignment_);
}

void GgufHeaderBuilder::fail(std::string message) {
  if (first_mistake_.empty()) first_mistake_ = std::move(message);
}

std::vector<std::byte>& GgufHeaderBuilder::begin_pair(std::string_view key, ValueType type) {
  if (key.empty() || key.size() > kMaxKeyBytes) {
    fail(fmt::format("a key: expected 1..{} bytes, found {}", kMaxKeyBytes, key.size()));
  }
  keys_.emplace_back(key);
  n_pairs_ += 1;
  put_string(pairs_, key);
  put(pairs_, static_cast<uint32_t>(type));
  return pairs_;
}

void GgufHeaderBuilder::add_u8(std::string_view key, uint8_t value) {
  put(begin_pair(key, ValueType::u8), value);
}
void GgufHeaderBuilder::add_u16(std::string_view key, uint16_t value) {
  put(begin_pair(key, ValueType::u16), value);
}
void GgufHeaderBuilder::add_u32(std::string_view key, uint32_t value) {
  put(begin_pair(key, ValueType::u32), value);
}
void GgufHeaderBuilder::add_i32(std::string_view key, int32_t value) {
  put(begin_pair(key, ValueType::i32), value);
}
void GgufHeaderBuilder::add_u64(std::string_view key, uint64_t value) {
  put(begin_pair(key, ValueType::u64), value);
}
void GgufHeaderBuilder::add_i64(std::string_view key, int64_t value) {
  put(begin_pair(key, ValueType::i64), value);
}
void GgufHeaderBuilder::add_f32(std::string_view key, float value) {
  put(begin_pair(key, ValueType::f32), value);
}
void GgufHeaderBuilder::add_f64(std::string_view key, double value) {
  put(begin_pair(key, ValueType::f64), value);
}
void GgufHeaderBuilder::add_bool(std::string_view key, bool value) {
  put<uint8_t>(begin_pair(key, ValueType::boolean), value ? 1 : 0);
}
void GgufHeaderBuilder::add_string(std::string_view key, std::string_view value) {
  put_string(begin_pair(key, ValueType::string), value);
}

void GgufHeaderBuilder::add_u32_array(std::string_view key, std::span<const uint32_t> values) {
  begin_pair(key, ValueType::array);
  put_array_head(pairs_, ValueType::u32, values.size());
  put_bytes(pairs_, values.data(), values.size_bytes());
}
void GgufHeaderBuilder::add_i32_array(std::string_view key, std::span<const int32_t> values) {
  begin_pair(key, ValueType::array);
  put_array_head(pairs_, ValueType::i32, values.size());
  put_bytes(pairs_, values.data(), values.size_bytes());
}
void GgufHeaderBuilder::add_f32_array(std::string_view key, std::span<const float> values) {
  begin_pair(key, ValueType::array);
  put_array_head(pairs_, ValueType::f32, values.size());
  put_bytes(pairs_, values.data(), values.size_bytes());
}
void GgufHeaderBuilder::add_string_array(std::string_view key,
                                         std::span<const std::string> values) {
  put_strings(begin_pair(key, ValueType::array), values);
}
void GgufHeaderBuilder::add_string_array(std::string_view key,
                                         std::span<const std::string_view> values) {
  put_strings(begin_pair(key, ValueType::array), values);
}

void GgufHeaderBuilder::add_copy(const MetadataEntry& entry) {
  if (entry.key == kAlignmentKey) return;
  put_bytes(begin_pair(entry.key, entry.type), entry.value, entry.value_bytes);
}

void GgufHeaderBuilder::add_tensor(std::string_view name, QuantType type, const TensorDims& dims) {
  if (name.empty() || name.size() > kMaxTensorNameBytes) {
    fail(fmt::format("tensor {}: name: expected 1..{} bytes, found {}", escape_for_terminal(name),
                     kMaxTensorNameBytes, name.size()));
  }
  const FormatTraits& format = format_traits(type);
  uint64_t n_elems = 1;
  bool fits = dims.size() > 0;
  for (uint64_t size : dims) {
    fits = fits && size > 0 && checked_mul(n_elems, size, n_elems) &&
           n_elems <= static_cast<uint64_t>(INT64_MAX);
  }
  fits = fits && dims.n_cols() % format.block_elems == 0;
  Tensor tensor{std::string(name), type, dims, data_end_, 0};
  uint64_t end = 0;
  std::optional<uint64_t> padded;
  if (fits && checked_mul(n_elems / format.block_elems, format.block_bytes, tensor.size_bytes) &&
      checked_add(data_end_, tensor.size_bytes, end)) {
    padded = checked_align_up(end, alignment_);
  }
  if (padded) {
    data_end_ = *padded;
  } else {
    fail(fmt::format(
        "tensor {}: expected sizes of at least 1, rows in multiples of {} and fewer than 2^63 "
        "elements, found {} of {}",
        escape_for_terminal(name), format.block_elems, dims.text(), format.name));
  }
  tensors_.push_back(std::move(tensor));
}

uint64_t GgufHeaderBuilder::data_bytes() const {
  return data_end_;
}

Result<std::vector<std::byte>> GgufHeaderBuilder::serialise() const {
  if (!first_mistake_.empty()) return usage_error("GGUF header: {}", first_mistake_);
  std::vector<std::string_view> names(keys_.begin(), keys_.end());
  const auto duplicate = [&names]() -> std::string_view {
    std::sort(names.begin(), names.end());
    const auto at = std::adjacent_find(names.begin(), names.end());
    return at == names.end() ? std::string_view() : *at;
  };
  if (const std::string_view key = duplicate(); !key.empty()) {
    return usage_error("GGUF header: key {} was added twice", escape_for_terminal(key));
  }
  names.clear();
  for (const Tensor& tensor : tensors_) names.push_back(tensor.name);
  if (const std::string_view name = duplicate(); !name.empty()) {
    return usage_error("GGUF header: tensor {} was added twice", escape_for_terminal(name));
  }

  std::vector<std::byte> out;
  put_bytes(out, kMagic, sizeof kMagic);
  put(out, kVersion);
  put<uint64_t>(out, tensors_.size());
  put(out, n_pairs_);
  out.insert(out.end(), pairs_.begin(), pairs_.end());
  for (const Tensor& tensor : tensors_) {
    put_string(out, tensor.name);
    put(out, static_cast<uint32_t>(tensor.dims.size()));
    for (uint64_t size : tensor.dims) put(out, size);
    put(out, static_cast<uint32_t>(tensor.type));
    put(out, tensor.data_offset);
  }
  if (!tensors_.empty()) {
    const std::optional<uint64_t> padded = checked_align_up(out.size(), alignment_);
    FLOE_CHECK(padded.has_value());
    out.resize(*padded, std::byte{0});
  }
  return out;
}

struct GgufWriter::Impl {
  OutputFile file;
  std::vector<GgufHeaderBuilder::Tensor> tensors;
  uint64_t total_bytes = 0;    // of tensor data with padding
  size_t current = 0;          // tensor whose turn it is
  uint64_t current_bytes = 0;  // of it so far
  uint64_t done_bytes = 0;     // of all tensor data

  Result<void> put_data(std::span<const std::byte> bytes) {
    FLOE_TRY_VOID(file.append(bytes));
    done_bytes += bytes.size();
    return {};
  }
};

GgufWriter::GgufWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufWriter::GgufWriter(GgufWriter&&) noexcept = default;
GgufWriter& GgufWriter::operator=(GgufWriter&&) noexcept = default;
GgufWriter::~GgufWriter() = default;

Result<GgufWriter> GgufWriter::create(const std::string& path, const GgufHeaderBuilder& header) {
  FLOE_TRY(const std::vector<std::byte> bytes, header.serialise());
  uint64_t file_bytes = 0;
  if (!checked_add(bytes.size(), header.data_bytes(), file_bytes)) file_bytes = UINT64_MAX;
  FLOE_TRY(OutputFile file, OutputFile::create(path, file_bytes));
  FLOE_TRY_VOID(file.append(bytes));
  const std::span<const GgufHeaderBuilder::Tensor> tensors = header.tensors();
  return GgufWriter(std::make_unique<Impl>(
      Impl{std::move(file), {tensors.begin(), tensors.end()}, header.data_bytes()}));
}

Result<void> GgufWriter::append(std::string_view tensor_name, std::span<const std::byte> bytes) {
  Impl& impl = *impl_;
  const std::string& name = impl.file.name();
  if (impl.current == impl.tensors.size()) {
    return usage_error("{}: tensor {}: expected no more data, found {} bytes", name,
                       escape_for_terminal(tensor_name), bytes.size());
  }
  const GgufHeaderBuilder::Tensor& tensor = impl.tensors[impl.current];
  if (tensor.name != tensor_name) {
    return usage_error("{}: expected the data of tensor {}, found that of {}", name,
                       escape_for_terminal(tensor.name), escape_for_terminal(tensor_name));
  }
  if (bytes.size() > tensor.size_bytes - impl.current_bytes) {
    return usage_error("{}: tensor {}: expected {} bytes in all, found {}", name,
                       escape_for_terminal(tensor.name), tensor.size_bytes,
                       impl.current_bytes + bytes.size());
  }
  FLOE_TRY_VOID(impl.put_data(bytes));
  impl.current_bytes += bytes.size();
  if (impl.current_bytes == tensor.size_bytes) {
    static constexpr std::byte kPadding[4096] = {};
    const uint64_t next = impl.current + 1 < impl.tensors.size()
                              ? impl.tensors[impl.current + 1].data_offset
                              : impl.total_bytes;
    for (uint64_t left = next - impl.done_bytes; left > 0;) {
      const size_t piece = std::min<uint64_t>(left, sizeof kPadding);
      FLOE_TRY_VOID(impl.put_data({kPadding, piece}));
      left -= piece;
    }
    impl.current += 1;
    impl.current_bytes = 0;
  }
  return {};
}

Result<void> GgufWriter::finish() {
  Impl& impl = *impl_;
  if (impl.current != impl.tensors.size()) {
    const GgufHeaderBuilder::Tensor& tensor = impl.tensors[impl.current];
    return usage_error("{}: tensor {}: expected {} bytes, found {}", impl.file.name(),
                       escape_for_terminal(tensor.name), tensor.size_bytes, impl.current_bytes);
  }
  return impl.file.finish();
}

}  // namespace floe

// Safetensors files on disk: a single file or shards, opening and reading.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/terminal_text.h"
#include "store/checked_int.h"
#include "store/regular_file.h"
#include "store/safetensors.h"

namespace floe {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxShards = 4096;

Result<std::vector<SafetensorsTensor>> read_header(const RegularFile& file) {
  uint64_t n_bytes = 0;
  if (file.size_bytes < sizeof n_bytes) {
    return model_error("{}: expected at least {} bytes, found {}", file.name, sizeof n_bytes,
                       file.size_bytes);
  }
  FLOE_TRY_VOID(read_at(file, 0, std::as_writable_bytes(std::span(&n_bytes, 1))));
  if (n_bytes > kMaxSafetensorsHeaderBytes || n_bytes > file.size_bytes - sizeof n_bytes) {
    return model_error("{}: expected a header of at most {} bytes within the file's {}, found {}",
                       file.name, kMaxSafetensorsHeaderBytes, file.size_bytes, n_bytes);
  }
  FLOE_TRY(const std::string header, read_text(file, sizeof n_bytes, n_bytes));
  return parse_safetensors_header(header, file.size_bytes, file.name);
}

}  // namespace

struct SafetensorsFile::Impl {
  std::string source;
  std::vector<RegularFile> shards;
  std::vector<SafetensorsTensor> tensors;  // sorted by name

  Result<void> add_shard(const std::string& path) {
    FLOE_TRY(RegularFile file, open_regular_file(path));
    FLOE_TRY(std::vector<SafetensorsTensor> found, read_header(file));
    for (SafetensorsTensor& tensor : found) {
      tensor.shard = static_cast<uint32_t>(shards.size());
      tensors.push_back(std::move(tensor));
    }
    shards.push_back(std::move(file));
    return {};
  }

  Result<void> add_listed(const fs::path& folder, const std::string& index_path);

  void sort() {
    std::sort(tensors.begin(), tensors.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  const SafetensorsTensor* find(std::string_view name) const {
    const auto found =
        std::lower_bound(tensors.begin(), tensors.end(), name,
                         [](const SafetensorsTensor& tensor, std::string_view wanted) {
                           return tensor.name < wanted;
                         });
    return found != tensors.end() && found->name == name ? &*found : nullptr;
  }
};

// The index and the shards must list the same tensors, each in the same file.
Result<void> SafetensorsFile::Impl::add_listed(const fs::path& folder,
                                               const std::string& index_path) {
  FLOE_TRY(const RegularFile index, open_regular_file(index_path));
  if (index.size_bytes > kMaxSafetensorsHeaderBytes) {
    return model_error("{}: expected at most {} bytes, found {}", index.name,
                       kMaxSafetensorsHeaderBytes, index.size_bytes);
  }
  FLOE_TRY(const std::string text, read_text(index, 0, index.size_bytes));
  FLOE_TRY(const std::vector<SafetensorsPlace> places, parse_safetensors_index(text, index.name));
  std::vector<std::string> files;
  for (const SafetensorsPlace& place : places) files.push_back(place.file);
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  if (files.size() > kMaxShards) {
    return model_error("{}: expected at most {} files, found {}", index.name, kMaxShards,
                       files.size());
  }
  for (const std::string& file : files) FLOE_TRY_VOID(add_shard((folder / file).string()));
  sort();
  for (const SafetensorsPlace& place : places) {
    const SafetensorsTensor* tensor = find(place.tensor);
    if (tensor == nullptr || files[tensor->shard] != place.file) {
      return model_error("{}: tensor {}: expected in {}, found {}", index.name,
                         escape_for_terminal(place.tensor, 128),
                         escape_for_terminal(place.file, 128),
                         tensor == nullptr ? "in no file" : "in another file");
    }
  }
  // As many tensors as names, and every name has its tensor: no tensor is there twice or unlisted.
  if (tensors.size() != places.size()) {
    return model_error("{}: expected {} tensors as listed, the files hold {}", index.name,
                       places.size(), tensors.size());
  }
  return {};
}

SafetensorsFile::SafetensorsFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;
SafetensorsFile::~SafetensorsFile() = default;

Result<SafetensorsFile> SafetensorsFile::open(const std::string& folder) {
  auto impl = std::make_unique<Impl>();
  const fs::path path(folder);
  const std::string index = (path / "model.safetensors.index.json").string();
  std::error_code failure;  // an index that cannot be looked at is one that is not there
  if (fs::exists(index, failure)) {
    impl->source = escape_for_terminal(index, 1024);
    FLOE_TRY_VOID(impl->add_listed(path, index));
  } else {
    FLOE_TRY_VOID(impl->add_shard((path / "model.safetensors").string()));
    impl->source = impl->shards.front().name;
    impl->sort();
  }
  return SafetensorsFile(std::move(impl));
}

const std::string& SafetensorsFile::source() const {
  return impl_->source;
}

std::span<const SafetensorsTensor> SafetensorsFile::tensors() const {
  return impl_->tensors;
}

const SafetensorsTensor* SafetensorsFile::find(std::string_view name) const {
  return impl_->find(name);
}

Result<const SafetensorsTensor*> SafetensorsFile::require(std::string_view name,
                                                          const TensorDims& dims) const {
  const SafetensorsTensor* tensor = find(name);
  if (tensor == nullptr) {
    return model_error("{}: tensor {}: expected {}, found no such tensor", source(), name,
                       dims.text());
  }
  if (!(tensor->dims == dims)) {
    return model_error("{}: tensor {}: expected shape {}, found {}", source(), name, dims.text(),
                       tensor->dims.text());
  }
  return tensor;
}

Result<void> SafetensorsFile::read(const SafetensorsTensor& tensor, uint64_t begin,
                                   std::span<std::byte> out) const {
  FLOE_CHECK(begin <= tensor.size_bytes && out.size() <= tensor.size_bytes - begin);
  return read_at(impl_->shards[tensor.shard], tensor.file_offset + begin, out);
}

}  // namespace floe

// GGUF files on disk: opening, split sets, reading.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "base/memory.h"
#include "base/terminal_text.h"
#include "store/file_guard.h"
#include "store/gguf.h"
#include "store/regular_file.h"

namespace floe {

namespace {
constexpr const char* kSplitNo = "split.no";
constexpr const char* kSplitCount = "split.count";
constexpr const char* kSplitTensors = "split.tensors.count";
constexpr int64_t kMaxShards = 99999;  // five digits in the name

// A read-only private mapping, known to the SIGBUS guard under its file's name.
class FileMapping {
 public:
  FileMapping() = default;
  FileMapping(FileMapping&& other) noexcept { *this = std::move(other); }
  FileMapping& operator=(FileMapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  ~FileMapping() { reset(); }

  Result<void> map(int fd, size_t size_bytes, const std::string& path) {
    void* data = mmap(nullptr, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      return make_error(errno == ENOMEM ? ErrorKind::memory : ErrorKind::model,
                        "{}: cannot map {} bytes: {}", path, size_bytes, std::strerror(errno));
    }
    data_ = static_cast<std::byte*>(data);
    size_bytes_ = size_bytes;
    if (!guard_mapping(data_, size_bytes_, path)) {
      return model_error("{}: too many files are mapped at once", path);
    }
    return {};
  }

  void reset() {
    if (data_ == nullptr) return;
    unguard_mapping(data_);
    munmap(data_, size_bytes_);
    data_ = nullptr;
    size_bytes_ = 0;
  }

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

// One file of the set.
struct Shard {
  std::string path;  // as given; escaped in messages
  std::string name;  // of the path, for messages
  uint64_t size_bytes = 0;
  dev_t device = 0;
  ino_t inode = 0;
  std::unique_ptr<std::byte[]> header;  // a private copy, which the index points into
  GgufIndex index;
  FileMapping mapping;  // the whole file; none without tensors
  FileDescriptor fd;
};

// Where nobody else cares about SIGBUS, we do: a mapped model must not end in a bare signal.
void handle_sigbus_by_default() {
  struct sigaction current = {};
  if (sigaction(SIGBUS, nullptr, &current) == 0 && (current.sa_flags & SA_SIGINFO) == 0 &&
      current.sa_handler == SIG_DFL) {
    install_sigbus_handler();
  }
}

Result<std::unique_ptr<Shard>> open_shard(const std::string& path) {
  FLOE_TRY(RegularFile file, open_regular_file(path));
  auto shard = std::make_unique<Shard>();
  shard->path = path;
  shard->name = file.name;
  shard->size_bytes = file.size_bytes;
  shard->device = file.device;
  shard->inode = file.inode;

  handle_sigbus_by_default();
  FLOE_TRY_VOID(shard->mapping.map(file.fd.get(), shard->size_bytes, shard->name));
  const std::span<const std::byte> whole(shard->mapping.data(), shard->size_bytes);
  FLOE_TRY(const GgufIndex first_look, parse_gguf(whole, shard->name));
  // The mapped file may change; what was validated must not. Parse a private copy of the header.
  const uint64_t header_bytes = first_look.header_bytes;
  shard->header = std::make_unique_for_overwrite<std::byte[]>(header_bytes);
  std::memcpy(shard->header.get(), whole.data(), header_bytes);
  FLOE_TRY(shard->index,
           parse_gguf_prefix({shard->header.get(), header_bytes}, shard->size_bytes, shard->name));
  if (shard->index.tensors.empty()) {
    shard->mapping.reset();
  } else {
    // Loading goes through each tensor from front to back. Advice only: ignored is fine.
    posix_fadvise(file.fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    shard->fd = std::move(file.fd);
  }
  return shard;
}

// NAME-00001-of-00003.gguf taken apart.
struct ShardName {
  std::string prefix;
  int64_t number = 0;  // from 1
  int64_t count = 0;

  std::string path(int64_t wanted_number) const {
    return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, wanted_number, count);
  }
};

std::optional<ShardName> parse_shard_name(const std::string& path) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";
  if (path.size() < kPattern.size()) return std::nullopt;
  const size_t begin = path.size() - kPattern.size();
  ShardName name;
  name.prefix = path.substr(0, begin);
  for (size_t i = 0; i < kPattern.size(); ++i) {
    const char c = path[begin + i];
    if (kPattern[i] != '0') {
      if (c != kPattern[i]) return std::nullopt;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    int64_t& number = i < 6 ? name.number : name.count;
    number = number * 10 + (c - '0');
  }
  return name;
}

// What a shard says about its set; count 1 where it says nothing.
struct SplitKeys {
  int64_t number = 0;  // from 0
  int64_t count = 1;
  int64_t n_tensors = 0;  // of the whole set
};

Result<SplitKeys> split_keys(const GgufMetadata& metadata) {
  SplitKeys keys;
  FLOE_TRY(const std::optional<int64_t> count, metadata.optional_int(kSplitCount, 0, kMaxShards));
  // Some writers put split.count = 0 or 1 into files that were never split.
  if (!count || *count <= 1) return keys;
  keys.count = *count;
  FLOE_TRY(keys.number, metadata.require_int(kSplitNo, 0, *count - 1));
  FLOE_TRY(keys.n_tensors, metadata.require_int(kSplitTensors, 1, INT64_MAX));
  return keys;
}

// A shard must agree with the first one in everything that both say, but its own number.
Result<void> check_same_set(const Shard& first, const Shard& shard, int64_t number,
                            const SplitKeys& expected) {
  FLOE_TRY(const SplitKeys found, split_keys(shard.index.metadata));
  if (found.count != expected.count) {
    return model_error("{}: key {}: expected {}, as in {}, found {}", shard.name, kSplitCount,
                       expected.count, first.name, found.count);
  }
  if (found.number != number) {
    return model_error("{}: key {}: expected {}, found {}", shard.name, kSplitNo, number,
                       found.number);
  }
  for (const MetadataEntry& entry : shard.index.metadata.entries()) {
    if (entry.key == kSplitNo) continue;
    const MetadataEntry* same = first.index.metadata.find(entry.key);
    if (same == nullptr) continue;
    if (same->type != entry.type || same->value_bytes != entry.value_bytes ||
        std::memcmp(same->value, entry.value, entry.value_bytes) != 0) {
      return model_error(
          "{}: key {}: expected the value of {}, found another: a shard of another model?",
          shard.name, escape_for_terminal(entry.key), first.name);
    }
  }
  return {};
}
}  // namespace

struct GgufFile::Impl {
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<TensorView> tensors;
  std::vector<uint32_t> order;  // tensors by name
  uint64_t size_bytes = 0;

  Result<void> open_set(const std::string& path) {
    FLOE_TRY(std::unique_ptr<Shard> opened, open_shard(path));
    FLOE_TRY(const SplitKeys keys, split_keys(opened->index.metadata));
    const std::optional<ShardName> name = parse_shard_name(path);
    if (keys.count == 1) {
      if (name && name->count > 1) {
        return model_error("{}: key {}: expected {}, as the file's name says, found no split",
                           opened->name, kSplitCount, name->count);
      }
      shards.push_back(std::move(opened));
      return {};
    }
    if (!name || name->count != keys.count || name->number != keys.number + 1) {
      return model_error("{}: shard {} of {}: expected a name that ends in -{:05}-of-{:05}.gguf",
                         opened->name, keys.number + 1, keys.count, keys.number + 1, keys.count);
    }
    for (int64_t number = 0; number < keys.count; ++number) {
      if (number == keys.number) {
        shards.push_back(std::move(opened));
        continue;
      }
      FLOE_TRY(std::unique_ptr<Shard> shard, open_shard(name->path(number + 1)));
      shards.push_back(std::move(shard));
    }
    for (int64_t number = 0; number < keys.count; ++number) {
      const Shard& shard = *shards[static_cast<size_t>(number)];
      for (int64_t earlier = 0; earlier < number; ++earlier) {
        const Shard& other = *shards[static_cast<size_t>(earlier)];
        if (other.device == shard.device && other.inode == shard.inode) {
          return model_error("{}: expected a shard of its own, found the same file as {}",
                             shard.name, other.name);
        }
      }
      FLOE_TRY_VOID(check_same_set(*shards.front(), shard, number, keys));
    }
    uint64_t n_tensors = 0;
    for (const auto& shard : shards) n_tensors += shard->index.tensors.size();
    if (n_tensors != static_cast<uint64_t>(keys.n_tensors)) {
      return model_error("{}: key {}: expected the {} tensors of all {} shards, found {}",
                         shards.front()->name, kSplitTensors, n_tensors, keys.count,
                         keys.n_tensors);
    }
    return {};
  }

  Result<void> collect_tensors() {
    size_t n_tensors = 0;
    for (const auto& shard : shards) {
      n_tensors += shard->index.tensors.size();
      size_bytes += shard->size_bytes;
    }
    tensors.reserve(n_tensors);
    for (size_t i = 0; i < shards.size(); ++i) {
      for (const GgufTensorInfo& info : shards[i]->index.tensors) {
        TensorView view;
        view.name = info.name;
        view.type = info.type;
        view.dims = info.dims;
        view.data = shards[i]->mapping.data() + shards[i]->index.data_begin + info.data_offset;
        view.size_bytes = info.size_bytes;
        view.shard = static_cast<uint32_t>(i);
        view.file_offset = shards[i]->index.data_begin + info.data_offset;
        tensors.push_back(std::move(view));
      }
    }
    order.resize(n_tensors);
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [this](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
    for (size_t i = 1; i < n_tensors; ++i) {
      const TensorView& a = tensors[order[i - 1]];
      const TensorView& b = tensors[order[i]];
      if (a.name == b.name) {
        return model_error("{}: tensor {}: expected in one shard, found in {} too",
                           shards[b.shard]->name, escape_for_terminal(b.name),
                           shards[a.shard]->name);
      }
    }
    return {};
  }
};

GgufFile::GgufFile(std::unique_ptr<Impl> impl)
    : GgufMetadata(std::move(impl->shards.front()->index.metadata)), impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

Result<GgufFile> GgufFile::open(const std::string& path, NoTensors no_tensors) {
  auto impl = std::make_unique<Impl>();
  FLOE_TRY_VOID(impl->open_set(path));
  FLOE_TRY_VOID(impl->collect_tensors());
  if (impl->tensors.empty() && no_tensors == NoTensors::refuse) {
    return model_error("{}: no tensors: expected a model, found metadata only",
                       impl->shards.front()->name);
  }
  return GgufFile(std::move(impl));
}

const TensorView* GgufFile::find_tensor(std::string_view name) const {
  const auto at = std::lower_bound(impl_->order.begin(), impl_->order.end(), name,
                                   [this](uint32_t index, std::string_view wanted) {
                                     return impl_->tensors[index].name < wanted;
                                   });
  if (at == impl_->order.end() || impl_->tensors[*at].name != name) return nullptr;
  return &impl_->tensors[*at];
}

Result<const TensorView*> GgufFile::require_tensor(std::string_view name,
                                                   const TensorDims& dims) const {
  const TensorView* tensor = find_tensor(name);
  if (tensor == nullptr) {
    return model_error("{}: tensor {}: expected dims {}, found no such tensor", source(),
                       escape_for_terminal(name), dims.text());
  }
  if (tensor->dims != dims) {
    return model_error("{}: tensor {}: expected dims {}, found {}", source(),
                       escape_for_terminal(name), dims.text(), tensor->dims.text());
  }
  return tensor;
}

std::span<const TensorView> GgufFile::tensors() const {
  return impl_->tensors;
}
uint64_t GgufFile::size_bytes() const {
  return impl_->size_bytes;
}
uint32_t GgufFile::n_shards() const {
  return static_cast<uint32_t>(impl_->shards.size());
}
uint32_t GgufFile::alignment() const {
  return impl_->shards.front()->index.alignment;
}
bool GgufFile::is_part(const std::string& path) const {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return false;
  return std::any_of(impl_->shards.begin(), impl_->shards.end(), [&](const auto& shard) {
    return shard->device == info.st_dev && shard->inode == info.st_ino;
  });
}

Result<void> GgufFile::read(const TensorView& tensor, uint64_t begin,
                            std::span<std::byte> out) const {
  FLOE_CHECK(begin <= tensor.size_bytes && out.size() <= tensor.size_bytes - begin);
  const Shard& shard = *impl_->shards[tensor.shard];
  const uint64_t offset = tensor.file_offset + begin;
  for (size_t done = 0; done < out.size();) {
    const ssize_t got = pread(shard.fd.get(), out.data() + done, out.size() - done,
                              static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return model_error("{}: cannot read at offset {}: {}", shard.name, offset + done,
                         std::strerror(errno));
    }
    if (got == 0) {
      return model_error(
          "{}: expected {} bytes, found {}: the file was truncated while it was read", shard.name,
          shard.size_bytes, offset + done);
    }
    done += static_cast<size_t>(got);
  }
  return {};
}

}  // namespace floe

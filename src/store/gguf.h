#pragma once
// Model files in GGUF, versions 2 and 3: parsed from memory (parse_gguf, a pure function over
// bytes) or opened from disk (GgufFile, single files and split sets). Everything is validated
// before anything is allocated for it; the rules are in docs/formats.md. All errors are
// ErrorKind::model (exit code 3).
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "quant/format.h"
#include "store/gguf_metadata.h"

namespace floe {

inline constexpr uint32_t kMaxTensorDims = 4;
inline constexpr uint64_t kMaxTensorNameBytes = 64;
inline constexpr uint64_t kMaxKeyBytes = 65535;
inline constexpr uint32_t kDefaultAlignment = 32;
inline constexpr uint32_t kMinAlignment = 8;
inline constexpr uint32_t kMaxAlignment = 65536;

// 1 to 4 sizes, the fastest-varying first: a matrix of n_rows x n_cols has dims {n_cols, n_rows}.
class TensorDims {
 public:
  TensorDims() = default;
  TensorDims(std::initializer_list<uint64_t> sizes) {
    for (uint64_t size : sizes) push_back(size);
  }

  size_t size() const { return n_dims_; }
  uint64_t operator[](size_t i) const {
    FLOE_CHECK(i < n_dims_);
    return sizes_[i];
  }
  const uint64_t* begin() const { return sizes_.data(); }
  const uint64_t* end() const { return sizes_.data() + n_dims_; }
  void push_back(uint64_t size) {
    FLOE_CHECK(n_dims_ < kMaxTensorDims);
    sizes_[n_dims_++] = size;
  }
  // Missing dimensions count as 1. Products of a parsed file's dims never overflow.
  uint64_t n_cols() const { return sizes_[0]; }
  uint64_t n_rows() const;  // all rows, over every further dimension
  uint64_t n_elems() const { return n_cols() * n_rows(); }
  std::string text() const;  // "[2048, 768, 128]"
  bool operator==(const TensorDims&) const = default;

 private:
  std::array<uint64_t, kMaxTensorDims> sizes_{};
  uint32_t n_dims_ = 0;
};

// A tensor of an open file: rows of blocks, row after row.
struct TensorView {
  std::string name;
  QuantType type = QuantType::F32;
  TensorDims dims;
  // size_bytes bytes, mapped: for a look at a few of them. Whole tensors are read with
  // GgufFile::read(), which is several times as fast as touching mapped pages.
  const std::byte* data = nullptr;
  uint64_t size_bytes = 0;
  uint32_t shard = 0;        // which file of a split set, from 0
  uint64_t file_offset = 0;  // of data, in that file
};

// A tensor of a parsed file.
struct GgufTensorInfo {
  std::string_view name;  // into the parsed bytes
  TensorDims dims;
  QuantType type = QuantType::F32;
  uint64_t data_offset = 0;  // from GgufIndex::data_begin
  uint64_t size_bytes = 0;
};

// What one file's bytes say. Views point into those bytes.
struct GgufIndex {
  GgufMetadata metadata;
  uint32_t version = 0;
  uint32_t alignment = kDefaultAlignment;
  uint64_t header_bytes = 0;            // up to the end of the tensor table
  uint64_t data_begin = 0;              // offset in the file; meaningless without tensors
  std::vector<GgufTensorInfo> tensors;  // in file order, contiguous, disjoint, inside the file
};

// `bytes` is a whole file. `source` names it in errors.
Result<GgufIndex> parse_gguf(std::span<const std::byte> bytes, std::string_view source);
// As above where only the first bytes of a file of file_size_bytes are at hand; they must reach to
// the end of the tensor table.
Result<GgufIndex> parse_gguf_prefix(std::span<const std::byte> bytes, uint64_t file_size_bytes,
                                    std::string_view source);

enum class NoTensors : uint8_t { refuse, allow };  // allow: vocabulary-only files

// An open model: one file, or all files of a split set. Movable; views stay valid while it lives.
// The metadata (the first shard's) is a private copy, so that a file changing later cannot change
// it. Tensor data is not: weights in use are repacked copies. A file that is truncated while its
// data is looked at ends the process through the handler of file_guard.h, with one line and exit
// code 3.
class GgufFile : public GgufMetadata {
 public:
  // `path` is a single file or any shard NAME-0000i-of-0000n.gguf of a complete set.
  static Result<GgufFile> open(const std::string& path, NoTensors no_tensors = NoTensors::refuse);
  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  const TensorView* find_tensor(std::string_view name) const;  // nullptr: no such tensor
  // The tensor, of exactly these dims; an error names the tensor, the expected and the found.
  Result<const TensorView*> require_tensor(std::string_view name, const TensorDims& dims) const;
  std::span<const TensorView> tensors() const;
  uint64_t size_bytes() const;  // of all files together
  uint32_t n_shards() const;
  uint32_t alignment() const;  // of the first shard
  // Whether the path names a file of this model: whoever writes there destroys what it reads.
  bool is_part(const std::string& path) const;

  // Reads out.size() bytes of the tensor's data from `begin` on. Any thread may call it. The file's
  // pages stay in the system's cache and count for nobody, so a second start is as fast as memory.
  Result<void> read(const TensorView& tensor, uint64_t begin, std::span<std::byte> out) const;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace floe

#pragma once
// Writes GGUF version 3: metadata in the order given, then tensors streamed in the order declared.
// The file appears under its name only when it is complete. Nothing larger than the header is held
// in memory.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "quant/format.h"
#include "store/gguf.h"
#include "store/gguf_metadata.h"

namespace floe {

// Everything in front of the tensor data, as bytes. Errors are ErrorKind::usage: what is declared
// would not be accepted by our own reader (empty, too long or duplicate names, sizes that
// overflow).
class GgufHeaderBuilder {
 public:
  // Of the data and of each tensor in it; a power of two in 8..65536. Other than 32 it is also
  // written as general.alignment.
  explicit GgufHeaderBuilder(uint32_t alignment = kDefaultAlignment);

  void add_u8(std::string_view key, uint8_t value);
  void add_u16(std::string_view key, uint16_t value);
  void add_u32(std::string_view key, uint32_t value);
  void add_i32(std::string_view key, int32_t value);
  void add_u64(std::string_view key, uint64_t value);
  void add_i64(std::string_view key, int64_t value);
  void add_f32(std::string_view key, float value);
  void add_f64(std::string_view key, double value);
  void add_bool(std::string_view key, bool value);
  void add_string(std::string_view key, std::string_view value);
  void add_u32_array(std::string_view key, std::span<const uint32_t> values);
  void add_i32_array(std::string_view key, std::span<const int32_t> values);
  void add_f32_array(std::string_view key, std::span<const float> values);
  void add_string_array(std::string_view key, std::span<const std::string> values);
  void add_string_array(std::string_view key, std::span<const std::string_view> values);
  // A pair as another file holds it. general.alignment is left out: this file has its own.
  void add_copy(const MetadataEntry& entry);

  void add_tensor(std::string_view name, QuantType type, const TensorDims& dims);

  struct Tensor {
    std::string name;
    QuantType type;
    TensorDims dims;
    uint64_t data_offset;  // from the end of the header
    uint64_t size_bytes;
  };
  std::span<const Tensor> tensors() const { return tensors_; }
  uint32_t alignment() const { return alignment_; }
  uint64_t data_bytes() const;  // of all tensors, padding between them included

  // The header, padded to the alignment when tensors follow, or the first mistake made in the calls
  // above.
  Result<std::vector<std::byte>> serialise() const;

 private:
  std::vector<std::byte>& begin_pair(std::string_view key, ValueType type);
  void fail(std::string message);

  uint32_t alignment_;
  uint64_t n_pairs_ = 0;
  std::vector<std::string> keys_;
  std::vector<std::byte> pairs_;
  std::vector<Tensor> tensors_;
  uint64_t data_end_ = 0;
  std::string first_mistake_;
};

// Streams the data of the declared tensors into PATH, which appears when finish() succeeds
// (store/output_file.h).
class GgufWriter {
 public:
  // Writes the header. Fails when the header is mistaken, the file cannot be made, or the disk has
  // no room.
  static Result<GgufWriter> create(const std::string& path, const GgufHeaderBuilder& header);
  GgufWriter(GgufWriter&&) noexcept;
  GgufWriter& operator=(GgufWriter&&) noexcept;
  ~GgufWriter();

  // The next bytes of the tensor, in declaration order; a tensor may come in any number of pieces.
  // Another tensor's turn, or more bytes than the tensor has, is ErrorKind::usage and writes
  // nothing.
  Result<void> append(std::string_view tensor_name, std::span<const std::byte> bytes);
  // Checks that every tensor is complete, syncs, and gives the file its name (replacing an older
  // one).
  Result<void> finish();

 private:
  struct Impl;
  explicit GgufWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace floe

#pragma once
// Weights in safetensors files, single (model.safetensors) or in shards that
// model.safetensors.index.json lists.
//
// A file is a u64 length, a JSON header of that length and the tensors' bytes. The header names for
// every tensor its type, its shape (slowest-varying size first) and where its bytes begin and end
// behind the header. Everything is validated before anything is allocated for it: tensors fill the
// bytes behind the header without gaps or overlaps, in any order of names. All errors are
// ErrorKind::model.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/gguf.h"
#include "store/output_file.h"

namespace floe {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;
inline constexpr uint64_t kMaxSafetensorsNameBytes = 512;

enum class ElementType : uint8_t {
  F64,
  F32,
  F16,
  BF16,
  I64,
  I32,
  I16,
  I8,
  U64,
  U32,
  U16,
  U8,
  BOOL,
  F8_E4M3,
  F8_E5M2,
};
const char* to_string(ElementType type);  // as in the files
uint64_t element_bytes(ElementType type);
// The format of the same bytes: F32, F16 and BF16 have one.
std::optional<QuantType> float_format(ElementType type);

struct SafetensorsTensor {
  std::string name;
  ElementType type = ElementType::F32;
  TensorDims dims;           // fastest-varying first, as everywhere here; [1] of a scalar
  uint64_t file_offset = 0;  // of the first byte, in the shard
  uint64_t size_bytes = 0;
  uint32_t shard = 0;
};

// The tensors of a file in the order of their bytes. header: the JSON text; file_size_bytes: of the
// whole file. `source` names it in errors.
Result<std::vector<SafetensorsTensor>> parse_safetensors_header(std::string_view header,
                                                                uint64_t file_size_bytes,
                                                                std::string_view source);
// As above; bytes: the whole file.
Result<std::vector<SafetensorsTensor>> parse_safetensors(std::span<const std::byte> bytes,
                                                         std::string_view source);

// The text of an index file: which shard holds a tensor.
struct SafetensorsPlace {
  std::string tensor;
  std::string file;  // beside the index; a plain name
};
Result<std::vector<SafetensorsPlace>> parse_safetensors_index(std::string_view text,
                                                              std::string_view source);

// Begins a file of these tensors (name, type, dims): their bytes, in this order and without gaps,
// are what is left to append. Errors are OutputFile's; ErrorKind::usage where our own reader would
// refuse the header.
Result<OutputFile> create_safetensors(const std::string& path,
                                      std::span<const SafetensorsTensor> tensors);

// The open files of a folder. Movable.
class SafetensorsFile {
 public:
  // folder holds model.safetensors, or model.safetensors.index.json and the shards it lists.
  static Result<SafetensorsFile> open(const std::string& folder);
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;
  ~SafetensorsFile();

  const std::string& source() const;                           // for messages
  std::span<const SafetensorsTensor> tensors() const;          // sorted by name
  const SafetensorsTensor* find(std::string_view name) const;  // nullptr: no such tensor
  // The tensor, of exactly these dims; an error names the tensor, the expected and the found.
  Result<const SafetensorsTensor*> require(std::string_view name, const TensorDims& dims) const;
  // Reads out.size() bytes of the tensor's data from `begin` on. Any thread may call it.
  Result<void> read(const SafetensorsTensor& tensor, uint64_t begin,
                    std::span<std::byte> out) const;

 private:
  struct Impl;
  explicit SafetensorsFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace floe

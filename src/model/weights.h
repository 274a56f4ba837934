#pragma once
// From the tensors of a GGUF file to packed weights in one buffer.
//
// An architecture asks for its tensors by name and shape; every request is checked at once and
// recorded. pack() then finds out how many bytes are needed, allocates them once, and all threads
// read and pack the matrices, a few row groups at a time: beside the packed weights memory holds
// only those. A tensor of the file that nobody asked for is an error: it would be a part of the
// model that the forward silently leaves out.
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "kernels/packed_matrix.h"
#include "store/gguf.h"

namespace floe {

// How a matrix is kept in memory.
enum class KeepAs : uint8_t {
  file_type,  // as in the file
  f32,        // decoded: small matrices whose output decides a choice (router, indexer weights)
};

class WeightLoader {
 public:
  // The file outlives the loader.
  explicit WeightLoader(const GgufFile& file) : file_(file) {}

  // Tensors whose names begin with the prefix come from another file, which outlives the loader
  // too; those that the first file has are not read. The other file's further tensors do not
  // matter.
  void take_from(const GgufFile& file, std::string prefix);

  const GgufFile& file() const { return file_; }
  // Where a tensor of this name is looked for.
  const GgufFile& file_of(std::string_view name) const {
    return other_file_ != nullptr && name.starts_with(other_prefix_) ? *other_file_ : file_;
  }
  bool has(const std::string& name) const { return find(name) != nullptr; }
  bool has_other_file() const { return other_file_ != nullptr; }

  // Every request remembers the address of its target, which pack() fills in: targets stay in place
  // until then. Until pack() only the shape of a matrix is known.

  // A matrix [n_rows][n_cols].
  Result<void> matrix(const std::string& name, uint32_t n_cols, uint32_t n_rows,
                      PackedMatrix& target, KeepAs keep = KeepAs::file_type);
  // n_planes matrices [n_rows][n_cols] in one tensor of three dimensions.
  Result<void> matrix_stack(const std::string& name, uint32_t n_cols, uint32_t n_rows,
                            uint32_t n_planes, PackedMatrix& target);
  // F32 vector of n values.
  Result<void> vector(const std::string& name, uint32_t n, const float*& target);
  // n_planes vectors of n values in one F32 tensor of two dimensions.
  Result<void> vector_stack(const std::string& name, uint32_t n, uint32_t n_planes,
                            const float*& target);
  // As vector(), read at once: for values that shape the model while it is built.
  Result<std::vector<float>> read_vector(const std::string& name, uint32_t n);
  // Number of rows of a matrix with n_cols columns whose row count only the file knows.
  Result<uint32_t> count_rows(const std::string& name, uint32_t n_cols);

  // gate, up or down of all routed experts of a layer, in any of the three ways files hold them:
  // PREFIX.ffn_KIND_exps, fused PREFIX.ffn_gate_up_exps (gate rows first), or one tensor per
  // expert.
  Result<void> experts(const std::string& prefix, const std::string& kind, uint32_t n_cols,
                       uint32_t n_rows, uint32_t n_experts, PackedMatrix& target);

  // MLA's projections from the latent: per head k [kv_lora][nope] (transposed for the absorbed
  // form) and v [v_dim][kv_lora], stored split, or as one attn_kv_b in older files.
  Result<void> mla_projections(const std::string& prefix, uint32_t n_heads, uint32_t nope_dim,
                               uint32_t v_dim, uint32_t kv_lora_dim, PackedMatrix& k,
                               PackedMatrix& v);

  // A tensor that may be there and is not read.
  void ignore(const std::string& name);

  // Fails naming a tensor that nobody asked for or ignored.
  Result<void> check_complete() const;

  // Allocates, reads and packs. ErrorKind::memory, with the bytes needed, when the machine cannot
  // hold it; ErrorKind::model when the file cannot be read to its end.
  Result<HugeBuffer> pack(ThreadPool& pool, bool show_progress);

  // What pack() will allocate for all that was asked for.
  uint64_t packed_bytes() const;
  uint64_t n_params() const { return n_params_; }
  // The weight format with the most bytes among the tensors asked for.
  QuantType main_format() const;

 private:
  enum class Transform : uint8_t { none, to_f32, transpose };

  struct Source {
    const TensorView* tensor = nullptr;
    uint64_t begin = 0;  // byte of the tensor's data
  };
  struct Job {
    PackedMatrix* target = nullptr;
    QuantType source_type = QuantType::F32;
    Transform transform = Transform::none;
    uint32_t source_cols = 0;    // row length in the file
    uint32_t source_rows = 0;    // rows per plane in the file
    std::vector<Source> planes;  // first row of each plane
    uint64_t offset = 0;         // in the buffer
  };
  struct VectorJob {
    const float** target = nullptr;
    const TensorView* tensor = nullptr;
    uint64_t offset = 0;
  };

  void add_tensor(const TensorView& tensor, uint32_t n_cols, uint32_t n_rows, uint32_t n_planes,
                  KeepAs keep, PackedMatrix& target);
  const TensorView* find(const std::string& name) const { return file_of(name).find_tensor(name); }
  Result<const TensorView*> require(const std::string& name, const TensorDims& dims);
  Result<void> add_vector(const std::string& name, const TensorDims& dims, const float*& target);
  void use(const TensorView& tensor);
  // Bytes of the source's tensor from `offset` behind the source's begin.
  Result<void> read(const Source& source, uint64_t offset, std::span<std::byte> out) const;
  void add_job(Job job);
  Result<void> pack_job(const Job& job, std::byte* data, ThreadPool& pool,
                        Progress& progress) const;
  Result<void> pack_groups_of(const Job& job, uint32_t plane, uint32_t group_begin,
                              uint32_t group_end, std::byte* packed_plane,
                              std::vector<std::byte>& bytes) const;
  Result<void> decode_plane(const Job& job, uint32_t plane, std::byte* packed_plane,
                            std::vector<std::byte>& bytes) const;

  const GgufFile& file_;
  const GgufFile* other_file_ = nullptr;
  std::string other_prefix_;
  std::vector<Job> jobs_;
  std::vector<VectorJob> vector_jobs_;
  std::unordered_map<std::string, uint32_t> n_uses_;  // by tensor name; ignored ones count as used
  std::unordered_map<uint32_t, uint64_t> bytes_by_format_;
  uint64_t n_params_ = 0;
};

}  // namespace floe

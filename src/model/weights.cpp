#include "model/weights.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>

#include "base/progress.h"
#include "base/terminal_text.h"

namespace floe {

namespace {

constexpr uint64_t kAlignBytes = 64;
constexpr uint32_t kMaxExperts = 65536;

uint64_t align_up(uint64_t value) {
  return (value + kAlignBytes - 1) & ~(kAlignBytes - 1);
}

// Equal up to trailing sizes of 1, which some writers drop.
bool same_shape(const TensorDims& a, const TensorDims& b) {
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if ((i < a.size() ? a[i] : 1) != (i < b.size() ? b[i] : 1)) return false;
  }
  return true;
}

}  // namespace

void WeightLoader::take_from(const GgufFile& file, std::string prefix) {
  other_file_ = &file;
  other_prefix_ = std::move(prefix);
}

Result<const TensorView*> WeightLoader::require(const std::string& name, const TensorDims& dims) {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) {
    return model_error("{}: tensor {}: expected {}, found no such tensor", file_of(name).source(),
                       name, dims.text());
  }
  if (!same_shape(tensor->dims, dims)) {
    return model_error("{}: tensor {}: expected shape {}, found {}", file_of(name).source(), name,
                       dims.text(), tensor->dims.text());
  }
  return tensor;
}

void WeightLoader::use(const TensorView& tensor) {
  if (n_uses_[tensor.name]++ == 0) {
    n_params_ += tensor.dims.n_elems();
    bytes_by_format_[static_cast<uint32_t>(tensor.type)] += tensor.size_bytes;
  }
}

void WeightLoader::add_job(Job job) {
  const TensorView* last = nullptr;  // planes of one tensor stand together
  for (const Source& plane : job.planes) {
    if (plane.tensor != last) use(*plane.tensor);
    last = plane.tensor;
  }
  jobs_.push_back(std::move(job));
}

void WeightLoader::add_tensor(const TensorView& tensor, uint32_t n_cols, uint32_t n_rows,
                              uint32_t n_planes, KeepAs keep, PackedMatrix& target) {
  const bool decode = keep == KeepAs::f32 && tensor.type != QuantType::F32;
  Job job;
  job.target = &target;
  job.source_type = tensor.type;
  job.transform = decode ? Transform::to_f32 : Transform::none;
  job.source_cols = n_cols;
  job.source_rows = n_rows;
  const uint64_t plane_bytes = row_bytes(tensor.type, n_cols) * n_rows;
  for (uint32_t i = 0; i < n_planes; ++i) job.planes.push_back({&tensor, i * plane_bytes});
  target = packed_shape(decode ? QuantType::F32 : tensor.type, n_cols, n_rows, n_planes);
  add_job(std::move(job));
}

Result<void> WeightLoader::matrix(const std::string& name, uint32_t n_cols, uint32_t n_rows,
                                  PackedMatrix& target, KeepAs keep) {
  FLOE_TRY(const TensorView* tensor, require(name, TensorDims{n_cols, n_rows}));
  add_tensor(*tensor, n_cols, n_rows, 1, keep, target);
  return {};
}

Result<void> WeightLoader::matrix_stack(const std::string& name, uint32_t n_cols, uint32_t n_rows,
                                        uint32_t n_planes, PackedMatrix& target) {
  FLOE_TRY(const TensorView* tensor, require(name, TensorDims{n_cols, n_rows, n_planes}));
  add_tensor(*tensor, n_cols, n_rows, n_planes, KeepAs::file_type, target);
  return {};
}

Result<void> WeightLoader::vector(const std::string& name, uint32_t n, const float*& target) {
  return add_vector(name, TensorDims{n}, target);
}

Result<void> WeightLoader::vector_stack(const std::string& name, uint32_t n, uint32_t n_planes,
                                        const float*& target) {
  return add_vector(name, TensorDims{n, n_planes}, target);
}

Result<void> WeightLoader::add_vector(const std::string& name, const TensorDims& dims,
                                      const float*& target) {
  FLOE_TRY(const TensorView* tensor, require(name, dims));
  if (tensor->type != QuantType::F32) {
    return model_error("{}: tensor {}: expected type F32, found {}", file_of(name).source(), name,
                       format_traits(tensor->type).name);
  }
  use(*tensor);
  vector_jobs_.push_back(VectorJob{&target, tensor, 0});
  return {};
}

Result<std::vector<float>> WeightLoader::read_vector(const std::string& name, uint32_t n) {
  FLOE_TRY(const TensorView* tensor, require(name, TensorDims{n}));
  if (tensor->type != QuantType::F32) {
    return model_error("{}: tensor {}: expected type F32, found {}", file_of(name).source(), name,
                       format_traits(tensor->type).name);
  }
  use(*tensor);
  std::vector<float> values(n);
  FLOE_TRY_VOID(file_of(name).read(*tensor, 0, std::as_writable_bytes(std::span(values))));
  return values;
}

Result<uint32_t> WeightLoader::count_rows(const std::string& name, uint32_t n_cols) {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) {
    return model_error("{}: tensor {}: expected [{}, rows], found no such tensor",
                       file_of(name).source(), name, n_cols);
  }
  const uint64_t n_rows = tensor->dims.n_rows();
  const bool is_matrix = tensor->dims.size() <= 2 && tensor->dims.n_cols() == n_cols;
  if (!is_matrix || n_rows > (1u << 24)) {
    return model_error("{}: tensor {}: expected shape [{}, rows], found {}", file_of(name).source(),
                       name, n_cols, tensor->dims.text());
  }
  return static_cast<uint32_t>(n_rows);
}

Result<void> WeightLoader::experts(const std::string& prefix, const std::string& kind,
                                   uint32_t n_cols, uint32_t n_rows, uint32_t n_experts,
                                   PackedMatrix& target) {
  FLOE_CHECK(n_experts <= kMaxExperts);
  const std::string stacked = prefix + "ffn_" + kind + "_exps.weight";
  const std::string fused = prefix + "ffn_gate_up_exps.weight";
  const std::string first = prefix + "ffn_" + kind + ".0.weight";
  Job job;
  job.target = &target;
  job.source_cols = n_cols;
  job.source_rows = n_rows;
  if (kind != "down" && !has(stacked) && has(fused)) {
    FLOE_TRY(const TensorView* tensor,
             require(fused, TensorDims{n_cols, 2 * uint64_t{n_rows}, n_experts}));
    const uint64_t half_bytes = row_bytes(tensor->type, n_cols) * n_rows;
    for (uint32_t i = 0; i < n_experts; ++i) {
      job.planes.push_back({tensor, (2 * uint64_t{i} + (kind == "up")) * half_bytes});
    }
    job.source_type = tensor->type;
  } else if (!has(stacked) && has(first)) {
    for (uint32_t i = 0; i < n_experts; ++i) {
      const std::string name = fmt::format("{}ffn_{}.{}.weight", prefix, kind, i);
      FLOE_TRY(const TensorView* tensor, require(name, TensorDims{n_cols, n_rows}));
      if (i == 0) job.source_type = tensor->type;
      if (tensor->type != job.source_type) {
        return model_error("{}: tensor {}: expected type {} as the layer's other experts, found {}",
                           file_of(name).source(), name, format_traits(job.source_type).name,
                           format_traits(tensor->type).name);
      }
      job.planes.push_back({tensor, 0});
    }
  } else {
    return matrix_stack(stacked, n_cols, n_rows, n_experts, target);
  }
  target = packed_shape(job.source_type, n_cols, n_rows, n_experts);
  add_job(std::move(job));
  return {};
}

Result<void> WeightLoader::mla_projections(const std::string& prefix, uint32_t n_heads,
                                           uint32_t nope_dim, uint32_t v_dim, uint32_t kv_lora_dim,
                                           PackedMatrix& k, PackedMatrix& v) {
  const std::string fused = prefix + "attn_kv_b.weight";
  if (!has(fused) || has(prefix + "attn_k_b.weight")) {
    FLOE_TRY_VOID(matrix_stack(prefix + "attn_k_b.weight", nope_dim, kv_lora_dim, n_heads, k));
    return matrix_stack(prefix + "attn_v_b.weight", kv_lora_dim, v_dim, n_heads, v);
  }
  const uint64_t head_rows = uint64_t{nope_dim} + v_dim;
  FLOE_TRY(const TensorView* tensor, require(fused, TensorDims{kv_lora_dim, n_heads * head_rows}));
  const uint64_t one_row = row_bytes(tensor->type, kv_lora_dim);
  Job k_job;
  k_job.target = &k;
  k_job.transform = Transform::transpose;
  k_job.source_type = tensor->type;
  k_job.source_cols = kv_lora_dim;
  k_job.source_rows = nope_dim;
  Job v_job;
  v_job.target = &v;
  v_job.source_type = tensor->type;
  v_job.source_cols = kv_lora_dim;
  v_job.source_rows = v_dim;
  for (uint32_t h = 0; h < n_heads; ++h) {
    k_job.planes.push_back({tensor, h * head_rows * one_row});
    v_job.planes.push_back({tensor, (h * head_rows + nope_dim) * one_row});
  }
  // A transposed row cuts through quantised blocks, so those are decoded.
  k = packed_shape(QuantType::F32, nope_dim, kv_lora_dim, n_heads);
  v = packed_shape(tensor->type, kv_lora_dim, v_dim, n_heads);
  add_job(std::move(k_job));
  add_job(std::move(v_job));
  return {};
}

void WeightLoader::ignore(const std::string& name) {
  ++n_uses_[name];
}

Result<void> WeightLoader::check_complete() const {
  for (const GgufFile* file : {&file_, other_file_}) {
    if (file == nullptr) continue;
    for (const TensorView& tensor : file->tensors()) {
      if (&file_of(tensor.name) != file || n_uses_.contains(tensor.name)) continue;
      return model_error(
          "{}: tensor {}: expected only tensors of this architecture, found {} of {}",
          file->source(), escape_for_terminal(tensor.name), tensor.dims.text(),
          format_traits(tensor.type).name);
    }
  }
  return {};
}

QuantType WeightLoader::main_format() const {
  uint32_t best = 0;
  uint64_t best_bytes = 0;
  for (const auto& [type, bytes] : bytes_by_format_) {
    if (bytes > best_bytes || (bytes == best_bytes && type < best)) {
      best = type;
      best_bytes = bytes;
    }
  }
  return static_cast<QuantType>(best);
}

Result<void> WeightLoader::read(const Source& source, uint64_t offset,
                                std::span<std::byte> out) const {
  return file_of(source.tensor->name).read(*source.tensor, source.begin + offset, out);
}

Result<void> WeightLoader::decode_plane(const Job& job, uint32_t plane, std::byte* packed_plane,
                                        std::vector<std::byte>& bytes) const {
  const PackedMatrix& target = *job.target;
  const size_t n_values = size_t{job.source_rows} * job.source_cols;
  bytes.resize(row_bytes(job.source_type, job.source_cols) * job.source_rows);
  FLOE_TRY_VOID(read(job.planes[plane], 0, bytes));
  std::vector<float> values(n_values);
  format_traits(job.source_type).decode(bytes.data(), values.data(), n_values);
  if (job.transform == Transform::transpose) {
    std::vector<float> turned(n_values);
    for (uint32_t r = 0; r < job.source_rows; ++r) {
      for (uint32_t c = 0; c < job.source_cols; ++c) {
        turned[size_t{c} * job.source_rows + r] = values[size_t{r} * job.source_cols + c];
      }
    }
    values.swap(turned);
  }
  pack_groups(target, reinterpret_cast<const std::byte*>(values.data()), packed_plane, 0,
              target.n_groups);
  return {};
}

Result<void> WeightLoader::pack_groups_of(const Job& job, uint32_t plane, uint32_t group_begin,
                                          uint32_t group_end, std::byte* packed_plane,
                                          std::vector<std::byte>& bytes) const {
  const uint64_t one_row = row_bytes(job.source_type, job.source_cols);
  const uint32_t row_begin = group_begin * kRowsPerGroup;
  const uint32_t row_end = std::min(group_end * kRowsPerGroup, job.source_rows);
  bytes.resize((row_end - row_begin) * one_row);
  FLOE_TRY_VOID(read(job.planes[plane], row_begin * one_row, bytes));
  pack_groups(*job.target, bytes.data(), packed_plane, group_begin, group_end);
  return {};
}

Result<void> WeightLoader::pack_job(const Job& job, std::byte* data, ThreadPool& pool,
                                    Progress& progress) const {
  const PackedMatrix& target = *job.target;
  const uint64_t plane_bytes = target.plane_bytes();
  // What a worker reads at once stays in its second-level cache until it is packed.
  constexpr uint64_t kPieceBytes = 256 << 10;
  const bool whole_planes = job.transform != Transform::none;
  const uint32_t step =
      whole_planes ? target.n_groups
                   : static_cast<uint32_t>(std::max<uint64_t>(1, kPieceBytes / target.group_bytes));
  const uint32_t n_pieces = (target.n_groups + step - 1) / step;
  std::mutex mutex;
  std::optional<Error> error;
  std::atomic<bool> failed{false};
  pool.run([&](Worker& worker) {
    std::vector<std::byte> bytes;
    worker.chunks(target.n_planes * n_pieces, 1, [&](uint32_t item, uint32_t) {
      if (failed) return;
      const uint32_t plane = item / n_pieces;
      const uint32_t begin = item % n_pieces * step;
      const uint32_t end = std::min(begin + step, target.n_groups);
      std::byte* packed = data + plane * plane_bytes;
      const Result<void> done = [&]() -> Result<void> {
        try {
          return whole_planes ? decode_plane(job, plane, packed, bytes)
                              : pack_groups_of(job, plane, begin, end, packed, bytes);
        } catch (const std::bad_alloc&) {  // an exception must not leave a worker
          return Error{ErrorKind::memory, "out of memory"};
        }
      }();
      if (done.ok()) {
        progress.advance((end - begin) * target.group_bytes);
        return;
      }
      const std::lock_guard lock(mutex);
      if (!failed.exchange(true)) error = done.error();
    });
  });
  if (error) return *error;
  return {};
}

uint64_t WeightLoader::packed_bytes() const {
  uint64_t n_bytes = 0;
  for (const Job& job : jobs_) n_bytes += align_up(job.target->size_bytes());
  for (const VectorJob& job : vector_jobs_) n_bytes += align_up(job.tensor->size_bytes);
  return n_bytes;
}

Result<HugeBuffer> WeightLoader::pack(ThreadPool& pool, bool show_progress) {
  uint64_t needed = 0;
  for (Job& job : jobs_) {
    job.offset = needed;
    needed += align_up(job.target->size_bytes());
  }
  for (VectorJob& job : vector_jobs_) {
    job.offset = needed;
    needed += align_up(job.tensor->size_bytes);
  }
  const uint64_t available = available_memory_bytes();
  if (available != 0 && needed > available) {
    return make_error(
        ErrorKind::memory,
        "{}: the weights need {:.1f} GB, {:.1f} GB are available: a file with fewer bits "
        "per weight might fit",
        file_.source(), static_cast<double>(needed) / 1e9, static_cast<double>(available) / 1e9);
  }
  FLOE_TRY(HugeBuffer buffer, HugeBuffer::allocate(needed));

  Progress progress("loading", needed, Progress::Unit::bytes, show_progress);
  for (const Job& job : jobs_) {
    job.target->data = buffer.data() + job.offset;
    FLOE_TRY_VOID(pack_job(job, buffer.data() + job.offset, pool, progress));
  }
  for (const VectorJob& job : vector_jobs_) {
    std::byte* values = buffer.data() + job.offset;
    FLOE_TRY_VOID(read({job.tensor, 0}, 0, {values, job.tensor->size_bytes}));
    *job.target = reinterpret_cast<const float*>(values);
    progress.advance(job.tensor->size_bytes);
  }
  progress.finish();
  return buffer;
}

}  // namespace floe

#include "model/weights.h"

#include <algorithm>
#include <cstring>

#include "base/progress.h"
#include "base/terminal_text.h"

namespace floe {

namespace {

constexpr uint64_t kAlignBytes = 64;
constexpr uint64_t kReleaseBytes = 64
                                   << 20;  // file pages are given back in pieces of about this size
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

Result<const TensorView*> WeightLoader::require(const std::string& name, const TensorDims& dims) {
  const TensorView* tensor = file_.find_tensor(name);
  if (tensor == nullptr) {
    return model_error("{}: tensor {}: expected {}, found no such tensor", file_.source(), name,
                       dims.text());
  }
  if (!same_shape(tensor->dims, dims)) {
    return model_error("{}: tensor {}: expected shape {}, found {}", file_.source(), name,
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
  for (const TensorView* tensor : job.tensors) use(*tensor);
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
  for (uint32_t i = 0; i < n_planes; ++i) job.planes.push_back(tensor.data + i * plane_bytes);
  job.tensors.push_back(&tensor);
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
    return model_error("{}: tensor {}: expected type F32, found {}", file_.source(), name,
                       format_traits(tensor->type).name);
  }
  use(*tensor);
  vector_jobs_.push_back(VectorJob{&target, tensor, 0});
  return {};
}

Result<std::vector<float>> WeightLoader::read_vector(const std::string& name, uint32_t n) {
  FLOE_TRY(const TensorView* tensor, require(name, TensorDims{n}));
  if (tensor->type != QuantType::F32) {
    return model_error("{}: tensor {}: expected type F32, found {}", file_.source(), name,
                       format_traits(tensor->type).name);
  }
  use(*tensor);
  std::vector<float> values(n);
  std::memcpy(values.data(), tensor->data, n * sizeof(float));
  return values;
}

Result<uint32_t> WeightLoader::count_rows(const std::string& name, uint32_t n_cols) {
  const TensorView* tensor = file_.find_tensor(name);
  if (tensor == nullptr) {
    return model_error("{}: tensor {}: expected [{}, rows], found no such tensor", file_.source(),
                       name, n_cols);
  }
  const uint64_t n_rows = tensor->dims.n_rows();
  const bool is_matrix = tensor->dims.size() <= 2 && tensor->dims.n_cols() == n_cols;
  if (!is_matrix || n_rows > (1u << 24)) {
    return model_error("{}: tensor {}: expected shape [{}, rows], found {}", file_.source(), name,
                       n_cols, tensor->dims.text());
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
      job.planes.push_back(tensor->data + (2 * uint64_t{i} + (kind == "up")) * half_bytes);
    }
    job.source_type = tensor->type;
    job.tensors.push_back(tensor);
  } else if (!has(stacked) && has(first)) {
    for (uint32_t i = 0; i < n_experts; ++i) {
      const std::string name = fmt::format("{}ffn_{}.{}.weight", prefix, kind, i);
      FLOE_TRY(const TensorView* tensor, require(name, TensorDims{n_cols, n_rows}));
      if (i == 0) job.source_type = tensor->type;
      if (tensor->type != job.source_type) {
        return model_error("{}: tensor {}: expected type {} as the layer's other experts, found {}",
                           file_.source(), name, format_traits(job.source_type).name,
                           format_traits(tensor->type).name);
      }
      job.planes.push_back(tensor->data);
      job.tensors.push_back(tensor);
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
  k_job.tensors.push_back(tensor);
  Job v_job;
  v_job.target = &v;
  v_job.source_type = tensor->type;
  v_job.source_cols = kv_lora_dim;
  v_job.source_rows = v_dim;
  v_job.tensors.push_back(tensor);
  for (uint32_t h = 0; h < n_heads; ++h) {
    k_job.planes.push_back(tensor->data + h * head_rows * one_row);
    v_job.planes.push_back(tensor->data + (h * head_rows + nope_dim) * one_row);
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
  for (const TensorView& tensor : file_.tensors()) {
    if (n_uses_.find(tensor.name) == n_uses_.end()) {
      return model_error(
          "{}: tensor {}: expected only tensors of this architecture, found {} of {}",
          file_.source(), escape_for_terminal(tensor.name), tensor.dims.text(),
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

void WeightLoader::pack_planes(const Job& job, std::byte* data, ThreadPool& pool,
                               uint32_t plane_begin, uint32_t plane_end) const {
  const PackedMatrix& target = *job.target;
  if (job.transform != Transform::none) {
    pool.run([&](Worker& worker) {
      worker.chunks(plane_end - plane_begin, 1, [&](uint32_t begin, uint32_t) {
        const uint32_t plane = plane_begin + begin;
        const size_t n_values = size_t{job.source_rows} * job.source_cols;
        std::vector<float> values(n_values);
        format_traits(job.source_type).decode(job.planes[plane], values.data(), n_values);
        if (job.transform == Transform::transpose) {
          std::vector<float> turned(n_values);
          for (uint32_t r = 0; r < job.source_rows; ++r) {
            for (uint32_t c = 0; c < job.source_cols; ++c) {
              turned[size_t{c} * job.source_rows + r] = values[size_t{r} * job.source_cols + c];
            }
          }
          values.swap(turned);
        }
        pack_groups(target, reinterpret_cast<const std::byte*>(values.data()),
                    data + plane * target.plane_bytes(), 0, target.n_groups);
      });
    });
    return;
  }
  constexpr uint32_t kGroupsPerItem = 16;
  const uint32_t n_items = (target.n_groups + kGroupsPerItem - 1) / kGroupsPerItem;
  pool.run([&](Worker& worker) {
    worker.chunks((plane_end - plane_begin) * n_items, 1, [&](uint32_t begin, uint32_t) {
      const uint32_t plane = plane_begin + begin / n_items;
      const uint32_t group = begin % n_items * kGroupsPerItem;
      pack_groups(target, job.planes[plane], data + plane * target.plane_bytes(), group,
                  std::min(group + kGroupsPerItem, target.n_groups));
    });
  });
}

Result<HugeBuffer> WeightLoader::pack(ThreadPool& pool, bool file_is_mapped, bool show_progress) {
  uint64_t needed = 0;
  for (Job& job : jobs_) {
    job.offset = needed;
    needed += align_up(job.target->size_bytes());
  }
  for (VectorJob& job : vector_jobs_) {
    job.offset = needed;
    needed += align_up(job.tensor->size_bytes);
  }
  // What LoadMode::read holds is given back while packing.
  const uint64_t reusable = file_is_mapped ? 0 : file_.size_bytes();
  const uint64_t available = available_memory_bytes();
  if (available != 0 && needed > available + reusable) {
    return make_error(ErrorKind::memory, "{}: the weights need {} bytes, {} are available",
                      file_.source(), needed, available + reusable);
  }
  FLOE_TRY(HugeBuffer buffer, HugeBuffer::allocate(needed));

  Progress progress("loading", needed, Progress::Unit::bytes, show_progress);
  std::unordered_map<std::string, uint32_t> n_left = n_uses_;
  for (const Job& job : jobs_) {
    job.target->data = buffer.data() + job.offset;
    const uint64_t plane_bytes = job.target->plane_bytes();
    const bool release_planes = job.transform == Transform::none && job.tensors.size() == 1 &&
                                n_left[job.tensors[0]->name] == 1;
    const uint32_t n_planes = job.target->n_planes;
    const uint32_t step = static_cast<uint32_t>(
        std::clamp<uint64_t>(kReleaseBytes / std::max<uint64_t>(1, plane_bytes), 1, n_planes));
    for (uint32_t plane = 0; plane < n_planes; plane += step) {
      const uint32_t end = std::min(plane + step, n_planes);
      pack_planes(job, buffer.data() + job.offset, pool, plane, end);
      if (release_planes) {
        const TensorView& tensor = *job.tensors[0];
        const uint64_t source_plane = tensor.size_bytes / n_planes;
        file_.release_pages(tensor, plane * source_plane, end * source_plane);
      }
      progress.advance((end - plane) * plane_bytes);
    }
    for (const TensorView* tensor : job.tensors) {
      if (--n_left[tensor->name] == 0) file_.release_pages(*tensor, 0, tensor->size_bytes);
    }
  }
  for (const VectorJob& job : vector_jobs_) {
    std::memcpy(buffer.data() + job.offset, job.tensor->data, job.tensor->size_bytes);
    *job.target = reinterpret_cast<const float*>(buffer.data() + job.offset);
    progress.advance(job.tensor->size_bytes);
  }
  progress.finish();
  return buffer;
}

}  // namespace floe

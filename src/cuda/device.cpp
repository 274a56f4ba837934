#include "cuda/device.h"

#include <utility>

namespace floe::cuda {

Result<void> check(cudaError_t status, const char* attempted) {
  if (status == cudaSuccess) return {};
  cudaGetLastError();  // so that it is not reported again, if the card can go on
  const bool no_room = status == cudaErrorMemoryAllocation;
  return make_error(no_room ? ErrorKind::memory : ErrorKind::runtime, "cuda: {}: {}", attempted,
                    cudaGetErrorString(status));
}

namespace {

template <typename T>
void take(T*& to, T*& from) {
  std::swap(to, from);
}

}  // namespace

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept {
  *this = std::move(other);
}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  take(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  cudaFree(data_);
}

Result<DeviceMemory> DeviceMemory::allocate(size_t size_bytes, const std::string& what) {
  DeviceMemory memory;
  if (size_bytes == 0) return memory;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, size_bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // so that it is not reported again
    size_t n_free = 0;
    size_t n_total = 0;
    cudaMemGetInfo(&n_free, &n_total);
    return make_error(ErrorKind::memory, "{} needs {} bytes, {} of {} are free on the card", what,
                      size_bytes, n_free, n_total);
  }
  FLOE_TRY_VOID(check(status, "cudaMalloc"));
  memory.data_ = static_cast<std::byte*>(data);
  memory.size_bytes_ = size_bytes;
  FLOE_TRY_VOID(check(cudaMemset(data, 0, size_bytes), "cudaMemset"));
  return memory;
}

PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept {
  *this = std::move(other);
}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  take(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

PinnedMemory::~PinnedMemory() {
  cudaFreeHost(data_);
}

Result<PinnedMemory> PinnedMemory::allocate(size_t size_bytes, const std::string& what) {
  PinnedMemory memory;
  if (size_bytes == 0) return memory;
  void* data = nullptr;
  const cudaError_t status = cudaMallocHost(&data, size_bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return make_error(ErrorKind::memory, "{} needs {} bytes that the card can reach", what,
                      size_bytes);
  }
  FLOE_TRY_VOID(check(status, "cudaMallocHost"));
  memory.data_ = static_cast<std::byte*>(data);
  memory.size_bytes_ = size_bytes;
  return memory;
}

}  // namespace floe::cuda

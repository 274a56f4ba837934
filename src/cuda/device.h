#pragma once
// The cards of this machine, their memory, and what they say when something fails.
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace floe::cuda {

// ErrorKind::runtime, or ErrorKind::memory where the card has no room, naming what was attempted
// and what the card said.
Result<void> check(cudaError_t status, const char* attempted);
// Memory of a card. Movable.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory();

  // Zeroed, on the current device. Fails with ErrorKind::memory: "WHAT needs N bytes, M are free on
  // the card".
  static Result<DeviceMemory> allocate(size_t size_bytes, const std::string& what);

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

// Memory of this process that the card reads and writes by itself.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  ~PinnedMemory();

  static Result<PinnedMemory> allocate(size_t size_bytes, const std::string& what);

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace floe::cuda

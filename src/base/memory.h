#pragma once
// Large anonymous memory: page-aligned, on 2 MB pages where the kernel grants them, never
// file-backed.
#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace floe {

// Owns one anonymous mapping. Movable; the address is stable for its lifetime.
class HugeBuffer {
 public:
  HugeBuffer() = default;
  HugeBuffer(HugeBuffer&& other) noexcept;
  HugeBuffer& operator=(HugeBuffer&& other) noexcept;
  HugeBuffer(const HugeBuffer&) = delete;
  HugeBuffer& operator=(const HugeBuffer&) = delete;
  ~HugeBuffer();

  // Zeroed memory, 2 MB aligned. Fails with ErrorKind::memory, naming the size.
  static Result<HugeBuffer> allocate(size_t size_bytes);

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
};

// Memory the machine can still give without swapping, in bytes: MemAvailable, cut by the control
// group's limit where one is set. 0 when it cannot be read.
uint64_t available_memory_bytes();
uint64_t total_memory_bytes();

}  // namespace floe

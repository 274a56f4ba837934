#include "base/memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

namespace floe {

namespace {
constexpr size_t kHugePageBytes = size_t{2} << 20;

uint64_t meminfo_bytes(const char* field) {
  std::ifstream in("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  std::string unit;
  while (in >> key >> kib) {
    std::getline(in, unit);
    if (key == field) return kib * 1024;
  }
  return 0;
}

// A control group's number, or UINT64_MAX where there is none ("max" or no such file).
uint64_t cgroup_bytes(const char* path) {
  std::ifstream in(path);
  uint64_t value = 0;
  return (in >> value) ? value : UINT64_MAX;
}
}  // namespace

HugeBuffer::HugeBuffer(HugeBuffer&& other) noexcept {
  *this = std::move(other);
}

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  return *this;
}

HugeBuffer::~HugeBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

Result<HugeBuffer> HugeBuffer::allocate(size_t size_bytes) {
  HugeBuffer buffer;
  buffer.size_bytes_ = size_bytes;
  if (size_bytes == 0) return buffer;
  size_t padded = 0;
  if (__builtin_add_overflow(size_bytes, 2 * kHugePageBytes, &padded)) {
    return make_error(ErrorKind::memory, "cannot allocate {} bytes", size_bytes);
  }
  padded &= ~(kHugePageBytes - 1);
  void* mapping = mmap(nullptr, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    return make_error(ErrorKind::memory, "cannot allocate {} bytes: {}", size_bytes,
                      std::strerror(errno));
  }
  buffer.mapping_ = mapping;
  buffer.mapping_bytes_ = padded;
  const uintptr_t aligned =
      (reinterpret_cast<uintptr_t>(mapping) + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  buffer.data_ = reinterpret_cast<std::byte*>(aligned);
  // Expert matrices of megabytes thrash a small TLB on 4 KB pages. Advice only: ignored is fine.
  madvise(buffer.data_, size_bytes, MADV_HUGEPAGE);
  return buffer;
}

uint64_t total_memory_bytes() {
  return meminfo_bytes("MemTotal:");
}

uint64_t available_memory_bytes() {
  uint64_t available = meminfo_bytes("MemAvailable:");
  const uint64_t limit = cgroup_bytes("/sys/fs/cgroup/memory.max");
  const uint64_t used = cgroup_bytes("/sys/fs/cgroup/memory.current");
  if (limit != UINT64_MAX && used != UINT64_MAX) {
    const uint64_t left = limit > used ? limit - used : 0;
    if (left < available) available = left;
  }
  return available;
}

}  // namespace floe

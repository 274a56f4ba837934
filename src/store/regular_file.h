#pragma once
// Opening files that hold data: what is not a regular file is refused before anything waits for it.
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"

namespace floe {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept { std::swap(fd_, other.fd_); }
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct RegularFile {
  FileDescriptor fd;
  std::string name;  // the path, for messages
  uint64_t size_bytes = 0;
  dev_t device = 0;
  ino_t inode = 0;
};

// ErrorKind::model where the file cannot be opened, is not a regular file or is empty.
Result<RegularFile> open_regular_file(const std::string& path);
// ErrorKind::model where the file ends before, or was cut after it was opened.
Result<void> read_at(const RegularFile& file, uint64_t offset, std::span<std::byte> out);
// n_bytes: bounded by the caller.
Result<std::string> read_text(const RegularFile& file, uint64_t offset, uint64_t n_bytes);

}  // namespace floe

#include "store/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/terminal_text.h"

namespace floe {

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

Result<RegularFile> open_regular_file(const std::string& path) {
  RegularFile file;
  file.name = escape_for_terminal(path, 1024);
  // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
  file.fd = FileDescriptor(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (file.fd.get() < 0) {
    return model_error("{}: cannot open: {}", file.name, std::strerror(errno));
  }
  struct stat info = {};
  if (fstat(file.fd.get(), &info) != 0) {
    return model_error("{}: cannot stat: {}", file.name, std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return model_error("{}: expected a regular file, found {}", file.name,
                       S_ISDIR(info.st_mode) ? "a directory" : "a device, pipe or socket");
  }
  if (info.st_size == 0) return model_error("{}: the file is empty", file.name);
  file.size_bytes = static_cast<uint64_t>(info.st_size);
  file.device = info.st_dev;
  file.inode = info.st_ino;
  return file;
}

Result<void> read_at(const RegularFile& file, uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = pread(file.fd.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return model_error("{}: cannot read: {}", file.name, std::strerror(errno));
    if (n == 0) {
      return model_error("{}: expected {} bytes more at offset {}, found the end of the file",
                         file.name, out.size(), offset);
    }
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<std::string> read_text(const RegularFile& file, uint64_t offset, uint64_t n_bytes) {
  std::string text(n_bytes, '\0');
  FLOE_TRY_VOID(read_at(file, offset, std::as_writable_bytes(std::span(text))));
  return text;
}

}  // namespace floe

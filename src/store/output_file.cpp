#include "store/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/stop_signal.h"
#include "base/terminal_text.h"

namespace floe {

namespace {
constexpr size_t kBufferBytes = size_t{1} << 20;
}

OutputFile::~OutputFile() {
  // A file that was moved from has no descriptor.
  if (fd_.get() >= 0 && !temporary_path_.empty()) unlink(temporary_path_.c_str());
}

Error OutputFile::io_error(const char* what) {
  failed_ = true;
  return make_error(ErrorKind::runtime, "{}: cannot {}: {}", name_, what, std::strerror(errno));
}

namespace {

// Reserving more than there is fills the disk for everybody else before it fails.
Result<void> expect_room(const std::string& path, const std::string& name, uint64_t n_bytes) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == path.npos ? "." : path.substr(0, slash + 1);
  struct statvfs disk;
  if (statvfs(folder.c_str(), &disk) != 0) return {};  // creating the file says why
  const uint64_t free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (n_bytes <= free_bytes) return {};
  return make_error(ErrorKind::runtime, "{}: needs {:.2f} GB, its file system has {:.2f} GB free",
                    name, static_cast<double>(n_bytes) / 1e9,
                    static_cast<double>(free_bytes) / 1e9);
}

}  // namespace

Result<OutputFile> OutputFile::create(const std::string& path, uint64_t n_bytes) {
  OutputFile file;
  file.path_ = path;
  file.name_ = escape_for_terminal(path, 1024);
  if (n_bytes > static_cast<uint64_t>(INT64_MAX)) {
    return make_error(ErrorKind::runtime, "{}: {} bytes are more than a file can hold", file.name_,
                      n_bytes);
  }
  struct stat existing;
  if (stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode)) {
    return make_error(ErrorKind::runtime, "{}: expected a regular file or none, found {}",
                      file.name_, S_ISDIR(existing.st_mode) ? "a folder" : "a device or pipe");
  }
  FLOE_TRY_VOID(expect_room(path, file.name_, n_bytes));
  const std::string temporary = fmt::format("{}.tmp-{}", path, getpid());
  unlink(temporary.c_str());  // of a process with our number that died
  file.fd_ = FileDescriptor(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.fd_.get() < 0) return file.io_error("create");
  file.temporary_path_ = temporary;
  // A file system that cannot reserve says so and is used without.
  if (n_bytes > 0 &&
      fallocate(file.fd_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(n_bytes)) != 0 &&
      (errno == ENOSPC || errno == EFBIG || errno == EDQUOT)) {
    return make_error(ErrorKind::runtime, "{}: cannot reserve {} bytes: {}", file.name_, n_bytes,
                      std::strerror(errno));
  }
  file.buffer_.reserve(kBufferBytes);
  file.expected_bytes_ = n_bytes;
  return file;
}

Result<void> OutputFile::check_open() const {
  if (!failed_ && !temporary_path_.empty()) return {};
  return make_error(ErrorKind::runtime, "{}: not open for writing, or an earlier write failed",
                    name_);
}

Result<void> OutputFile::write_through(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("write");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

Result<void> OutputFile::append(std::span<const std::byte> bytes) {
  FLOE_TRY_VOID(check_open());
  if (stop_requested()) {
    failed_ = true;
    return make_error(ErrorKind::runtime, "{}: stopped by a signal, nothing is left of it", name_);
  }
  n_bytes_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) {
    FLOE_TRY_VOID(write_through(buffer_));
    buffer_.clear();
  }
  if (bytes.size() >= kBufferBytes) return write_through(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> OutputFile::finish() {
  FLOE_TRY_VOID(check_open());
  if (n_bytes_ != expected_bytes_) {
    return usage_error("{}: expected {} bytes in all, found {}", name_, expected_bytes_, n_bytes_);
  }
  FLOE_TRY_VOID(write_through(buffer_));
  if (fsync(fd_.get()) != 0) return io_error("sync");
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0) return io_error("rename");
  temporary_path_.clear();
  fd_ = FileDescriptor();
  // The name itself is on disk only with the folder.
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const FileDescriptor folder_fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_fd.get() >= 0) fsync(folder_fd.get());
  return {};
}

}  // namespace floe

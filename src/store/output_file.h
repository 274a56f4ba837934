#pragma once
// A file that appears under its name only when it is complete. Until finish() succeeds the bytes
// live in PATH.tmp-<pid>, which is removed when the writer goes away unfinished. A signal to stop
// (base/stop_signal.h) fails the next append(). Errors are ErrorKind::runtime and name the path.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "store/regular_file.h"

namespace floe {

class OutputFile {
 public:
  // Of exactly n_bytes, reserved on the disk where the file system can: no room is an error now,
  // not after an hour. Nor is anything but a regular file replaced.
  static Result<OutputFile> create(const std::string& path, uint64_t n_bytes);
  OutputFile(OutputFile&&) noexcept = default;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // Small pieces wait in memory for a write of decent size. After an error nothing more is written.
  Result<void> append(std::span<const std::byte> bytes);
  // Syncs, and gives the file its name (replacing an older one). ErrorKind::usage where bytes are
  // missing or too many.
  Result<void> finish();

  const std::string& name() const { return name_; }  // the path, for messages

 private:
  OutputFile() = default;
  Error io_error(const char* what);
  Result<void> check_open() const;
  Result<void> write_through(std::span<const std::byte> bytes);

  std::string path_;
  std::string name_;
  std::string temporary_path_;  // empty: there is none
  FileDescriptor fd_;
  std::vector<std::byte> buffer_;
  uint64_t expected_bytes_ = 0;
  uint64_t n_bytes_ = 0;  // appended so far
  bool failed_ = false;
};

}  // namespace floe

#pragma once
// A mapped file that is truncated while in use raises SIGBUS at the next touch of a lost page. The
// guard turns that into one line on stderr and exit code 3.
#include <cstddef>
#include <string_view>

namespace floe {

// Process-wide, idempotent, and done by GgufFile::open where nobody else handles
// SIGBUS. A SIGBUS outside every guarded range takes its default course.
void install_sigbus_handler();

// Names the file that backs [begin, begin + size_bytes) for the handler. Beyond 1024 ranges at a
// time the range stays unguarded and guard_mapping returns false.
bool guard_mapping(const void* begin, size_t size_bytes, std::string_view path);
void unguard_mapping(const void* begin);

}  // namespace floe

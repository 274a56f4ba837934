#pragma once
// Logging through spdlog, to stderr. Nothing is logged inside a forward. Text that came from files
// or requests is escaped by whoever logs it.
#include <spdlog/spdlog.h>

namespace floe {

// Once, at start: stderr, information and worse.
void setup_logging();
// 0 errors, 1 warnings, 2 information, 3 debug, 4 and 5 trace.
void set_verbosity(int verbosity);

}  // namespace floe

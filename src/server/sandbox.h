#pragma once
// What the process gives up once the model is loaded and the sockets are open.
#include "base/error.h"

namespace floe {

enum class SandboxState : uint8_t {
  on,           // no new privileges, and the system-call filter holds for all threads
  unsupported,  // the kernel has no filters, or this processor is not known here
};

// For the whole process, for good: no program is started, no process is made, no connection is
// opened, no new socket listens, nobody is traced, no file is made, changed, renamed or deleted,
// nothing is mounted, no kernel module loaded. The calls fail with EPERM. Connections that are
// accepted from open sockets, files that are open, reading of files and new threads are not
// touched.
SandboxState enter_sandbox();

}  // namespace floe

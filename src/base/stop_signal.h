#pragma once
// Ctrl-C during work that writes a file: the work fails in an orderly way and takes what it has
// written so far with it.

namespace floe {

// From here on the first SIGINT, SIGTERM or SIGHUP only sets what stop_requested() says; the second
// ends the process.
void stop_on_signals();
bool stop_requested();

}  // namespace floe

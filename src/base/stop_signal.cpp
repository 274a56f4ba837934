#include "base/stop_signal.h"

#include <csignal>
#include <initializer_list>

namespace floe {

namespace {
volatile std::sig_atomic_t g_stop = 0;
}

void stop_on_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int) { g_stop = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the next one ends the process
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

bool stop_requested() {
  return g_stop != 0;
}

}  // namespace floe

// floe VERB [options]: finds the verb, runs it, turns an error into one line and an exit code.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/version.h"
#include "verbs/verbs.h"

namespace floe {
namespace {

void print_help() {
  std::string text = fmt::format(
      "floe {}: runs Mixture-of-Experts language models at the memory floor\n\nfloe VERB "
      "[options]\n\n",
      kVersion);
  for (const Verb& verb : verbs()) text += fmt::format("  {:<13} {}\n", verb.name, verb.summary);
  text += "  help VERB     every option of a verb with its default and environment name\n";
  text += "  version       version and build\n\n";
  text += "exit codes: 0 ok, 1 run-time failure, 2 usage, 3 model unreadable or unsupported,\n";
  text += "            4 does not fit in memory, 5 a quality gate failed\n";
  std::fputs(text.c_str(), stdout);
}

Result<int> dispatch(std::vector<std::string> arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      (arguments[0] == "help" && arguments.size() == 1)) {
    print_help();
    return arguments.empty() ? 2 : 0;
  }
  if (arguments[0] == "version" || arguments[0] == "--version") {
    fmt::print("floe {} ({})\n", kVersion, kBuildCommit);
    return 0;
  }
  if (arguments[0] == "help") arguments = {arguments[1], "--help"};
  for (const Verb& verb : verbs()) {
    if (arguments[0] == verb.name) return verb.run(std::span(arguments).subspan(1));
  }
  return usage_error("unknown verb '{}': 'floe help' lists them", arguments[0]);
}

// What the standard library cannot get from the machine it throws: memory, threads.
Result<int> run(std::vector<std::string> arguments) {
  try {
    return dispatch(std::move(arguments));
  } catch (const std::bad_alloc&) {
    return make_error(ErrorKind::memory, "out of memory");
  } catch (const std::exception& exception) {
    return make_error(ErrorKind::runtime, "{}", exception.what());
  }
}

}  // namespace
}  // namespace floe

int main(int argc, char** argv) {
  floe::setup_logging();
  const auto result = floe::run({argv + 1, argv + argc});
  if (result.ok()) return *result;
  fmt::print(stderr, "floe: {}\n", result.error().message);
  return floe::exit_code(result.error().kind);
}

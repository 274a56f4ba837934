// floe VERB [options]: finds the verb, runs it, turns an error into one line and an exit code.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <new>
#include <string>
#include <vector>

#include "base/exception_error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/version.h"
#include "verbs/verbs.h"

namespace floe {
namespace {

void print_help() {
  std::string text = fmt::format(
      "floe {}: runs Mixture-of-Experts language models on processors, at the speed of "
      "memory\n\nfloe VERB "
      "[options]\n\n",
      kVersion);
  for (const Verb& verb : verbs()) text += fmt::format("  {:<13} {}\n", verb.name, verb.summary);
  text += "  help VERB     every option of a verb with its default and environment name\n";
  text += "  version       version and build\n\n";
  text += "exit codes: 0 ok, 1 run-time failure, 2 usage, 3 model unreadable or unsupported,\n";
  text += "            4 does not fit in memory, 5 a quality gate failed\n";
  std::fputs(text.c_str(), stdout);
}

void print_version() {
  fmt::print("floe {} ({})\n", kVersion, kBuildCommit);
}

Error unknown_verb(const std::string& name) {
  std::vector<std::string> names = {"help", "version"};
  for (const Verb& verb : verbs()) names.emplace_back(verb.name);
  const std::string similar = most_similar(name, names);
  return usage_error("unknown verb '{}': {}'floe help' lists them", name,
                     similar.empty() ? "" : fmt::format("did you mean {}? ", similar));
}

Result<int> dispatch(std::vector<std::string> arguments) {
  const auto is = [&](size_t at, std::initializer_list<std::string_view> words) {
    return at < arguments.size() &&
           std::find(words.begin(), words.end(), arguments[at]) != words.end();
  };
  if (arguments.empty()) {
    print_help();
    return 2;
  }
  if (is(0, {"help", "--help", "-h"})) {
    if (arguments.size() == 1 || is(1, {"help", "--help", "-h"})) {
      print_help();
      return 0;
    }
    arguments = {arguments[1], "--help"};
  }
  if (is(0, {"version", "--version"})) {
    if (is(1, {"--help", "-h"})) {
      std::fputs("floe version\nPrints the version and the commit it was built from.\n", stdout);
    } else {
      print_version();
    }
    return 0;
  }
  for (const Verb& verb : verbs()) {
    if (arguments[0] == verb.name) return verb.run(std::span(arguments).subspan(1));
  }
  return unknown_verb(arguments[0]);
}

// What the standard library cannot get from the machine it throws: memory, threads.
Result<int> run(std::vector<std::string> arguments) {
  try {
    return dispatch(std::move(arguments));
  } catch (...) {
    return error_of_exception();
  }
}

// Everybody on this machine can read a command line: what is secret in it is wiped once it is
// copied.
void wipe_secrets(int argc, char** argv) {
  constexpr std::string_view kSecret = "--api-key";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == kSecret && i + 1 < argc) {
      std::memset(argv[i + 1], 0, std::strlen(argv[i + 1]));
      ++i;
    } else if (argument.starts_with(kSecret) && argument.substr(kSecret.size()).starts_with('=')) {
      std::memset(argv[i] + kSecret.size() + 1, 0, argument.size() - kSecret.size() - 1);
    }
  }
}

}  // namespace
}  // namespace floe

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  floe::wipe_secrets(argc, argv);
  floe::setup_logging();
  const auto result = floe::run(std::move(arguments));
  if (result.ok()) return *result;
  fmt::print(stderr, "floe: {}\n", result.error().message);
  return floe::exit_code(result.error().kind);
}

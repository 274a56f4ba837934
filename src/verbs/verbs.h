#pragma once
// The verbs of the program. Each parses its own option table and joins the rooms it needs.
#include <span>
#include <string>

#include "base/error.h"

namespace floe {

struct Verb {
  const char* name;
  const char* summary;
  // Returns the exit code, or the error that main prints in one line.
  Result<int> (*run)(std::span<const std::string> arguments);
};

// In the order of the help.
std::span<const Verb> verbs();

Result<int> run_run(std::span<const std::string> arguments);
Result<int> run_serve(std::span<const std::string> arguments);
Result<int> run_bench_verb(std::span<const std::string> arguments);
Result<int> run_batched_bench_verb(std::span<const std::string> arguments);
Result<int> run_spec_bench_verb(std::span<const std::string> arguments);
Result<int> run_bench_serve(std::span<const std::string> arguments);
Result<int> run_logits(std::span<const std::string> arguments);
Result<int> run_tokenize(std::span<const std::string> arguments);
Result<int> run_template(std::span<const std::string> arguments);
Result<int> run_synth(std::span<const std::string> arguments);
Result<int> run_inflate(std::span<const std::string> arguments);
Result<int> run_doctor(std::span<const std::string> arguments);

}  // namespace floe

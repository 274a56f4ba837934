#pragma once
// What compiling a grammar may cost. Whoever asks for one is a stranger, so that time and memory
// have an end however the text was made.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/error.h"

namespace floe {

struct CompileLimits {
  size_t max_source_bytes = size_t{256} << 10;  // of the schema, grammar or expression as text
  uint32_t max_states = 150'000;                // of the automaton before and after it is made
                                                // deterministic, each
  uint64_t max_steps = 60'000'000;              // of the compiler: about a second
  uint32_t max_depth = 64;                      // of groups within groups
  std::function<bool()> cancelled;              // asked now and then; may be empty
};

// Steps done so far. Copies would count apart.
class CompileWork {
 public:
  explicit CompileWork(const CompileLimits& limits) : limits_(limits) {}
  CompileWork(const CompileWork&) = delete;
  CompileWork& operator=(const CompileWork&) = delete;

  const CompileLimits& limits() const { return limits_; }

  // False: it is enough, error() says why.
  bool spend(uint64_t n_steps) {
    n_steps_ += n_steps;
    if (n_steps_ > limits_.max_steps) return fail("takes too long to compile");
    if (n_steps_ < next_look_) return true;
    next_look_ = n_steps_ + kStepsBetweenLooks;
    return limits_.cancelled && limits_.cancelled() ? fail("nobody waits for it any more") : true;
  }
  bool has_room(uint64_t n_states) {
    return n_states <= limits_.max_states
               ? true
               : fail(fmt::format("needs more than {} states", limits_.max_states));
  }
  // The reason alone: a front end puts its place before it.
  const std::string& reason() const { return reason_; }
  bool failed() const { return !reason_.empty(); }

 private:
  static constexpr uint64_t kStepsBetweenLooks = 100'000;

  bool fail(std::string reason) {
    if (reason_.empty()) reason_ = std::move(reason);
    return false;
  }

  const CompileLimits& limits_;
  uint64_t n_steps_ = 0;
  uint64_t next_look_ = kStepsBetweenLooks;
  std::string reason_;
};

}  // namespace floe

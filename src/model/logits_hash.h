#pragma once
// A hash over the bits of logits: equal hashes mean equal bits, for every practical purpose.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace floe {

// XXH3-64 over rows of logits in the order they are added, however they are grouped into calls.
class LogitsHash {
 public:
  LogitsHash();
  ~LogitsHash();
  LogitsHash(const LogitsHash&) = delete;
  LogitsHash& operator=(const LogitsHash&) = delete;

  // logits f32 [n_rows][n_vocab]
  void add(const float* logits, size_t n_rows, size_t n_vocab);
  uint64_t value() const;
  std::string text() const;  // 16 hexadecimal digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace floe

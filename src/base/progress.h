#pragma once
// Progress of long work (load, pack, quantise, synth): a bar on a terminal, plain lines elsewhere.
// Writes to stderr, so that machine output on stdout stays clean.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace floe {

class Progress {
 public:
  enum class Unit { bytes, items };

  // enabled false: silent. total 0 is allowed and prints nothing but the end.
  Progress(std::string label, uint64_t total, Unit unit, bool enabled = true);
  // Completes the line if finish() was not called.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // May be called from any thread; the amount is added to what is done. Draws at most ten times a
  // second on a terminal, every two seconds elsewhere.
  void advance(uint64_t amount);
  // Draws the final state with the elapsed time. Idempotent.
  void finish();

 private:
  void draw(uint64_t done, bool final_state);

  std::string label_;
  uint64_t total_;
  Unit unit_;
  bool enabled_;
  bool terminal_;
  std::atomic<uint64_t> done_{0};
  std::atomic<int64_t> next_draw_ms_{0};  // since start
  std::chrono::steady_clock::time_point start_;
  bool finished_ = false;
};

}  // namespace floe

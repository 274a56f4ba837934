#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace floe {

namespace {
constexpr int64_t kRedrawMs = 100;  // of a bar
constexpr int64_t kLineMs = 2000;   // between plain lines
constexpr int kBarCells = 30;

std::string amount_text(uint64_t amount, Progress::Unit unit) {
  if (unit == Progress::Unit::items) return fmt::format("{}", amount);
  if (amount >= 1'000'000'000) return fmt::format("{:.2f} GB", static_cast<double>(amount) / 1e9);
  return fmt::format("{:.1f} MB", static_cast<double>(amount) / 1e6);
}
}  // namespace

Progress::Progress(std::string label, uint64_t total, Unit unit, bool enabled)
    : label_(std::move(label)),
      total_(total),
      unit_(unit),
      enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()) {
  if (!terminal_) next_draw_ms_ = kLineMs;
}

Progress::~Progress() {
  finish();
}

void Progress::advance(uint64_t amount) {
  const uint64_t done = done_.fetch_add(amount, std::memory_order_relaxed) + amount;
  if (!enabled_ || total_ == 0) return;
  const int64_t elapsed_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                 std::chrono::steady_clock::now() - start_)
                                 .count();
  int64_t due = next_draw_ms_.load(std::memory_order_relaxed);
  if (elapsed_ms < due || done >= total_) return;
  // One thread wins the drawing; the others go on working.
  if (next_draw_ms_.compare_exchange_strong(due, elapsed_ms + (terminal_ ? kRedrawMs : kLineMs))) {
    draw(done, false);
  }
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (enabled_) draw(done_.load(), true);
}

void Progress::draw(uint64_t done, bool final_state) {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double fraction =
      total_ != 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total_)) : 1.0;
  std::string line;
  if (terminal_) {
    const int filled = static_cast<int>(fraction * kBarCells);
    line = fmt::format("\r{} [{}{}] {:3.0f} %  {} / {}  {:.1f} s", label_, std::string(filled, '#'),
                       std::string(kBarCells - filled, '.'), fraction * 100,
                       amount_text(done, unit_), amount_text(total_, unit_), seconds);
    if (final_state) line += '\n';
  } else {
    line = fmt::format("{}: {:.0f} %, {} of {}, {:.1f} s\n", label_, fraction * 100,
                       amount_text(done, unit_), amount_text(total_, unit_), seconds);
  }
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace floe

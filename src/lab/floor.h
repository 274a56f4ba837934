#pragma once
// What this machine can do at best: the floor that every speed is compared with.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "lab/probe_loops.h"
#include "model/model.h"

namespace floe {

// The middle value (of an even number: the upper of the two). values is not empty.
double median_of(std::vector<double> values);
// Width of the middle half of the values over their median: large on a disturbed machine, and not
// because of one disturbed value among many.
double spread_of(std::vector<double> values);

// Bytes per second that all threads of a pool together read from anonymous memory on 2 MB pages,
// far larger than the last cache.
struct ReadBandwidth {
  uint32_t n_threads = 0;
  double bytes_per_second = 0;  // median over the passes
  double spread = 0;            // spread_of() the passes
  const char* loop = "";        // the way of reading that was fastest
};

// Reads the same memory in every pass, so that a pass can be repeated right beside the measurement
// that it is compared with.
class ReadProbe {
 public:
  // At least 256 MB and eight last caches, but at most a quarter of what the machine has left.
  static uint64_t sensible_bytes();
  // The pool outlives the probe.
  static Result<ReadProbe> create(ThreadPool& pool, uint64_t buffer_bytes = sensible_bytes());

  // Reads `memory` itself instead, spread pieces of it up to four times sensible_bytes(): which
  // pages a process gets decides how fast they can be read, by a factor of almost two on virtual
  // machines. Memory smaller than sensible_bytes() would stay in cache: a buffer stands for it.
  static Result<ReadProbe> over(ThreadPool& pool, std::span<const std::byte> memory);

  // The memory that the model's weights are in, this machine's or a device's. The model outlives
  // the probe.
  static Result<ReadProbe> of(ThreadPool& pool, const Model& model);

  // Tries all ways of reading, round after round for about this long but three rounds at least, and
  // keeps the one of the highest median.
  ReadBandwidth calibrate(double seconds);
  // Bytes per second now, in the way that calibrate() chose: the median of three passes.
  double bytes_per_second();

 private:
  explicit ReadProbe(ThreadPool& pool);
  double pass(const ReadLoop& loop);

  ThreadPool* pool_;
  HugeBuffer buffer_;                     // empty where the memory is somebody else's
  std::vector<const std::byte*> pieces_;  // of 1 MB
  std::optional<uint64_t> sum_;           // of all words, from the first pass on
  std::span<const ReadLoop> loops_;
  const ReadLoop* chosen_;
  const Model* on_device_ = nullptr;  // which measures for itself
};

// For callers that need the figure once: makes a probe, calibrates it and frees its memory.
Result<ReadBandwidth> measure_read_bandwidth(ThreadPool& pool, double seconds);

// Multiply-adds per second with all operands in registers, all threads together; the best of
// several passes.
struct ComputePeaks {
  const char* isa = "";
  double int8_macs_per_second = 0;  // u8 x i8 products summed to i32
  double f32_macs_per_second = 0;
};

// With the instructions that a kernel table uses. table_isa: KernelTable::isa.
ComputePeaks measure_compute_peaks(ThreadPool& pool, std::string_view table_isa);
// With every instruction set that the processor and the build have, widest last.
std::vector<ComputePeaks> measure_all_compute_peaks(ThreadPool& pool);

}  // namespace floe

#include "lab/floor.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "lab/machine.h"

namespace floe {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr uint64_t kMinBufferBytes = uint64_t{256} << 20;
constexpr int kMinRounds = 3;
constexpr int kPassesNow = 3;
constexpr double kComputeSeconds = 0.2;
// Long enough that waking the threads does not show.
constexpr double kComputePassSeconds = 0.02;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<const ProbeLoops*> all_probe_loops() {
  std::vector<const ProbeLoops*> all = {&portable_probe_loops()};
#if defined(__x86_64__)
  for (const ProbeLoops* loops : {avx2_probe_loops(), avx512vnni_probe_loops()}) {
    if (loops != nullptr) all.push_back(loops);
  }
#endif
  return all;
}

// The widest probe that computes as a kernel table does: scalar for the reference, and AVX-512 only
// for a table of that name.
const ProbeLoops& probe_of_table(std::string_view table_isa) {
  const ProbeLoops* chosen = &portable_probe_loops();
  if (table_isa == chosen->isa) return *chosen;
  for (const ProbeLoops* loops : all_probe_loops()) {
    const bool is_avx512 = std::string_view(loops->isa).starts_with("avx512");
    if (!is_avx512 || table_isa.starts_with("avx512")) chosen = loops;
  }
  return *chosen;
}

double peak_of(ThreadPool& pool, const ComputeLoop& loop) {
  uint64_t n_rounds = 1 << 12;
  double best = 0;
  std::atomic<uint64_t> sink{0};
  for (double spent = 0; spent < kComputeSeconds;) {
    const Clock::time_point start = Clock::now();
    pool.run([&](Worker&) { sink += loop.run(n_rounds); });
    const double seconds = seconds_since(start);
    spent += seconds;
    best =
        std::max(best, static_cast<double>(n_rounds * loop.macs_per_round * pool.size()) / seconds);
    if (seconds < kComputePassSeconds) n_rounds *= 2;
  }
  return best;
}

ComputePeaks measure(ThreadPool& pool, const ProbeLoops& loops) {
  return {loops.isa, peak_of(pool, loops.int8), peak_of(pool, loops.f32)};
}

}  // namespace

double median_of(std::vector<double> values) {
  FLOE_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double spread_of(std::vector<double> values) {
  FLOE_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t quarter = values.size() / 4;
  return (values[values.size() - 1 - quarter] - values[quarter]) / values[values.size() / 2];
}

uint64_t ReadProbe::sensible_bytes() {
  const uint64_t wanted = std::max(kMinBufferBytes, 8 * last_cache_bytes());
  const uint64_t available = available_memory_bytes();
  return available == 0 ? wanted : std::min(wanted, available / 4);
}

ReadProbe::ReadProbe(ThreadPool& pool) : pool_(&pool) {
  for (const ProbeLoops* loops : all_probe_loops()) {
    if (!loops->read.empty()) loops_ = loops->read;
  }
  chosen_ = &loops_.front();
}

Result<ReadProbe> ReadProbe::create(ThreadPool& pool, uint64_t buffer_bytes) {
  const uint64_t n_pieces = std::max<uint64_t>(1, buffer_bytes / kPieceBytes);
  ReadProbe probe(pool);
  FLOE_TRY(probe.buffer_, HugeBuffer::allocate(n_pieces * kPieceBytes));
  for (uint64_t i = 0; i < n_pieces; ++i) {
    probe.pieces_.push_back(probe.buffer_.data() + i * kPieceBytes);
  }
  // Written by the threads that will read, so that pages lie on their NUMA nodes.
  pool.run([&](Worker& worker) {
    worker.chunks(static_cast<uint32_t>(n_pieces), 1, [&](uint32_t begin, uint32_t) {
      std::memset(probe.buffer_.data() + begin * kPieceBytes, 1, kPieceBytes);
    });
  });
  return probe;
}

Result<ReadProbe> ReadProbe::over(ThreadPool& pool, std::span<const std::byte> memory) {
  const uint64_t wanted = sensible_bytes();
  if (memory.size() < wanted) return create(pool);
  // Runs of pieces, so that prefetchers find what they find in a matrix.
  constexpr uint64_t kRun = 16;
  const uint64_t n_runs = std::max<uint64_t>(1, memory.size() / kPieceBytes / kRun);
  const uint64_t n_read = std::min(n_runs, std::max<uint64_t>(1, 4 * wanted / kPieceBytes / kRun));
  ReadProbe probe(pool);
  for (uint64_t i = 0; i < n_read; ++i) {
    const uint64_t run = i * n_runs / n_read;
    for (uint64_t k = 0; k < kRun; ++k) {
      const uint64_t at = (run * kRun + k) * kPieceBytes;
      if (at + kPieceBytes <= memory.size()) probe.pieces_.push_back(memory.data() + at);
    }
  }
  return probe;
}

Result<ReadProbe> ReadProbe::of(ThreadPool& pool, const Model& model) {
  if (model.read_bandwidth() == 0) return over(pool, model.weights());
  ReadProbe probe(pool);
  probe.on_device_ = &model;
  return probe;
}

double ReadProbe::pass(const ReadLoop& loop) {
  std::atomic<uint64_t> sink{0};
  const Clock::time_point start = Clock::now();
  pool_->run([&](Worker& worker) {
    uint64_t sum = 0;
    worker.chunks(static_cast<uint32_t>(pieces_.size()), 1,
                  [&](uint32_t begin, uint32_t) { sum += loop.run(pieces_[begin], kPieceBytes); });
    sink += sum;
  });
  const double seconds = seconds_since(start);
  // A pass that left memory out would make the machine look fast.
  FLOE_CHECK(!sum_ || sink == *sum_);
  sum_ = sink;
  return static_cast<double>(pieces_.size() * kPieceBytes) / seconds;
}

ReadBandwidth ReadProbe::calibrate(double seconds) {
  if (on_device_ != nullptr) {
    std::vector<double> device_rates;
    for (int i = 0; i < kMinRounds; ++i) device_rates.push_back(on_device_->read_bandwidth());
    return {0, median_of(device_rates), spread_of(device_rates), "device"};
  }
  std::vector<std::vector<double>> rates(loops_.size());
  const Clock::time_point start = Clock::now();
  for (int round = 0; round < kMinRounds || seconds_since(start) < seconds; ++round) {
    for (size_t i = 0; i < loops_.size(); ++i) rates[i].push_back(pass(loops_[i]));
  }
  ReadBandwidth best;
  for (size_t i = 0; i < loops_.size(); ++i) {
    const double median = median_of(rates[i]);
    if (median <= best.bytes_per_second) continue;
    best = {pool_->size(), median, spread_of(rates[i]), loops_[i].name};
    chosen_ = &loops_[i];
  }
  return best;
}

double ReadProbe::bytes_per_second() {
  if (on_device_ != nullptr) return on_device_->read_bandwidth();
  std::vector<double> rates;
  for (int i = 0; i < kPassesNow; ++i) rates.push_back(pass(*chosen_));
  return median_of(std::move(rates));
}

Result<ReadBandwidth> measure_read_bandwidth(ThreadPool& pool, double seconds) {
  FLOE_TRY(ReadProbe probe, ReadProbe::create(pool));
  return probe.calibrate(seconds);
}

ComputePeaks measure_compute_peaks(ThreadPool& pool, std::string_view table_isa) {
  return measure(pool, probe_of_table(table_isa));
}

std::vector<ComputePeaks> measure_all_compute_peaks(ThreadPool& pool) {
  std::vector<ComputePeaks> all;
  for (const ProbeLoops* loops : all_probe_loops()) all.push_back(measure(pool, *loops));
  return all;
}

}  // namespace floe

#include "lab/machine.h"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "base/json.h"
#include "base/memory.h"
#include "kernels/kernel_table.h"
#if defined(FLOE_HAVE_CUDA)
#include "cuda/cards.h"
#endif

namespace floe {

namespace {

// All thread counts together.
constexpr double kReadSeconds = 4;
// Differences above these mean that something else uses the machine.
constexpr double kNoisySpread = 0.15;
constexpr double kNoisyStolen = 0.02;
constexpr double kClockDrop = 0.10;

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string cpu_flags() {
  std::string flags;
#if defined(__x86_64__)
  const auto note = [&](bool has, const char* name) {
    if (has) flags += (flags.empty() ? "" : " ") + std::string(name);
  };
  note(__builtin_cpu_supports("avx2"), "avx2");
  note(__builtin_cpu_supports("fma"), "fma");
  note(__builtin_cpu_supports("avx512f"), "avx512f");
  note(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
#endif
  return flags;
}

// "always [madvise] never" -> "madvise"
std::string hugepage_mode() {
  const std::string line = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t open = line.find('[');
  const size_t close = line.find(']');
  return open != line.npos && close != line.npos ? line.substr(open + 1, close - open - 1)
                                                 : "unknown";
}

uint32_t count_allowed_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 0;
  return static_cast<uint32_t>(CPU_COUNT(&allowed));
}

// A thread of its own tries, so that this one stays where it is.
bool can_pin_to(const std::vector<int>& cpus) {
  bool pinned = true;
  std::thread([&] {
    for (const int cpu : cpus) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(cpu, &set);
      pinned = pinned && pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0 &&
               sched_getcpu() == cpu;
    }
  }).join();
  return pinned;
}

struct Topology {
  uint32_t n_numa_nodes = 1;
  uint64_t last_cache_bytes = 0;
};

Topology read_topology() {
  Topology found;
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return found;
  if (hwloc_topology_load(topology) == 0) {
    found.n_numa_nodes =
        static_cast<uint32_t>(std::max(1, hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE)));
    for (const hwloc_obj_type_t type : {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE}) {
      const int n = hwloc_get_nbobjs_by_type(topology, type);
      for (int i = 0; i < n; ++i) {
        found.last_cache_bytes +=
            hwloc_get_obj_by_type(topology, type, static_cast<unsigned>(i))->attr->cache.size;
      }
      if (n > 0) break;
    }
  }
  hwloc_topology_destroy(topology);
  return found;
}

std::vector<uint32_t> thread_counts(uint32_t n_threads) {
  std::vector<uint32_t> counts;
  for (uint32_t n = 1; n < n_threads; n *= 2) counts.push_back(n);
  counts.push_back(n_threads);
  return counts;
}

double in_giga(double value, double digits) {
  return std::round(value / 1e9 * digits) / digits;
}

}  // namespace

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line)) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != line.npos) return line.substr(colon + 2);
  }
  return "unknown";
}

uint64_t last_cache_bytes() {
  return read_topology().last_cache_bytes;
}

CpuTicks parse_cpu_ticks(const std::string& stat_line) {
  std::istringstream in(stat_line);
  std::string name;
  in >> name;
  CpuTicks ticks;
  uint64_t value = 0;
  // Guest time, behind steal, is counted in user time already.
  for (int field = 0; field < 8 && in >> value; ++field) {
    ticks.total += value;
    if (field == 7) ticks.stolen = value;
  }
  return ticks;
}

double stolen_share(const CpuTicks& before, const CpuTicks& after) {
  if (after.total <= before.total || after.stolen < before.stolen) return 0;
  return static_cast<double>(after.stolen - before.stolen) /
         static_cast<double>(after.total - before.total);
}

double parse_cpu_quota(const std::string& cpu_max) {
  std::istringstream in(cpu_max);
  double quota = 0;
  double period = 0;
  return in >> quota >> period && period > 0 ? quota / period : 0;
}

std::vector<std::string> warnings_of(const MachineReport& report) {
  std::vector<std::string> warnings;
  if (report.isa == "reference") {
    warnings.push_back("no vector kernels for this processor: the scalar reference is in use");
  }
  if (report.hugepages == "never") {
    warnings.push_back("transparent huge pages are off: large weights will miss the TLB");
  }
  if (!report.can_pin) {
    warnings.push_back("threads cannot be pinned to cores: they will move and share");
  }
  if (report.n_threads > report.n_cores) {
    warnings.push_back(fmt::format("{} threads on {} physical cores: they are not pinned{}",
                                   report.n_threads, report.n_cores,
                                   report.n_logical_cpus > report.n_cores
                                       ? ", and SMT siblings share a core's caches and units"
                                       : ""));
  }
  if (report.cpu_quota != 0 && report.cpu_quota < report.n_threads) {
    warnings.push_back(
        fmt::format("the control group grants {:.1f} processors' time to {} threads: they will be "
                    "stopped in turn",
                    report.cpu_quota, report.n_threads));
  }
  for (const ReadBandwidth& read : report.read) {
    if (read.spread > kNoisySpread) {
      warnings.push_back(
          fmt::format("read bandwidth of {} thread(s) varied by {:.0f} %: the machine is busy",
                      read.n_threads, read.spread * 100));
    }
  }
  if (report.stolen > kNoisyStolen) {
    warnings.push_back(fmt::format("the hypervisor took {:.0f} % of the time while measuring",
                                   report.stolen * 100));
  }
  if (report.clock_drop > kClockDrop) {
    warnings.push_back(
        fmt::format("computing got {:.0f} % slower within seconds: the clock falls under load, or "
                    "the machine is busy",
                    report.clock_drop * 100));
  }
  return warnings;
}

namespace {

Result<std::vector<CardReport>> examine_cards() {
  std::vector<CardReport> reports;
#if defined(FLOE_HAVE_CUDA)
  for (const CardInfo& card : list_cards()) {
    FLOE_TRY(const double read, measure_card_bandwidth(card.index));
    reports.push_back({card.index, card.name, card.memory_bytes, card.free_bytes, read});
  }
#endif
  return reports;
}

}  // namespace

Result<MachineReport> examine_machine(uint32_t n_threads) {
  MachineReport report;
  const std::vector<int> cpus = physical_cpus();
  const Topology topology = read_topology();
  report.cpu = cpu_name();
  report.isa = kernels().isa;
  report.cpu_flags = cpu_flags();
  report.n_cores = static_cast<uint32_t>(cpus.size());
  report.n_logical_cpus = count_allowed_cpus();
  report.can_pin = can_pin_to(cpus);
  report.cpu_quota = parse_cpu_quota(first_line("/sys/fs/cgroup/cpu.max"));
  report.n_numa_nodes = topology.n_numa_nodes;
  report.last_cache_bytes = topology.last_cache_bytes;
  report.ram_bytes = total_memory_bytes();
  report.available_bytes = available_memory_bytes();
  report.hugepages = hugepage_mode();
  report.n_threads = n_threads != 0 ? n_threads : report.n_cores;

  // All pools before the first run: a run pins this thread, and a pool made after that would see
  // one core.
  std::vector<std::unique_ptr<ThreadPool>> pools;
  const std::vector<uint32_t> counts = thread_counts(report.n_threads);
  for (const uint32_t count : counts) pools.push_back(std::make_unique<ThreadPool>(count));
  ThreadPool& all = *pools.back();

  const CpuTicks ticks = parse_cpu_ticks(first_line("/proc/stat"));
  report.peaks = measure_compute_peaks(all, report.isa);
  for (const auto& pool : pools) {
    FLOE_TRY(const ReadBandwidth read,
             measure_read_bandwidth(*pool, kReadSeconds / static_cast<double>(counts.size())));
    report.read.push_back(read);
  }
  report.all_peaks = measure_all_compute_peaks(all);
  const ComputePeaks last = measure_compute_peaks(all, report.isa);
  const double first_rate = report.peaks.int8_macs_per_second;
  report.clock_drop = std::max(0.0, 1 - last.int8_macs_per_second / first_rate);
  report.peaks.int8_macs_per_second = std::max(first_rate, last.int8_macs_per_second);
  report.peaks.f32_macs_per_second =
      std::max(report.peaks.f32_macs_per_second, last.f32_macs_per_second);
  FLOE_TRY(report.cards, examine_cards());
  report.stolen = stolen_share(ticks, parse_cpu_ticks(first_line("/proc/stat")));
  report.warnings = warnings_of(report);
  return report;
}

std::string machine_report_json(const MachineReport& report) {
  Json read = Json::object();
  for (const ReadBandwidth& entry : report.read) {
    read[std::to_string(entry.n_threads)] = in_giga(entry.bytes_per_second, 100);
  }
  Json peaks = Json::object();
  for (const ComputePeaks& entry : report.all_peaks) {
    peaks[entry.isa] = {{"int8", in_giga(entry.int8_macs_per_second, 10)},
                        {"f32", in_giga(entry.f32_macs_per_second, 10)}};
  }
  Json json;
  json["cpu"] = report.cpu;
  json["isa"] = report.isa;
  json["cpu_flags"] = report.cpu_flags;
  json["cores"] = report.n_cores;
  json["logical_cpus"] = report.n_logical_cpus;
  json["pinning"] = report.can_pin;
  json["cpu_quota"] = report.cpu_quota == 0 ? Json() : Json(report.cpu_quota);
  json["ram_bytes"] = report.ram_bytes;
  json["available_bytes"] = report.available_bytes;
  json["last_cache_bytes"] = report.last_cache_bytes;
  json["read_gb_s"] = std::move(read);
  json["read_loop"] = report.read.empty() ? "" : report.read.back().loop;
  json["int8_gmac_s"] = in_giga(report.peaks.int8_macs_per_second, 10);
  json["f32_gmac_s"] = in_giga(report.peaks.f32_macs_per_second, 10);
  json["peaks_gmac_s"] = std::move(peaks);
  json["hugepages"] = report.hugepages;
  json["numa"] = report.n_numa_nodes;
  Json cards = Json::array();
  for (const CardReport& card : report.cards) {
    cards.push_back({{"device", fmt::format("cuda:{}", card.index)},
                     {"name", card.name},
                     {"memory_bytes", card.memory_bytes},
                     {"free_bytes", card.free_bytes},
                     {"read_gb_s", in_giga(card.read_bytes_per_second, 10)}});
  }
  json["cards"] = std::move(cards);
  json["stolen_percent"] = std::round(report.stolen * 1000) / 10;
  json["warnings"] = report.warnings;
  return dump_json(json);
}

}  // namespace floe

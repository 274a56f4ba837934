#pragma once
// The machine as `floe doctor` sees it: what it is, what it reaches, and what stands in the way.
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "lab/floor.h"

namespace floe {

// "model name" of /proc/cpuinfo, "unknown" where there is none.
std::string cpu_name();
// All last-level caches of the machine together; 0 when they cannot be read.
uint64_t last_cache_bytes();

// Ticks of all processors since start-up: "cpu user nice system idle iowait irq softirq steal".
struct CpuTicks {
  uint64_t total = 0;
  uint64_t stolen = 0;  // the hypervisor ran somebody else
};
CpuTicks parse_cpu_ticks(const std::string& stat_line);
// Share of the ticks between two readings that were stolen, 0 to 1.
double stolen_share(const CpuTicks& before, const CpuTicks& after);
// Processors that a control group's cpu.max ("200000 100000", "max 100000") allows; 0: no limit.
double parse_cpu_quota(const std::string& cpu_max);

// A card that models can run on.
struct CardReport {
  uint32_t index = 0;  // N of --device cuda:N
  std::string name;
  uint64_t memory_bytes = 0;
  uint64_t free_bytes = 0;
  double read_bytes_per_second = 0;
};

struct MachineReport {
  std::string cpu;
  std::string isa;              // the kernel table in use
  std::string cpu_flags;        // instruction sets of interest that the processor has
  uint32_t n_cores = 0;         // physical cores allowed to this process
  uint32_t n_logical_cpus = 0;  // allowed logical processors: more than cores with SMT siblings
  uint32_t n_threads = 0;       // that the figures below were measured with at most
  bool can_pin = false;         // threads can be tied to the cores
  double cpu_quota = 0;         // processors' worth of time that the control group grants; 0: all
  uint32_t n_numa_nodes = 0;
  uint64_t ram_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t last_cache_bytes = 0;
  std::string hugepages;            // transparent huge page mode: always, madvise, never
  std::vector<ReadBandwidth> read;  // 1, 2, 4, ... and n_threads threads
  ComputePeaks peaks;               // of the kernel table in use
  std::vector<ComputePeaks> all_peaks;
  std::vector<CardReport> cards;
  double stolen = 0;      // stolen_share() while measuring
  double clock_drop = 0;  // share of the int8 peak lost between the first and the last pass
  std::vector<std::string> warnings;
};

// What a person should know before believing the figures. Pure: reads the report's other fields.
std::vector<std::string> warnings_of(const MachineReport& report);

// Measures everything in under ten seconds. n_threads 0: one per physical core.
Result<MachineReport> examine_machine(uint32_t n_threads);
std::string machine_report_json(const MachineReport& report);

}  // namespace floe

#include <unistd.h>

#include <cstdio>

#include "lab/machine.h"
#include "verbs/model_flags.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

void print_report(const MachineReport& report) {
  fmt::print("cpu         {}\n", report.cpu);
  fmt::print("kernels     {} (processor has: {})\n", report.isa, report.cpu_flags);
  fmt::print("cores       {} ({} logical), threads {}, {} NUMA node(s), last cache {} MB\n",
             report.n_cores, report.n_logical_cpus, report.can_pin ? "pinned" : "not pinned",
             report.n_numa_nodes, report.last_cache_bytes >> 20);
  fmt::print("memory      {:.1f} GB, {:.1f} GB available, huge pages: {}\n",
             static_cast<double>(report.ram_bytes) / 1e9,
             static_cast<double>(report.available_bytes) / 1e9, report.hugepages);
  for (const ReadBandwidth& read : report.read) {
    fmt::print("read        {:.2f} GB/s with {} thread(s), spread {:.0f} %, by {}\n",
               read.bytes_per_second / 1e9, read.n_threads, read.spread * 100, read.loop);
  }
  for (const ComputePeaks& peaks : report.all_peaks) {
    fmt::print("peak        {:.0f} GMAC/s int8, {:.0f} GMAC/s f32 with {}\n",
               peaks.int8_macs_per_second / 1e9, peaks.f32_macs_per_second / 1e9, peaks.isa);
  }
  for (const CardReport& card : report.cards) {
    fmt::print("card        cuda:{} {}, {:.1f} GB, {:.1f} GB free, reads {:.0f} GB/s\n", card.index,
               card.name, static_cast<double>(card.memory_bytes) / 1e9,
               static_cast<double>(card.free_bytes) / 1e9, card.read_bytes_per_second / 1e9);
  }
  for (const std::string& warning : report.warnings) fmt::print("warning     {}\n", warning);
}

}  // namespace

Result<int> run_doctor(std::span<const std::string> arguments) {
  int64_t n_threads = 0;
  std::string output = "auto";
  OptionTable table("doctor", "[options]", "Measures what this machine can do at best.");
  table.add("-t,--threads", "N", &n_threads, 0, 1024, "threads; 0: one per physical core");
  table.add_choice("-o,--output", {"auto", "json", "text"}, &output,
                   "output format; auto: text on a terminal, json elsewhere");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  FLOE_TRY(const MachineReport report, examine_machine(static_cast<uint32_t>(n_threads)));
  if (output == "auto") output = isatty(STDOUT_FILENO) != 0 ? "text" : "json";
  if (output == "json") {
    fmt::print("{}\n", machine_report_json(report));
  } else {
    print_report(report);
  }
  return 0;
}

}  // namespace floe

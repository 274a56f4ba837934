#include "lab/machine.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace floe {
namespace {

MachineReport quiet_machine() {
  MachineReport report;
  report.cpu = "a \"cpu\"";
  report.isa = "avx2";
  report.n_cores = 2;
  report.n_logical_cpus = 2;
  report.n_threads = 2;
  report.can_pin = true;
  report.hugepages = "madvise";
  report.read = {{1, 1.5e10, 0.01, "1 stream"}, {2, 2.9e10, 0.02, "2 streams"}};
  report.peaks = {"avx2", 3e11, 1e11};
  report.all_peaks = {report.peaks};
  return report;
}

TEST(Machine, ReportIsJsonWithTheContractsKeys) {
  MachineReport report = quiet_machine();
  report.warnings = {"busy"};
  const auto json = parse_json(machine_report_json(report));
  ASSERT_TRUE(json.ok());
  for (const char* key : {"cpu", "isa", "cores", "ram_bytes", "read_gb_s", "int8_gmac_s",
                          "hugepages", "numa", "warnings"}) {
    EXPECT_TRUE(json->contains(key)) << key;
  }
  EXPECT_EQ((*json)["read_gb_s"]["2"].get<double>(), 29.0);
  EXPECT_EQ((*json)["int8_gmac_s"].get<double>(), 300.0);
  EXPECT_EQ((*json)["peaks_gmac_s"]["avx2"]["f32"].get<double>(), 100.0);
}

TEST(Machine, EachFaultHasItsWarning) {
  EXPECT_TRUE(warnings_of(quiet_machine()).empty());
  const auto only_warning = [](auto&& spoil) {
    MachineReport report = quiet_machine();
    spoil(report);
    const std::vector<std::string> warnings = warnings_of(report);
    EXPECT_EQ(warnings.size(), 1u);
    return warnings.empty() ? "" : warnings[0];
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(only_warning([](MachineReport& r) { r.isa = "reference"; }), "scalar reference"));
  EXPECT_TRUE(has(only_warning([](MachineReport& r) { r.hugepages = "never"; }), "huge pages"));
  EXPECT_TRUE(has(only_warning([](MachineReport& r) { r.can_pin = false; }), "pinned"));
  EXPECT_TRUE(has(only_warning([](MachineReport& r) { r.n_threads = 3; }),
                  "3 threads on 2 physical cores"));
  EXPECT_TRUE(has(only_warning([](MachineReport& r) {
                    r.n_threads = 4;
                    r.n_logical_cpus = 4;
                  }),
                  "SMT"));
  EXPECT_TRUE(has(only_warning([](MachineReport& r) { r.cpu_quota = 1.5; }), "control group"));
  EXPECT_TRUE(
      has(only_warning([](MachineReport& r) { r.read[1].spread = 0.5; }), "varied by 50 %"));
  EXPECT_TRUE(has(only_warning([](MachineReport& r) { r.stolen = 0.1; }), "hypervisor"));
  EXPECT_TRUE(has(only_warning([](MachineReport& r) { r.clock_drop = 0.2; }), "20 % slower"));
}

TEST(Machine, ReadsTicksAndQuotas) {
  const CpuTicks before = parse_cpu_ticks("cpu  100 0 50 800 10 0 0 40 7 0");
  EXPECT_EQ(before.total, 1000u);
  EXPECT_EQ(before.stolen, 40u);
  const CpuTicks after = parse_cpu_ticks("cpu  150 0 50 820 10 0 0 70 7 0");
  EXPECT_DOUBLE_EQ(stolen_share(before, after), 0.3);
  EXPECT_EQ(stolen_share(after, before), 0);
  EXPECT_EQ(stolen_share({}, {}), 0);
  EXPECT_EQ(parse_cpu_ticks("").total, 0u);
  EXPECT_DOUBLE_EQ(parse_cpu_quota("150000 100000"), 1.5);
  EXPECT_EQ(parse_cpu_quota("max 100000"), 0);
  EXPECT_EQ(parse_cpu_quota(""), 0);
}

}  // namespace
}  // namespace floe

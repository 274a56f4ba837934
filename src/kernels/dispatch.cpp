// Chooses the kernel table, once.
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <cstring>

#include "kernels/kernel_hook.h"
#include "kernels/reference.h"
#if defined(FLOE_HAVE_AVX2)
#include <cpuid.h>

#include "kernels/avx2.h"
#include "kernels/avx512.h"
#include "kernels/avxvnni.h"
#endif
#if defined(FLOE_HAVE_NEON_DOTPROD)
#include <sys/auxv.h>

#include "kernels/neon.h"
#endif

namespace floe {

namespace {

bool always() {
  return true;
}

#if defined(FLOE_HAVE_AVX2)
bool machine_has_avx2() {
  // The builtin also asks whether the operating system keeps the wide registers. Not every
  // compiler's builtin knows F16C.
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool machine_has_avxvnni() {
  constexpr unsigned kAvxVnni = 1u << 4;  // leaf 7, subleaf 1, eax; the registers are AVX2's
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return machine_has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 &&
         (eax & kAvxVnni) != 0;
}

bool machine_has_avx512() {
  return machine_has_avx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}
#endif

#if defined(FLOE_HAVE_NEON_DOTPROD)
bool machine_has_neon_dotprod() {
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}
bool machine_has_neon_i8mm() {
  return machine_has_neon_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
}
#endif

struct KernelSet {
  KernelTable table;
  bool (*runs_here)();
};

// Best first.
constexpr KernelSet kSets[] = {
#if defined(FLOE_HAVE_AVX2)
    {FLOE_KERNEL_TABLE(avx512), machine_has_avx512},
    {FLOE_KERNEL_TABLE(avxvnni), machine_has_avxvnni},
    {FLOE_KERNEL_TABLE(avx2), machine_has_avx2},
#endif
#if defined(FLOE_HAVE_NEON_DOTPROD)
    {FLOE_KERNEL_TABLE(neon_i8mm), machine_has_neon_i8mm},
    {FLOE_KERNEL_TABLE(neon_dotprod), machine_has_neon_dotprod},
#endif
    {FLOE_KERNEL_TABLE(reference), always},
};

const KernelTable& choose() {
  const std::vector<const KernelTable*> tables = machine_kernels();
  if (const char* isa = std::getenv("FLOE_ISA"); isa != nullptr && *isa != '\0') {
    if (const KernelTable* table = find_kernels(isa)) return *table;
    std::vector<const char*> names;
    for (const KernelTable* table : tables) names.push_back(table->isa);
    spdlog::warn("FLOE_ISA={}: this machine runs {}; ignored", isa, fmt::join(names, ", "));
  }
  return *tables.front();
}

constinit KernelHook kernel_hook = nullptr;

}  // namespace

void set_kernel_hook(KernelHook hook) {
  kernel_hook = hook;
}

const KernelTable& kernels() {
  static const KernelTable& chosen = choose();
  if (kernel_hook == nullptr) return chosen;
  static const KernelTable changed = kernel_hook(chosen);
  return changed;
}

const KernelTable& reference_kernels() {
  return std::end(kSets)[-1].table;
}

const KernelTable* find_kernels(const char* isa) {
  for (const KernelSet& set : kSets) {
    if (std::strcmp(isa, set.table.isa) == 0 && set.runs_here()) return &set.table;
  }
  return nullptr;
}

std::vector<const KernelTable*> machine_kernels() {
  std::vector<const KernelTable*> tables;
  for (const KernelSet& set : kSets) {
    if (set.runs_here()) tables.push_back(&set.table);
  }
  return tables;
}

}  // namespace floe

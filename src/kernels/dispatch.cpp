// Chooses the kernel table, once.
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <cstring>

#include "kernels/kernel_table.h"
#include "kernels/reference.h"
#if defined(FLOE_HAVE_AVX2)
#include <cpuid.h>

#include "kernels/avx2.h"
#include "kernels/avx512.h"
#include "kernels/avxvnni.h"
#endif
#if defined(FLOE_HAVE_FREE_ORDER)
#include "free_order.h"
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

#if defined(FLOE_PER_ROW_EXPERTS)
// The experiment: a weight block is unpacked again for each row.
void matmul_row_by_row(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin,
                       uint32_t group_end, const ActivationRows& x, const uint32_t* ids,
                       uint32_t n_ids, float* out, size_t out_stride) {
  static const auto matmul = choose().matmul;
  for (uint32_t i = 0; i < n_ids; ++i) {
    const uint32_t id = ids != nullptr ? ids[i] : i;
    matmul(weights, plane, group_begin, group_end, x, &id, 1, out + i * out_stride, out_stride);
  }
}
#endif

#if defined(FLOE_PER_ROW_EXPERTS) || defined(FLOE_HAVE_FREE_ORDER)
#define FLOE_EXPERIMENT
KernelTable with_experiment(KernelTable table) {
#if defined(FLOE_HAVE_FREE_ORDER)
  if (std::strcmp(table.isa, "avx512") == 0) table.matmul = free_order_matmul;
#endif
#if defined(FLOE_PER_ROW_EXPERTS)
  table.matmul = matmul_row_by_row;
#endif
  return table;
}
#endif

}  // namespace

const KernelTable& kernels() {
#if defined(FLOE_EXPERIMENT)
  static const KernelTable table = with_experiment(choose());
#else
  static const KernelTable& table = choose();
#endif
  return table;
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

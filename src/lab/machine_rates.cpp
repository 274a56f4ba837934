#include "lab/machine_rates.h"

#include "kernels/kernel_table.h"
#include "lab/floor.h"
#include "lab/kernel_rates.h"

namespace floe {

namespace {

constexpr double kProbeSeconds = 0.1;

}  // namespace

Result<MachineRates> measure_machine_rates(ThreadPool& pool, const Model& model) {
  FLOE_TRY(ReadProbe probe, ReadProbe::of(pool, model));
  const double bytes_per_second = probe.calibrate(kProbeSeconds).bytes_per_second;
  FLOE_TRY(std::vector<KernelRates> kernel_rates,
           measure_kernel_rates(pool, model.info().class_formats));
  return MachineRates{bytes_per_second, std::move(kernel_rates),
                      measure_compute_peaks(pool, kernels().isa).f32_macs_per_second};
}

}  // namespace floe

#pragma once
// Starting kernels so that one is in place before the one it waits for has ended.
#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

namespace floe::cuda {

// Whether the current device starts kernels early (compute capability 9.0 on).
inline bool starts_early() {
  static const bool early = [] {
    int device = 0;
    int major = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    return major >= 9;
  }();
  return early;
}

// Every kernel begins with wait_for_previous(): before it, it may read only what no kernel writes
// (weights). It lets its successor come at once, which waits in the same way, so that everything
// before it on the stream is done and visible behind the call.
__device__ inline void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Asks for n bytes of weights, a multiple of 16 as their address; nothing is asked for where they
// are not.
__device__ inline void prefetch_bytes(const void* at, size_t n_bytes) {
#if __CUDA_ARCH__ >= 900
  if (n_bytes % 16 != 0 || reinterpret_cast<uintptr_t>(at) % 16 != 0) return;
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(at),
               "r"(static_cast<uint32_t>(n_bytes)));
#endif
}

template <typename... Parameters, typename... Arguments>
void start(cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
           size_t shared_bytes, Arguments&&... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = starts_early() ? 1 : 0;
  // A failure is the device's last error, which run() asks for.
  (void)cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Arguments>(arguments))...);
}

}  // namespace floe::cuda

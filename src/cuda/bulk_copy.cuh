#pragma once
// Asynchronous bulk copies into shared memory and the barriers that they arrive at (compute
// capability 9.0 on; elsewhere nothing here is called).
#include <cuda_runtime.h>

#include <cstdint>

namespace floe::cuda {

__device__ inline uint32_t shared_address(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

// A barrier in shared memory. It passes when n_arrivals have arrived and all expected bytes have
// come; then its next phase begins.
struct CopyBarrier {
  uint64_t bits;

  __device__ void init(uint32_t n_arrivals) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&bits)),
                 "r"(n_arrivals)
                 : "memory");
#endif
  }
  // The copies of threads that see the barrier behind a __syncthreads() find it initialised.
  __device__ static void publish_inits() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
  }
  __device__ void expect(uint32_t n_bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&bits)),
        "r"(n_bytes)
        : "memory");
#endif
  }
  __device__ void arrive_and_expect(uint32_t n_bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&bits)),
        "r"(n_bytes)
        : "memory");
#endif
  }
  __device__ void arrive() {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&bits))
                 : "memory");
#endif
  }
  // Until phase number `phase` (counted from 0) has passed; the barrier is at most one further.
  __device__ void wait(uint32_t phase) const {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "{\n"
        ".reg .pred passed;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 passed, [%0], %1;\n"
        "@!passed bra again;\n"
        "}" ::"r"(shared_address(&bits)),
        "r"(phase & 1u)
        : "memory");
#endif
  }
};

// n_bytes and both addresses are multiples of 16. The bytes count at the barrier when they are
// there.
__device__ inline void bulk_copy(void* shared, const void* global, uint32_t n_bytes,
                                 CopyBarrier& barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(shared)),
      "l"(global), "r"(n_bytes), "r"(shared_address(&barrier.bits))
      : "memory");
#endif
}

// Some of a block's warps, n_threads in all.
__device__ inline void sync_some(uint32_t n_threads) {
  asm volatile("bar.sync 1, %0;" ::"r"(n_threads) : "memory");
}

}  // namespace floe::cuda

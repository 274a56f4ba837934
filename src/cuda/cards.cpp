#include "cuda/cards.h"

#include <algorithm>

#include "cuda/device.h"
#include "cuda/launch.h"

namespace floe {

std::vector<CardInfo> list_cards() {
  std::vector<CardInfo> cards;
  int n = 0;
  if (cudaGetDeviceCount(&n) != cudaSuccess) {
    cudaGetLastError();
    return cards;
  }
  for (int i = 0; i < n; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    CardInfo card;
    card.index = static_cast<uint32_t>(i);
    card.name = properties.name;
    card.memory_bytes = properties.totalGlobalMem;
    card.n_multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
    card.capability = static_cast<uint32_t>(properties.major * 10 + properties.minor);
    size_t n_free = 0;
    size_t n_total = 0;
    if (cudaSetDevice(i) == cudaSuccess && cudaMemGetInfo(&n_free, &n_total) == cudaSuccess) {
      card.free_bytes = n_free;
    }
    cards.push_back(card);
  }
  return cards;
}

Result<double> measure_card_bandwidth(uint32_t index, size_t n_bytes) {
  FLOE_TRY_VOID(cuda::check(cudaSetDevice(static_cast<int>(index)), "cudaSetDevice"));
  FLOE_TRY(const cuda::DeviceMemory buffer,
           cuda::DeviceMemory::allocate(n_bytes, "measuring the card's bandwidth"));
  FLOE_TRY(const cuda::DeviceMemory sum,
           cuda::DeviceMemory::allocate(sizeof(uint64_t), "measuring the card's bandwidth"));
  cudaEvent_t begin;
  cudaEvent_t end;
  FLOE_TRY_VOID(cuda::check(cudaEventCreate(&begin), "cudaEventCreate"));
  FLOE_TRY_VOID(cuda::check(cudaEventCreate(&end), "cudaEventCreate"));
  std::vector<double> rates;
  constexpr int kPasses = 9;
  for (int pass = 0; pass < kPasses; ++pass) {
    cudaEventRecord(begin);
    cuda::read_all(nullptr, buffer.data(), n_bytes, reinterpret_cast<uint64_t*>(sum.data()));
    cudaEventRecord(end);
    FLOE_TRY_VOID(cuda::check(cudaEventSynchronize(end), "reading the card's memory"));
    float milliseconds = 0.0f;
    cudaEventElapsedTime(&milliseconds, begin, end);
    if (pass != 0) rates.push_back(static_cast<double>(n_bytes) / (milliseconds * 1e-3));
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(rates.begin(), rates.begin() + rates.size() / 2, rates.end());
  return rates[rates.size() / 2];
}

}  // namespace floe

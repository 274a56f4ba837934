#pragma once
// The cards that floe can run on, whether this build has CUDA or not.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace floe {

struct CardInfo {
  uint32_t index = 0;  // N of cuda:N
  std::string name;
  uint64_t memory_bytes = 0;
  uint64_t free_bytes = 0;
  uint32_t n_multiprocessors = 0;
  uint32_t capability = 0;  // 90 for 9.0
};

// Cards that this build has kernels for. Empty where there is none, or no driver.
std::vector<CardInfo> list_cards();

// Bytes per second that the card reads from its own memory, the median of some passes over
// n_bytes. ErrorKind::runtime when the card fails.
Result<double> measure_card_bandwidth(uint32_t index, size_t n_bytes = size_t{2} << 30);

// As load_model(), for a card: weights, cache and forwards are there, results come back. The bits
// are those of load_model()'s. Errors of ErrorKind::usage when there is no such card, of
// ErrorKind::memory when the model does not fit.
Result<std::unique_ptr<Model>> load_card_model(const std::string& path, const ModelOptions& options,
                                               ThreadPool& pool, uint32_t index);

}  // namespace floe

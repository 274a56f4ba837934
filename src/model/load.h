#pragma once
// Loading a model up to the point where its weights are packed, for whoever runs it.
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "model/model.h"
#include "model/network.h"

namespace floe {

struct LoadedNetwork {
  ModelInfo info;
  std::unique_ptr<Network> network;
  uint64_t hyperparameters_hash = 0;  // of all that shapes the forward beside the weights
  HugeBuffer weights;                 // what the network points into
};

// Reads, checks and packs a GGUF model. options.kernels is not looked at.
Result<LoadedNetwork> load_network(const std::string& path, const ModelOptions& options,
                                   ThreadPool& pool);

}  // namespace floe

#pragma once
// What a model will take of memory, found out from its files' headers: no weight is read.
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "model/model.h"

namespace floe {

struct Network;

class ModelNeeds {
 public:
  // Errors are those of load_model() up to the first weight: the family, the hyperparameters and
  // every tensor's shape and type have been checked.
  static Result<ModelNeeds> of(const std::string& path, const ModelOptions& options);
  ModelNeeds(ModelNeeds&&) noexcept;
  ~ModelNeeds();

  const ModelInfo& info() const { return info_; }  // weight_bytes: of the packed weights to come
  // As Model::cache_bytes() will say.
  KvCacheBytes cache_bytes(KvTypes types) const;
  // What Model::reserve() will take, with a pool of n_threads. Never falls with the limits.
  uint64_t workspace_bytes(const ForwardLimits& limits, uint32_t n_threads) const;

 private:
  ModelNeeds(ModelInfo info, std::unique_ptr<const Network> network);

  ModelInfo info_;
  std::unique_ptr<const Network> network_;
};

}  // namespace floe

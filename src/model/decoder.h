#pragma once
// The forward of every architecture: a walk over the layers of a Network.
#include <memory>
#include <span>
#include <vector>

#include "base/memory.h"
#include "kernels/kernel_table.h"
#include "model/model.h"
#include "model/network.h"
#include "model/pass.h"
#include "model/workspace.h"

namespace floe {

class Decoder : public Model {
 public:
  // hyperparameters_hash: of all that shapes the forward beside the weights.
  Decoder(ModelInfo info, std::unique_ptr<Network> network, uint64_t hyperparameters_hash,
          HugeBuffer weights, ThreadPool& pool, const KernelTable& kernels)
      : info_(std::move(info)),
        network_(std::move(network)),
        hyperparameters_hash_(hyperparameters_hash),
        weights_(std::move(weights)),
        pool_(pool),
        kernels_(kernels) {}

  const ModelInfo& info() const override { return info_; }
  Result<void> reserve(const ForwardLimits& limits) override;
  KvCacheBytes cache_bytes(KvTypes types) const override;
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override;
  uint64_t cache_fingerprint(KvTypes types) const override;
  Result<ForwardOutput> forward(const ForwardBatch& batch) override;
  Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float* hidden) override;
  void embed(int32_t token, float* out) const override;
  std::span<const std::byte> weights() const override {
    return {weights_.data(), weights_.size_bytes()};
  }

 private:
  // Takes the states of the prepared batch's sequences from its first rows to behind its last ones.
  void check_states(const ForwardBatch& batch) const;
  void advance_states(const ForwardBatch& batch);
  // walk(pass) on every worker.
  template <typename Walk>
  void run(const ForwardBatch& batch, ByteLedger* ledger, const Walk& walk);
  void walk_trunk(Pass& pass, uint32_t n_logit_rows);
  Stage join_mtp(Pass& pass, const float* previous_hidden);
  void cache_mtp(Pass& pass, Stages joined);
  void finish_mtp(Pass& pass, Stages joined, uint32_t n_logit_rows);
  Stage norm_mtp_input(Pass& pass, Stages joined);
  float* hidden_of(uint32_t row);  // the residual stream
  void rotate_row(Pass& pass, uint32_t row);
  // ws.input row <- RMS norm of the residual row, in the forms the reader needs.
  void norm_input(Pass& pass, uint32_t row, const float* weight, bool quantize);
  Stage run_layer(Pass& pass, Stage input, uint32_t layer);
  void tap(uint32_t layer, uint32_t row);
  void finish_row(Pass& pass, uint32_t row, const float* norm, bool keep_normed);
  void count_embedding(Pass& pass) const;
  void project_logits(Pass& pass, Stage input, uint32_t n_logit_rows);

  ModelInfo info_;
  std::unique_ptr<Network> network_;
  const uint64_t hyperparameters_hash_;
  HugeBuffer weights_;
  ThreadPool& pool_;
  const KernelTable& kernels_;
  Workspace ws_;
  mutable std::optional<uint64_t> weights_hash_;  // once somebody has asked
};

}  // namespace floe

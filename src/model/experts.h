#pragma once
// The routed experts of a layer, wherever they are: in this process's memory, on disk, on a device,
// in another process. A mixture-of-experts layer knows one expert at a time and says beforehand
// which ones it is going to read.
#include <cstdint>
#include <span>

#include "kernels/packed_matrix.h"
#include "model/gated_ffn.h"
#include "model/pass.h"

namespace floe {

class RoutedExperts {
 public:
  virtual ~RoutedExperts() = default;

  // An expert whose matrices have shape and format, as all experts of the layer have, and perhaps
  // no data.
  virtual GatedFfn shape() const = 0;
  // All experts' matrices, for counting.
  virtual void visit_matrices(const MatrixVisitor& visit) const = 0;

  // Called by every worker of a forward once the rows have chosen: makes the experts of
  // used[0 .. n_used) ready to be read, by stages of its own or none. They are ready after the
  // stage returned, until the next layer's run() ends. The list is complete after `chosen`; a
  // worker reads it only while it holds an item of a stage made here, since a slow one may come by
  // when the next layer is already writing it.
  virtual Stage arrive(Pass& pass, Stage chosen, const uint32_t* used, uint32_t n_used) const = 0;
  // One expert that has arrived.
  virtual GatedFfn expert(uint32_t index) const = 0;
};

// All of them in one piece of this process's memory: they are there at once.
class ResidentExperts final : public RoutedExperts {
 public:
  uint32_t n_experts = 0;
  PackedMatrix gate;  // n_experts x [ffn_dim][hidden_dim]
  PackedMatrix up;    // n_experts x [ffn_dim][hidden_dim]
  PackedMatrix down;  // n_experts x [hidden_dim][ffn_dim]
  // Null: none.
  const float* gate_bias = nullptr;  // [n_experts][ffn_dim]
  const float* up_bias = nullptr;    // [n_experts][ffn_dim]
  const float* down_bias = nullptr;  // [n_experts][hidden_dim]
  Activation activation = Activation::swiglu;

  GatedFfn shape() const override { return expert(0); }
  void visit_matrices(const MatrixVisitor& visit) const override;
  Stage arrive(Pass&, Stage chosen, const uint32_t*, uint32_t) const override { return chosen; }
  GatedFfn expert(uint32_t index) const override;
};

}  // namespace floe

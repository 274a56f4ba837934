#pragma once
// One kind of feed-forward network as the decoder knows it: dense, or a mixture of experts. A kind
// is a class of its own files; everything that others need of it is asked here.
#include <cstdint>

#include "model/pass.h"

namespace floe {

class Ffn {
 public:
  virtual ~Ffn() = default;

  // Whether it reads the 8-bit form of its input.
  virtual bool input_reads_q8() const = 0;
  virtual void visit_matrices(const MatrixVisitor& visit) const = 0;
  // Asks for the memory it works in.
  virtual void plan(LayerScratches& scratches) const = 0;
  // Routed experts: how many there are, and how many a token goes to.
  struct Routing {
    uint32_t n_experts = 0;
    uint32_t n_active = 0;
  };
  virtual Routing routing() const { return {}; }

  // Called by every worker of a forward, from ws.input, complete after `input`. After the stage
  // returned add_row() may be called; at most kMaxLayerStages stages.
  virtual Stage run(Pass& pass, Stage input) const = 0;
  // Adds the result for a row to out [hidden_dim].
  virtual void add_row(Pass& pass, uint32_t row, float* out) const = 0;
};

}  // namespace floe

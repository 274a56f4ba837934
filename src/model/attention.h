#pragma once
// One kind of attention as the decoder knows it: from the normed input of a layer to what the layer
// adds to the residual stream. A kind is a class of its own files; everything that others need of
// it is asked here.
#include <cstdint>

#include "kv/host_cache.h"
#include "model/pass.h"

namespace floe {

class Attention {
 public:
  virtual ~Attention() = default;

  // What the layer keeps in the cache: planes of vectors per token, a state per sequence, or both.
  virtual KvLayerSpec cache_spec() const = 0;
  // Whether it reads the 8-bit form of its input.
  virtual bool input_reads_q8() const = 0;
  virtual void visit_matrices(const MatrixVisitor& visit) const = 0;
  // Asks for the memory it works in.
  virtual void plan(LayerScratches& scratches) const = 0;

  // Called by every worker of a forward. From x, complete after `input`, to ws.branch, complete
  // after the stage returned; takes at most kMaxLayerStages stages, or makes room for more itself.
  virtual Stage attend(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const = 0;
  // Of that, only what later rows need: fills the cache, for rows whose own result nobody reads.
  virtual void cache(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const = 0;
};

}  // namespace floe

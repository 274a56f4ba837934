#include "model/experts.h"

namespace floe {

namespace {

// One matrix of a stack, by itself.
PackedMatrix plane_of(const PackedMatrix& stack, uint32_t index) {
  PackedMatrix plane = stack;
  plane.n_planes = 1;
  if (stack.data != nullptr) plane.data = stack.group(index, 0);
  return plane;
}

// The bias of one expert in a stack of n values each, null where there is none.
const float* bias_of(const float* biases, uint32_t expert, uint32_t n) {
  return biases != nullptr ? biases + size_t{expert} * n : nullptr;
}

}  // namespace

void ResidentExperts::visit_matrices(const MatrixVisitor& visit) const {
  for (const PackedMatrix* matrix : {&gate, &up, &down}) visit(*matrix, kRoutedClass);
}

GatedFfn ResidentExperts::expert(uint32_t index) const {
  GatedFfn ffn;
  ffn.gate = plane_of(gate, index);
  ffn.up = plane_of(up, index);
  ffn.down = plane_of(down, index);
  ffn.gate_bias = bias_of(gate_bias, index, gate.n_rows);
  ffn.up_bias = bias_of(up_bias, index, up.n_rows);
  ffn.down_bias = bias_of(down_bias, index, down.n_rows);
  ffn.activation = activation;
  return ffn;
}

}  // namespace floe

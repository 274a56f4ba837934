#pragma once
// The kinds of layers that the card's walk knows.
#include <string>

#include "base/error.h"
#include "model/attention_gqa.h"
#include "model/attention_mla.h"
#include "model/moe.h"
#include "model/network.h"

namespace floe::cuda {

// ErrorKind::model, naming the layer, where a network has others.
Result<void> check_layers(const Network& network, const std::string& name);

// Of networks that check_layers() let through: null where the layer is of the other kind.
inline const GqaAttention* as_gqa(const Layer& layer) {
  return dynamic_cast<const GqaAttention*>(layer.attention.get());
}
inline const DenseFfn* as_dense(const Layer& layer) {
  return dynamic_cast<const DenseFfn*>(layer.ffn.get());
}
inline const MlaAttention& as_mla(const Layer& layer) {
  return dynamic_cast<const MlaAttention&>(*layer.attention);
}
inline const MoeFfn& as_moe(const Layer& layer) {
  return dynamic_cast<const MoeFfn&>(*layer.ffn);
}
inline const ResidentExperts& experts_of(const MoeFfn& moe) {
  return dynamic_cast<const ResidentExperts&>(*moe.experts);
}

}  // namespace floe::cuda

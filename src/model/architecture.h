#pragma once
// The model families that floe runs. A family is one file, arch_NAME.cpp, that names its
// hyperparameters and tensors and builds a Network from the kinds of layers, a line in
// registry.cpp, one in CMakeLists.txt, and a golden case.
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/hparams.h"
#include "model/network.h"
#include "model/weights.h"

namespace floe {

struct Architecture {
  const char* name;                            // general.architecture
  std::span<const char* const> required_keys;  // beyond those every architecture needs
  // Asks the loader for every tensor and fills the network, which stays where it is until the
  // weights are packed.
  Result<void> (*build)(const Hparams& hparams, WeightLoader& loader, Network& network);
};

// nullptr: not supported.
const Architecture* find_architecture(std::string_view name);
std::string supported_architectures();  // "a, b, c"

// What all families share: embedding, output norm and head (tied where output.weight is absent),
// rotary frequencies, sizes; makes n_layers empty layers.
Result<void> build_frame(const Hparams& hparams, WeightLoader& loader, uint32_t n_trunk_layers,
                         bool has_mtp, Network& network);

// "blk.N."
std::string layer_prefix(uint32_t layer);

// The draft head's own tensors, blk.N.nextn.*. Copies of the embedding and the head are not read.
Result<void> build_mtp(const Hparams& hparams, const std::string& prefix, WeightLoader& loader,
                       MtpHead& mtp);
// How many of the blocks are trunk layers, and whether the last one is a draft head that the file
// holds.
struct BlockSplit {
  uint32_t n_trunk_layers = 0;
  bool has_mtp = false;
};
BlockSplit split_blocks(const Hparams& hparams, const WeightLoader& loader);

}  // namespace floe

#pragma once
// The sampling flags of run, and the defaults that serve gives to requests.
#include <cstdint>

#include "base/options.h"
#include "engine/request.h"

namespace floe {

struct SamplingFlags {
  double temperature = 0.8;
  int64_t top_k = 40;
  double top_p = 0.95;
  double min_p = 0.05;
  double repeat_penalty = 1.0;
  int64_t repeat_last_n = 64;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;

  void add_to(OptionTable& table);
  SamplingParams params() const;
};

}  // namespace floe

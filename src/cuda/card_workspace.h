#pragma once
// The memory of a card that forwards work in, carved once from one buffer by reserve().
#include <cstdint>

#include "cuda/device.h"
#include "cuda/launch.h"
#include "kernels/attend.h"
#include "model/network.h"
#include "model/workspace.h"

namespace floe::cuda {

// Addresses of the device. R = max_rows of the limits; a field is null where no layer needs it.
// Meanings as in floe::Workspace.
struct CardWorkspace {
  uint32_t max_rows = 0;
  uint32_t max_logit_rows = 0;
  uint32_t max_context = 0;

  float* hidden = nullptr;
  float* branch = nullptr;
  ActivationBuffer input;
  ActivationBuffer joined_input;
  float* previous_hidden = nullptr;  // f32 [R][hidden_dim], what forward_mtp() is given

  float* queries = nullptr;
  float* keys = nullptr;
  float* values = nullptr;
  ActivationBuffer attention;
  float* q_lora_raw = nullptr;
  ActivationBuffer q_lora;
  ActivationBuffer q_nope;
  float* absorbed = nullptr;
  ActivationBuffer context;
  float* indexer_queries = nullptr;
  float* indexer_keys = nullptr;
  float* indexer_weights = nullptr;
  float* indexer_scores = nullptr;  // f32 [kScoreRows][score_stride]
  uint32_t score_stride = 0;
  uint32_t* selected = nullptr;
  uint32_t selected_stride = 0;
  float* attend_parts = nullptr;
  uint64_t attend_parts_size = 0;

  ActivationBuffer dense_inner;
  ActivationBuffer shared_inner;
  ActivationBuffer routed_inner;
  float* up = nullptr;  // as large as the largest of the three
  float* router_logits = nullptr;
  uint32_t* chosen = nullptr;  // u32 [MoE layers][R * n_active]
  uint32_t chosen_stride = 0;  // of a layer
  float* chosen_weights = nullptr;
  uint32_t* pair_of = nullptr;
  uint32_t* row_of_pair = nullptr;
  uint32_t* expert_begin = nullptr;
  uint32_t* used_experts = nullptr;
  uint32_t* n_used = nullptr;  // u32 [MoE layers]
  uint32_t n_moe_layers = 0;
  float* pair_outputs = nullptr;
  float* shared_outputs = nullptr;
  float* logits = nullptr;  // of many rows, on their way to the host

  DeviceMemory memory;

  static constexpr uint32_t kScoreRows = 64;
  // Rows that attend span by span side by side, and the room for their parts.
  static constexpr uint32_t kSpanRows = 32;
  static constexpr uint64_t kPartsBytes = uint64_t{256} << 20;

  // Fails with ErrorKind::memory, naming the bytes.
  static Result<CardWorkspace> create(const Network& network, const ForwardLimits& limits);
};

}  // namespace floe::cuda

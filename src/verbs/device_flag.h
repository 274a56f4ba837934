#pragma once
// --device: where a model runs.
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/options.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace floe {

// "auto": the first card that has room for the weights, else the processor. "cpu" or "none".
// "cuda:N", "CUDAN" as llama.cpp calls it, or "cuda" for the first.
void add_device_flag(OptionTable& table, std::string* device);

// Loads a model where `device` says. ErrorKind::usage when it names none, or one that this build or
// machine has not got; ErrorKind::memory when the model does not fit on the card that it names.
Result<std::unique_ptr<Model>> load_model_on(const std::string& device, const std::string& path,
                                             const ModelOptions& options, ThreadPool& pool);

// What is free on the card that load_model_on() will take for so many bytes of weights; 0 where
// that is the processor.
uint64_t free_card_bytes(const std::string& device, uint64_t weight_bytes);

}  // namespace floe

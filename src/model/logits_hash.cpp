#include "model/logits_hash.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace floe {

struct LogitsHash::State {
  XXH3_state_t xxh;
};

LogitsHash::LogitsHash() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh);
}
LogitsHash::~LogitsHash() = default;

void LogitsHash::add(const float* logits, size_t n_rows, size_t n_vocab) {
  XXH3_64bits_update(&state_->xxh, logits, n_rows * n_vocab * sizeof(float));
}

uint64_t LogitsHash::value() const {
  return XXH3_64bits_digest(&state_->xxh);
}

std::string LogitsHash::text() const {
  return fmt::format("{:016x}", value());
}

}  // namespace floe

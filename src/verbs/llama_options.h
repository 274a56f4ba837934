#pragma once
// Every option of llama.cpp's programs (llama-server, llama-cli, llama-bench) as of September 2026,
// and what floe makes of it.
#include <span>

#include "base/options.h"

namespace floe {

// For OptionTable::answer(). Each name occurs once.
std::span<const ForeignOption> llama_options();

}  // namespace floe

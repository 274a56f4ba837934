#include "verbs/memory_plan.h"

#include <algorithm>
#include <vector>

#include "kv/kv_cache.h"

namespace floe {

namespace {

// Of what the machine can give, a context that floe chooses itself leaves a tenth to others.
constexpr uint64_t kShareOfTen = 9;
// A chosen context is not shorter than this, or than the model's: fewer tokens are no use.
constexpr uint32_t kLeastContext = 512;
// A chosen context is a multiple of this.
constexpr uint32_t kContextStep = 256;

double gb(uint64_t bytes) {
  return static_cast<double>(bytes) / 1e9;
}

// What is asked for beside the tokens of sequences, whatever is left.
uint64_t given_prefix_bytes(const MemoryRequest& request) {
  return request.prefix_bytes == MemoryRequest::kOfWhatIsLeft ? 0 : request.prefix_bytes;
}

uint64_t total_bytes(const MemoryNeeds& needs, const MemoryRequest& request, uint32_t context,
                     uint64_t n_kv_tokens, uint64_t slot_bytes) {
  return needs.weight_bytes + needs.drafter_bytes + needs.workspace_bytes(context) +
         request.n_sequences * needs.sequence_bytes + given_prefix_bytes(request) +
         n_kv_tokens * slot_bytes;
}

// Whole blocks, and no more than the cache can count beside the tokens of sequences.
uint64_t prefix_tokens(const MemoryNeeds& needs, uint64_t n_bytes, uint64_t n_kv_tokens) {
  if (needs.slot_bytes == 0) return 0;
  constexpr uint64_t kMostTokens = uint64_t{UINT32_MAX} - 2 * kKvBlockTokens;
  const uint64_t n_tokens =
      std::min(n_bytes / needs.slot_bytes, kMostTokens - std::min(kMostTokens, n_kv_tokens));
  return n_tokens / kKvBlockTokens * kKvBlockTokens;
}

// The largest context with context * n_sequences cached tokens within the limit; 0: none.
uint32_t largest_context(const MemoryNeeds& needs, const MemoryRequest& request,
                         uint32_t n_sequences, uint64_t limit) {
  uint32_t low = 0;
  uint32_t high = needs.model_context;
  while (low < high) {
    const uint32_t middle = high - (high - low) / 2;
    const uint64_t n_tokens = uint64_t{middle} * n_sequences;
    if (total_bytes(needs, request, middle, n_tokens, needs.slot_bytes) <= limit) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low >= kContextStep && low != needs.model_context ? low / kContextStep * kContextStep
                                                           : low;
}

std::string parts(const MemoryNeeds& needs, const MemoryPlan& plan, uint64_t states_bytes) {
  std::string text = fmt::format("weights {:.1f}", gb(needs.weight_bytes));
  if (needs.drafter_bytes != 0) text += fmt::format(", drafters {:.1f}", gb(needs.drafter_bytes));
  const uint64_t prefix_bytes = plan.n_prefix_tokens * needs.slot_bytes;
  text += fmt::format(", KV cache of {} tokens {:.1f}", plan.n_kv_tokens,
                      gb(plan.cache_bytes - prefix_bytes + states_bytes));
  if (prefix_bytes != 0) text += fmt::format(", prefix cache {:.1f}", gb(prefix_bytes));
  text += fmt::format(", workspace {:.1f}", gb(plan.workspace_bytes));
  return text;
}

// What would make it fit, each by itself: "-c 4096, -np 2 or --mem 20".
std::string advice(const MemoryNeeds& needs, const MemoryRequest& request, const MemoryPlan& plan,
                   const MemoryBudget& budget, uint64_t limit) {
  std::vector<std::string> ways;
  const auto fits = [&](uint64_t n_tokens, uint64_t slot_bytes) {
    return total_bytes(needs, request, plan.context, n_tokens, slot_bytes) <= limit;
  };
  if (request.context_option != nullptr) {
    const uint32_t context = largest_context(needs, request, request.n_sequences, limit);
    if (context > 0 && context < plan.context) {
      ways.push_back(fmt::format("{} {}", request.context_option, context));
    }
  }
  if (request.sequences_option != nullptr && request.n_kv_tokens == 0) {
    for (uint32_t n = request.n_sequences; n-- > 1;) {
      if (!fits(uint64_t{plan.context} * n, needs.slot_bytes)) continue;
      ways.push_back(fmt::format("{} {}", request.sequences_option, n));
      break;
    }
  }
  if (needs.slot_bytes_q8_0 < needs.slot_bytes && fits(plan.n_kv_tokens, needs.slot_bytes_q8_0)) {
    ways.push_back("-ctk q8_0 -ctv q8_0");
  }
  const uint64_t needed =
      total_bytes(needs, request, plan.context, plan.n_kv_tokens, needs.slot_bytes);
  const uint64_t prefix_bytes = given_prefix_bytes(request);
  if (prefix_bytes != 0 && needed - prefix_bytes <= limit) {
    ways.push_back(fmt::format("--cache-ram {}", (limit - (needed - prefix_bytes)) >> 20));
  }
  if (budget.mem_bytes != 0 && needed <= budget.available_bytes) {
    ways.push_back(fmt::format("--mem {:.1f}", gb(needed) + 0.1));
  }
  if (ways.empty()) {
    return needs.drafter_bytes != 0 ? "a file with fewer bits per weight, or no drafter, would fit"
                                    : "a file with fewer bits per weight might fit";
  }
  std::string text = ways.front();
  for (size_t i = 1; i < ways.size(); ++i) {
    text += (i + 1 == ways.size() ? " or " : ", ") + ways[i];
  }
  return text + " would fit";
}

}  // namespace

Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, const MemoryRequest& request,
                               const MemoryBudget& budget) {
  const bool chosen = request.context == 0;
  uint64_t limit = UINT64_MAX;
  if (budget.available_bytes != 0) limit = budget.available_bytes;
  if (budget.mem_bytes != 0) limit = std::min(limit, budget.mem_bytes);

  MemoryPlan plan;
  plan.context = chosen ? needs.model_context : std::min(request.context, needs.model_context);
  plan.n_kv_tokens =
      request.n_kv_tokens != 0 ? request.n_kv_tokens : uint64_t{plan.context} * request.n_sequences;
  const auto total = [&] {
    return total_bytes(needs, request, plan.context, plan.n_kv_tokens, needs.slot_bytes);
  };
  // Whoever gives --mem has left to others what they need.
  const uint64_t chosen_limit =
      limit == UINT64_MAX || budget.mem_bytes != 0 ? limit : limit / 10 * kShareOfTen;
  const auto fill = [&] {
    uint64_t prefix_bytes = given_prefix_bytes(request);
    if (request.prefix_bytes == MemoryRequest::kOfWhatIsLeft && limit != UINT64_MAX) {
      const uint64_t left = chosen_limit - std::min(chosen_limit, total());
      prefix_bytes = std::min(left / 2, MemoryRequest::kMostPrefixBytes);
    }
    plan.n_prefix_tokens = prefix_tokens(needs, prefix_bytes, plan.n_kv_tokens);
    plan.cache_bytes = (plan.n_kv_tokens + plan.n_prefix_tokens) * needs.slot_bytes;
    plan.workspace_bytes = needs.workspace_bytes(plan.context);
  };
  if (total() <= (chosen ? chosen_limit : limit)) {
    fill();
    return plan;
  }
  if (chosen) {
    if (request.n_kv_tokens == 0) {
      // One sequence may be as long as the cache holds, and all share it.
      plan.context = largest_context(needs, request, 1, chosen_limit);
      const uint64_t rest = total_bytes(needs, request, plan.context, 0, needs.slot_bytes);
      if (plan.context > 0 && needs.slot_bytes != 0) {
        plan.n_kv_tokens = std::min(uint64_t{plan.context} * request.n_sequences,
                                    (chosen_limit - rest) / needs.slot_bytes);
      }
    } else {
      plan.context = static_cast<uint32_t>(std::min<uint64_t>(plan.context, request.n_kv_tokens));
    }
    if (plan.context >= std::min(kLeastContext, needs.model_context) && total() <= chosen_limit) {
      fill();
      const std::string cache = fmt::format("a cache of {} tokens that {} sequences share",
                                            plan.n_kv_tokens, request.n_sequences);
      std::string chosen_text;
      if (plan.context == needs.model_context) {
        chosen_text = fmt::format("context {}, {}", plan.context, cache);
      } else {
        chosen_text =
            fmt::format("context {} of the model's {} tokens", plan.context, needs.model_context);
        if (request.n_sequences > 1) chosen_text += ", " + cache;
      }
      plan.note = fmt::format("{}: what fits in {:.1f} GB ({})", chosen_text, gb(chosen_limit),
                              parts(needs, plan, request.n_sequences * needs.sequence_bytes));
      if (request.context_option != nullptr) {
        plan.note += fmt::format("; {} sets another", request.context_option);
      }
      return plan;
    }
    // What is wanted at least.
    plan.context = std::min(kLeastContext, needs.model_context);
    plan.n_kv_tokens = request.n_kv_tokens != 0 ? request.n_kv_tokens : plan.context;
  }
  fill();
  return make_error(
      ErrorKind::memory, "needs {:.1f} GB ({}), {:.1f} GB are {}: {}", gb(total()),
      parts(needs, plan, request.n_sequences * needs.sequence_bytes), gb(limit),
      budget.mem_bytes != 0 && limit == budget.mem_bytes ? "what --mem allows" : "available",
      advice(needs, request, plan, budget, limit));
}

}  // namespace floe

#include "verbs/sampling_flags.h"

namespace floe {

void SamplingFlags::add_to(OptionTable& table) {
  table.add("--temp,--temperature", "T", &temperature, 0, 100, "temperature; 0: greedy");
  table.add("--top-k", "N", &top_k, 0, INT32_MAX, "sample from the N best; 0: all");
  table.add("--top-p", "P", &top_p, 0, 1, "sample from the smallest set with this mass");
  table.add("--min-p", "P", &min_p, 0, 1, "drop tokens below P times the best one's probability");
  table.add("--repeat-penalty", "X", &repeat_penalty, 0.01, 100,
            "divides positive and multiplies negative logits of tokens already seen; 1: off");
  table.add("--repeat-last-n", "N", &repeat_last_n, -1, INT32_MAX,
            "tokens of prompt and answer that penalties see; -1: all, 0: none");
  table.add("--presence-penalty", "X", &presence_penalty, -2, 2,
            "subtracted from tokens already seen");
  table.add("--frequency-penalty", "X", &frequency_penalty, -2, 2, "subtracted per occurrence");
}

SamplingParams SamplingFlags::params() const {
  SamplingParams params;
  params.temperature = static_cast<float>(temperature);
  params.top_k = static_cast<uint32_t>(top_k);
  params.top_p = static_cast<float>(top_p);
  params.min_p = static_cast<float>(min_p);
  params.repetition_penalty = static_cast<float>(repeat_penalty);
  params.repeat_last_n = static_cast<int32_t>(repeat_last_n);
  params.presence_penalty = static_cast<float>(presence_penalty);
  params.frequency_penalty = static_cast<float>(frequency_penalty);
  return params;
}

}  // namespace floe

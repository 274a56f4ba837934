#include "verbs/verbs.h"

namespace floe {

std::span<const Verb> verbs() {
  static constexpr Verb table[] = {
      {"run", "generate text from a prompt", run_run},
      {"serve", "OpenAI-compatible HTTP server", run_serve},
      {"bench", "speed of prefill, decode and verify beside the machine's floor", run_bench_verb},
      {"batched-bench", "speed of many sequences at once, with the experts their steps share",
       run_batched_bench_verb},
      {"spec-bench", "speed with guesses beside speed without, on prompts of many kinds",
       run_spec_bench_verb},
      {"bench-serve", "speed of a server as its clients see it, at different loads",
       run_bench_serve},
      {"logits", "logits of given tokens, and a hash of their bits", run_logits},
      {"tokenize", "token ids of a text", run_tokenize},
      {"template", "the prompt that a chat template makes of a conversation", run_template},
      {"synth", "write a model of random weights in a published shape", run_synth},
      {"inflate", "write a larger model with the same outputs", run_inflate},
      {"doctor", "measure this machine: bandwidth, compute peaks, warnings", run_doctor},
  };
  return table;
}

}  // namespace floe

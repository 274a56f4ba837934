#include <cstdio>
#include <filesystem>
#include <random>

#include "base/clock.h"
#include "base/json.h"
#include "chat/response_stream.h"
#include "engine/engine.h"
#include "engine/forward_limits.h"
#include "server/openai_response.h"
#include "store/gguf.h"
#include "text/tokenizer.h"
#include "verbs/chat_flags.h"
#include "verbs/model_flags.h"
#include "verbs/sampling_flags.h"
#include "verbs/spec_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

struct RunFlags {
  ModelFlags model;
  std::string prompt;
  std::string file;
  std::string system;
  std::string system_file;
  bool chat = false;
  bool think = false;
  int64_t n_predict = -1;
  int64_t n_context = 0;
  int64_t seed = -1;
  SamplingFlags sampling;
  SpecFlags spec;
  ChatFlags chat_template;
  bool ignore_eos = false;
  bool json = false;

  void add_to(OptionTable& table) {
    model.add_to(table);
    table.add("-p,--prompt", "TEXT", &prompt,
              "text to continue, or with --chat the user's message");
    table.add("-f,--file", "FILE", &file, "file that holds the prompt");
    table.add("--chat", &chat,
              "make the prompt a user's message, through the model's chat template");
    table.add("-sys,--system-prompt", "TEXT", &system, "system message, with --chat");
    table.add("-sysf,--system-prompt-file", "FILE", &system_file,
              "file that holds the system message, with --chat");
    table.add("--think", &think, "let the model think before it answers, with --chat");
    table.add("-n,--n-predict,--predict", "N", &n_predict, -1, INT32_MAX,
              "tokens to generate; -1: until the model ends or the context is full");
    table.add(
        "-c,--ctx-size", "N", &n_context, 0, 1 << 24,
        "context in tokens; 0: what the prompt and -n need, or the longest that fits in memory");
    table.add("-s,--seed", "N", &seed, -1, INT64_MAX, "seed of the sampler; -1: a random one");
    table.add("--ignore-eos", &ignore_eos, "go on where the model ends its answer");
    sampling.add_to(table);
    spec.add_to(table);
    chat_template.add_to(table);
    table.add("--json", &json, "print one JSON object at the end instead of streaming the text");
  }
};

struct Output {
  std::string text;
  std::vector<int32_t> tokens;
  TokenEvent last;
};

// timings and moe are those of the server's answers.
Json output_json(const Output& output, bool thinking) {
  AnswerFigures figures;
  figures.prompt_tokens = output.last.counts.prompt_tokens;
  figures.cached_tokens = output.last.counts.cached_tokens;
  figures.completion_tokens = output.last.counts.completion_tokens;
  figures.timings = output.last.timings;
  figures.telemetry = output.last.telemetry;
  figures.thinking = thinking;
  Json json;
  json["text"] = output.text;
  json["tokens"] = output.tokens;
  json["finish_reason"] = to_string(output.last.finish);
  json.update(Json::parse('{' + figures_json(figures) + '}'));
  return json;
}

Result<ChatPrompt> make_prompt(const RunFlags& flags, const Tokenizer& tokenizer,
                               const GgufMetadata& metadata) {
  if (!flags.chat) return ChatPrompt{.ids = tokenizer.encode(flags.prompt, true, true)};
  ChatTemplateChoice choice = flags.chat_template.choice;
  choice.folder = std::filesystem::absolute(flags.model.model_path).parent_path();
  FLOE_TRY(const ChatTemplate chat, ChatTemplate::load(choice, tokenizer, &metadata));
  std::vector<ChatMessage> messages;
  const auto say = [&](const char* role, const std::string& content) {
    ChatMessage& message = messages.emplace_back();
    message.role = role;
    message.content = content;
  };
  if (!flags.system.empty()) say("system", flags.system);
  say("user", flags.prompt);
  ChatOptions options;
  const auto& kwargs = chat.source().kwargs;
  const bool said =
      kwargs != nullptr && (kwargs->contains("enable_thinking") || kwargs->contains("thinking"));
  if (flags.think || !said) options.enable_thinking = flags.think;
  return chat.prompt(messages, options);
}

// Steps the engine until the one request has ended; text goes out as it comes.
Result<Output> generate(Engine& engine, EventQueue& events, RequestId id, ResponseStream& stream,
                        bool echo) {
  Output output;
  bool done = false;
  std::vector<TokenEvent> batch;
  const auto emit = [&](const OutputDelta& delta) {
    const std::string text = delta.reasoning_content + delta.content;
    output.text += text;
    if (echo) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    }
  };
  while (!done) {
    engine.step();
    batch.clear();
    events.take(batch);
    for (TokenEvent& event : batch) {
      if (event.token >= 0) {
        output.tokens.push_back(event.token);
        emit(stream.push(event.token));
      }
      if (event.finish != FinishReason::none) {
        done = true;
        output.last = std::move(event);
      }
    }
    // A closed pipe ends the work, not only the output.
    if (echo && std::ferror(stdout) != 0) engine.cancel(id);
  }
  emit(stream.finish(output.last.finish == FinishReason::length));
  if (output.last.finish == FinishReason::error) {
    if (engine.failure()) return *engine.failure();
    return make_error(ErrorKind::runtime, "the model produced numbers that are not finite");
  }
  return output;
}

}  // namespace

Result<int> run_run(std::span<const std::string> arguments) {
  RunFlags flags;
  OptionTable table("run", "-m FILE (-p TEXT | -f FILE) [options]",
                    "Generates text and streams it to stdout.");
  flags.add_to(table);
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (table.given("-p") == table.given("-f"))
    return usage_error("expected exactly one of -p and -f");
  if (table.given("-f")) {
    FLOE_TRY(flags.prompt, read_text_file(flags.file));
  }
  for (const char* name : {"--think", "--system-prompt", "--system-prompt-file", "--chat-template",
                           "--chat-template-file", "--chat-template-kwargs"}) {
    if (!flags.chat && table.given(name)) return usage_error("{}: goes with --chat", name);
  }
  if (table.given("-sysf")) {
    if (table.given("-sys")) return usage_error("expected at most one of -sys and -sysf");
    FLOE_TRY(flags.system, read_text_file(flags.system_file));
  }
  if (flags.model.model_path.empty()) return usage_error("-m: expected a model file");

  std::unique_ptr<const Tokenizer> tokenizer;
  ChatPrompt prompt;
  {
    FLOE_TRY(const GgufFile gguf, open_model_file(flags.model.model_path));
    FLOE_TRY(tokenizer, Tokenizer::load(gguf));
    FLOE_TRY(prompt, make_prompt(flags, *tokenizer, gguf));
  }
  if (prompt.ids.empty()) return usage_error("the prompt is empty");
  // The raw markers stay in the stream: a person at a terminal sees the thinking.
  FLOE_TRY(ResponseStream stream, ResponseStream::create(*tokenizer, plain_text_options(), {}));
  EngineOptions options;
  options.max_sequences = 1;
  options.kv_types = flags.model.kv_types();
  Workload workload;
  workload.memory.context = static_cast<uint32_t>(flags.n_context);
  if (flags.n_context == 0 && flags.n_predict >= 0) {
    const uint64_t needed = prompt.ids.size() + static_cast<uint64_t>(flags.n_predict);
    workload.memory.context = static_cast<uint32_t>(std::min<uint64_t>(needed, UINT32_MAX));
  }
  workload.memory.sequences_option = nullptr;
  workload.limits = [&](uint32_t context) { return forward_limits(options, context, true); };
  FLOE_TRY(LoadedModel loaded, load(flags.model, flags.spec, workload));
  options.max_context = loaded.plan.context;
  FLOE_TRY(const Speculating speculating, prepare(flags.spec, flags.model, loaded));
  speculating.set(options);
  const SteadyClock clock;
  FLOE_TRY(const auto engine, Engine::create(options, *loaded.model, clock));

  Request request;
  const size_t n_prompt_tokens = prompt.ids.size();
  request.prompt = std::move(prompt.ids);
  if (flags.n_predict == 0) return usage_error("-n: expected -1 or at least 1, found 0");
  if (flags.n_predict > 0) request.max_tokens = static_cast<uint32_t>(flags.n_predict);
  request.sampling = flags.sampling.params();
  request.sampling.seed =
      flags.seed >= 0 ? static_cast<uint64_t>(flags.seed) : std::random_device{}();
  if (!flags.ignore_eos) request.stop_tokens = tokenizer->end_of_generation_ids();
  const auto events = std::make_shared<EventQueue>();
  request.sink = events;
  const SubmitOutcome outcome = engine->submit(std::move(request));
  if (outcome.status == SubmitStatus::context_exceeded) {
    return usage_error("the prompt has {} tokens, the context holds {}", n_prompt_tokens,
                       outcome.n_context);
  }
  if (outcome.status != SubmitStatus::accepted) {
    return usage_error("{}: {}", outcome.param, outcome.message);
  }
  FLOE_TRY(const Output output, generate(*engine, *events, outcome.id, stream, !flags.json));
  if (flags.json) {
    fmt::print("{}\n", dump_json(output_json(output, flags.think)));
    return 0;
  }
  const Json json = output_json(output, flags.think);
  fmt::print(stdout, "\n");
  fmt::print(stderr, "{} prompt tokens at {:.1f}/s, {} tokens at {:.1f}/s, {:.2f} GB/s\n",
             output.last.counts.prompt_tokens, json["timings"]["prompt_per_second"].get<double>(),
             output.last.counts.completion_tokens,
             json["timings"]["predicted_per_second"].get<double>(), output.last.telemetry.gb_s);
  return 0;
}

}  // namespace floe

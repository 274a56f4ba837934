#include "server/serve.h"

#include <filesystem>

#include "base/clock.h"
#include "base/log.h"
#include "base/terminal_text.h"
#include "base/version.h"
#include "engine/forward_limits.h"
#include "lab/floor.h"
#include "store/gguf.h"
#include "verbs/chat_flags.h"
#include "verbs/model_flags.h"
#include "verbs/sampling_flags.h"
#include "verbs/spec_flags.h"
#include "verbs/verbs.h"

namespace floe {

namespace {

// Short, so that serving starts at once.
constexpr double kProbeSeconds = 0.1;

// The leak check at the end of a sanitizer build traces its own process.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSandboxByDefault = false;
#else
constexpr bool kSandboxByDefault = true;
#endif

struct ServeFlags {
  ModelFlags model;
  SamplingFlags sampling;
  SpecFlags spec;
  std::string host = "127.0.0.1";
  int64_t port = 8080;
  std::string alias;
  int64_t n_parallel = 4;
  int64_t n_context = 0;
  int64_t n_kv_tokens = 0;
  int64_t cache_ram_mib = -1;
  bool cache_prompt = true;
  int64_t n_waiting = 64;
  int64_t n_predict = -1;
  int64_t step_rows = 512;
  ChatFlags chat;
  std::string tool_parser = "auto";
  std::string reasoning_field = "reasoning_content";
  std::string api_key;
  std::string api_key_file;
  bool insecure = false;
  bool sandbox = kSandboxByDefault;
  std::string allowed_hosts;
  std::string cors_origins;
  bool page = true;
  int64_t drain_seconds = 30;
  int64_t ping_seconds = 30;
  int64_t verbosity = 2;
  bool verbose = false;

  void add_to(OptionTable& table) {
    model.add_to(table);
    table.add("--host", "LIST", &host, "addresses to listen on, separated by commas");
    table.add("--port", "N", &port, 0, 65535, "port; 0: the system chooses");
    table.add("-a,--alias", "NAME", &alias,
              "model name in the API; the model's own when not given");
    table.add("-np,--parallel", "N", &n_parallel, 1, 1024, "sequences that run at the same time");
    table.add(
        "-c,--ctx-size", "N", &n_context, 0, 1 << 24,
        "context of one sequence in tokens; 0: the model's, or the longest that fits in memory");
    table.add(
        "--kv-tokens", "N", &n_kv_tokens, 0, 1 << 30,
        "tokens the KV cache holds, shared by all sequences; 0: -c times -np, or without -c as "
        "many as fit");
    table.add("-cram,--cache-ram", "MIB", &cache_ram_mib, -1, 1 << 24,
              "memory for prompts and answers of ended requests, from which later ones with the "
              "same beginning start; 0: nothing is kept; -1: half of what the model and its "
              "context leave, at most 8192");
    table.add("--cache-prompt", &cache_prompt,
              "prompts start from what earlier ones left in memory, unless a request says "
              "otherwise");
    table.add("--max-queue", "N", &n_waiting, 0, 1 << 16,
              "requests that may wait; one more gets 429");
    table.add("-n,--n-predict,--predict", "N", &n_predict, -1, INT32_MAX,
              "tokens to generate when a request does not say; -1: until the context is full");
    table.add("-ub,--ubatch-size", "N", &step_rows, 1, 8192, "rows of one forward");
    chat.add_to(table);
    std::vector<std::string> parsers = {"auto"};
    for (const std::string_view name : answer_format_names()) parsers.emplace_back(name);
    table.add_choice("--tool-parser,--tool-call-parser", parsers, &tool_parser,
                     "how answers write reasoning and tool calls; auto: by the model's template "
                     "and vocabulary");
    table.add_choice("--reasoning-field", {"reasoning_content", "reasoning", "both"},
                     &reasoning_field, "the field in which messages carry reasoning");
    sampling.add_to(table);
    spec.add_to(table);
    table.add("--api-key", "LIST", &api_key, "keys that requests must carry, separated by commas");
    table.add("--api-key-file", "FILE", &api_key_file,
              "file with one key a line; SIGHUP reads it again");
    table.add("--insecure", &insecure, "allow other than loopback addresses without a key");
    table.add("--sandbox", &sandbox,
              "once loaded, give up starting programs, opening connections and writing files");
    table.add("--allowed-hosts", "LIST", &allowed_hosts,
              "names a Host field may carry besides the addresses");
    table.add("--cors-origins", "LIST", &cors_origins,
              "origins whose pages may read answers; *: all");
    table.add("--webui,--ui", &page, "serve the page at /");
    table.add("--drain", "S", &drain_seconds, 0, 86400,
              "seconds that running requests may take after SIGTERM");
    table.add("--sse-ping-interval", "S", &ping_seconds, 1, 3600,
              "seconds of silence in a stream after which a comment is sent");
    table.add("-lv,--log-verbosity,--verbosity", "N", &verbosity, 0, 5,
              "log: 0 errors, 1 warnings, 2 information, 3 debug, 4 trace");
    table.add("-v,--log-verbose,--verbose", &verbose, "log everything, as -lv 5");
    // As llama.cpp calls them.
    table.read_also("-np", "LLAMA_ARG_N_PARALLEL");
    table.read_also("-ub", "LLAMA_ARG_UBATCH");
    table.read_also("--api-key", "LLAMA_API_KEY");
  }
};

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// What the engine refers to, in the order in which it must go.
struct Resources {
  SteadyClock clock;
  LoadedModel loaded;
  Speculating speculating;
};

// What there is to say about chat once the server is ready.
struct ChatNotes {
  std::string off;       // why the model cannot chat, or empty
  std::string fault;     // why not even a plain question has a prompt, or empty
  std::string prefixes;  // whether a conversation's prompts extend each other
};

// A template that cannot be used takes chat away, unless the user asked for it.
Result<void> load_chat(const ServeFlags& flags, const GgufMetadata& metadata, ServedModel& served,
                       ChatNotes& notes) {
  ChatTemplateChoice choice = flags.chat.choice;
  choice.folder = std::filesystem::absolute(flags.model.model_path).parent_path();
  auto chat = ChatTemplate::load(choice, *served.tokenizer, &metadata);
  std::string source = served.tokenizer->chat_template();
  if (chat.ok()) {
    const TemplateTraits& traits = chat->traits();
    notes.fault = escape_for_terminal(traits.fault, 512);
    notes.prefixes = traits.prefix_breaks.empty()
                         ? "each prompt of a conversation begins with the one before"
                         : fmt::format("less of a conversation is found in the cache, since {}",
                                       fmt::join(traits.prefix_breaks, "; "));
    source = chat->source().text;
    served.chat_template = std::move(*chat);
  } else if (chat.error().kind == ErrorKind::usage) {
    return chat.error();
  } else {
    served.chat_off = chat.error().message;
    notes.off = escape_for_terminal(served.chat_off, 512);
  }
  if (flags.tool_parser == "auto") {
    served.answer_format = detect_answer_format(source, *served.tokenizer);
  } else {
    FLOE_TRY(served.answer_format,
             answer_format_by_name(flags.tool_parser, source, *served.tokenizer));
  }
  return {};
}

Result<ServedModel> load_served(const ServeFlags& flags, ChatNotes& notes) {
  ServedModel served;
  {
    // Only the metadata is used here, and that is a copy: no tensor is read.
    FLOE_TRY(const GgufFile gguf, open_model_file(flags.model.model_path));
    FLOE_TRY(served.tokenizer, Tokenizer::load(gguf));
    FLOE_TRY_VOID(load_chat(flags, gguf, served, notes));
  }
  auto resources = std::make_shared<Resources>();
  EngineOptions options;
  options.max_sequences = static_cast<uint32_t>(flags.n_parallel);
  options.max_waiting = static_cast<uint32_t>(flags.n_waiting);
  options.max_step_rows = static_cast<uint32_t>(flags.step_rows);
  options.max_mixed_rows = std::min(options.max_mixed_rows, options.max_step_rows);
  options.kv_types = flags.model.kv_types();
  Workload workload;
  workload.memory.context = static_cast<uint32_t>(flags.n_context);
  workload.memory.n_kv_tokens = static_cast<uint64_t>(flags.n_kv_tokens);
  workload.memory.n_sequences = options.max_sequences;
  workload.memory.prefix_bytes = flags.cache_ram_mib < 0
                                     ? MemoryRequest::kOfWhatIsLeft
                                     : static_cast<uint64_t>(flags.cache_ram_mib) << 20;
  workload.limits = [&](uint32_t context) { return forward_limits(options, context, true); };
  FLOE_TRY(resources->loaded, load(flags.model, flags.spec, workload));
  Model& model = *resources->loaded.model;
  const MemoryPlan& plan = resources->loaded.plan;
  options.max_context = plan.context;
  // The engine checks what is beyond its counter.
  options.n_kv_tokens =
      plan.n_kv_tokens <= UINT32_MAX ? static_cast<uint32_t>(plan.n_kv_tokens) : 0;
  options.cache_prefixes = flags.cache_ram_mib != 0;
  options.n_prefix_tokens = static_cast<uint32_t>(plan.n_prefix_tokens);
  FLOE_TRY(resources->speculating, prepare(flags.spec, flags.model, resources->loaded));
  resources->speculating.set(options);
  served.speculation = to_string(options.spec);
  double bytes_per_second = 0;
  if (options.rates) {
    bytes_per_second = options.rates->bytes_per_second;
  } else {
    FLOE_TRY(ReadProbe probe, ReadProbe::of(*resources->loaded.pool, model));
    bytes_per_second = probe.calibrate(kProbeSeconds).bytes_per_second;
  }
  FLOE_TRY(auto engine, Engine::create(options, model, resources->clock));
  served.info = model.info();
  served.name = flags.alias.empty() ? served.info.name : flags.alias;
  served.file_name = std::filesystem::path(flags.model.model_path).filename();
  served.n_slots = options.max_sequences;
  served.read_gb_s = bytes_per_second / 1e9;
  served.engine = std::make_unique<EngineThread>(std::move(engine), resources->clock);
  served.resources = std::move(resources);
  return served;
}

}  // namespace

Result<int> run_serve(std::span<const std::string> arguments) {
  ServeFlags flags;
  OptionTable table("serve", "-m FILE [options]",
                    "Serves a model through an OpenAI-compatible HTTP API.");
  flags.add_to(table);
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (flags.model.model_path.empty()) return usage_error("-m: expected a model file");
  set_verbosity(flags.verbose ? 5 : static_cast<int>(flags.verbosity));

  ServeOptions options;
  options.http.hosts = split_list(flags.host);
  if (options.http.hosts.empty()) return usage_error("--host: expected an address");
  options.http.port = static_cast<uint16_t>(flags.port);
  options.http.ping_interval = std::chrono::seconds(flags.ping_seconds);
  if (table.given("--api-key")) {
    FLOE_TRY(options.api_keys, parse_api_keys(flags.api_key));
  }
  if (table.given("--api-key-file")) {
    options.read_keys = [given = options.api_keys,
                         path = flags.api_key_file]() -> Result<std::vector<std::string>> {
      std::vector<std::string> keys = given;
      FLOE_TRY(const auto read, read_api_key_file(path));
      keys.insert(keys.end(), read.begin(), read.end());
      return keys;
    };
    FLOE_TRY(options.api_keys, options.read_keys());
  }
  for (const char c : flags.alias) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      return usage_error("--alias: expected text without control characters");
    }
  }
  options.insecure = flags.insecure;
  options.sandbox = flags.sandbox;
  options.allowed_hosts = split_list(flags.allowed_hosts);
  options.cors_origins = split_list(flags.cors_origins);
  options.drain = std::chrono::seconds(flags.drain_seconds);
  options.page = flags.page;
  options.default_cache_prompt = flags.cache_prompt;
  options.default_sampling = flags.sampling.params();
  if (flags.n_predict > 0) options.default_max_tokens = static_cast<uint32_t>(flags.n_predict);
  options.reasoning_field = flags.reasoning_field == "both" ? ReasoningField::both
                            : flags.reasoning_field == "reasoning"
                                ? ReasoningField::reasoning
                                : ReasoningField::reasoning_content;
  options.build_info = fmt::format("floe {} ({})", kVersion, kBuildCommit);
  std::string address;
  ChatNotes notes;  // written before on_ready is called
  options.on_listening = [&](const std::vector<std::string>& addresses) {
    address = addresses.front();
  };
  options.on_ready = [&] {
    fmt::print("floe is ready: http://{}/\n", address);
    if (!notes.fault.empty()) {
      spdlog::warn("chat template: a plain question has no prompt: {}", notes.fault);
    }
    if (!notes.prefixes.empty()) spdlog::info("chat template: {}", notes.prefixes);
    if (notes.off.empty()) {
      fmt::print(
          "curl http://{}/v1/chat/completions -H 'Content-Type: application/json' -d "
          "'{{\"messages\":[{{\"role\":"
          "\"user\",\"content\":\"Hello!\"}}]}}'\n",
          address);
    } else {
      fmt::print("chat is off because {}\n", notes.off);
      fmt::print(
          "curl http://{}/v1/completions -H 'Content-Type: application/json' -d "
          "'{{\"prompt\":\"Once upon a time\",\"max_tokens\":32}}'\n",
          address);
    }
    std::fflush(stdout);
  };
  return run_server(options, [&] { return load_served(flags, notes); });
}

}  // namespace floe

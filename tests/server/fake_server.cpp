// The whole server on the fake model: for clients' tests and load tools, where no model file is at
// hand.
//   fake_server [--port N] [--api-key KEY] [--step-us N]
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/options.h"
#include "server/serve.h"
#include "server/test_server.h"

namespace {

struct Resources {
  floe::SteadyClock clock;
  std::unique_ptr<floe::FakeModel> model;
};

}  // namespace

int main(int argc, char** argv) {
  floe::setup_logging();
  int64_t port = 0;
  int64_t step_us = 300;
  int64_t n_slots = 8;
  int64_t n_context = 4096;
  std::string key;
  floe::OptionTable table("fake_server", "[options]", "Serves the fake model of the tests.");
  table.add("--port", "N", &port, 0, 65535, "port; 0: any");
  table.add("--api-key", "KEY", &key, "key that requests must carry");
  table.add("--step-us", "N", &step_us, 0, 1'000'000, "microseconds that one step takes");
  table.add("-np,--parallel", "N", &n_slots, 1, 4096, "sequences at the same time");
  table.add("-c,--ctx-size", "N", &n_context, 16, 1 << 20, "context");
  const auto parsed = table.parse(std::vector<std::string>(argv + 1, argv + argc));
  if (!parsed.ok()) {
    fmt::print(stderr, "{}\n", parsed.error().message);
    return 2;
  }
  floe::ServeOptions options = floe::testing::TestServerOptions().serve;
  options.http.port = static_cast<uint16_t>(port);
  if (!key.empty()) options.api_keys = {key};
  options.default_sampling = {};
  options.on_listening = [](const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) fmt::print("http://{}\n", address);
    std::fflush(stdout);
  };
  const floe::Result<int> code =
      floe::run_server(options, [&]() -> floe::Result<floe::ServedModel> {
        floe::ServedModel served;
        served.name = "fake";
        served.file_name = "fake.gguf";
        served.tokenizer = floe::testing::make_byte_tokenizer(true);
        FLOE_TRY(served.chat_template, floe::ChatTemplate::load({}, *served.tokenizer));
        served.answer_format = floe::detect_answer_format({}, *served.tokenizer);
        auto resources = std::make_shared<Resources>();
        floe::FakeModelOptions model;
        model.n_vocab = static_cast<uint32_t>(served.tokenizer->n_vocab());
        model.context_length = static_cast<uint32_t>(n_context);
        if (step_us > 0) {
          model.after_forward = [step_us](size_t) {
            std::this_thread::sleep_for(std::chrono::microseconds(step_us));
          };
        }
        resources->model = std::make_unique<floe::FakeModel>(model);
        served.info = resources->model->info();
        floe::EngineOptions engine_options;
        engine_options.max_sequences = static_cast<uint32_t>(n_slots);
        engine_options.max_waiting = 4096;
        engine_options.max_context = static_cast<uint32_t>(n_context);
        served.n_slots = engine_options.max_sequences;
        FLOE_TRY(auto engine,
                 floe::Engine::create(engine_options, *resources->model, resources->clock));
        served.engine = std::make_unique<floe::EngineThread>(std::move(engine), resources->clock);
        served.resources = resources;
        return served;
      });
  if (!code.ok()) {
    fmt::print(stderr, "{}\n", code.error().message);
    return floe::exit_code(code.error().kind);
  }
  return *code;
}

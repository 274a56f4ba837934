#include "server/serve.h"

#include <malloc.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/exception_error.h"
#include "base/log.h"
#include "server/access.h"
#include "server/routes.h"
#include "server/sandbox.h"
#include "server/service_manager.h"

namespace floe {
namespace {

constexpr std::chrono::milliseconds kDrainPoll{10};
constexpr std::chrono::milliseconds kFlushGrace{
    2'000};  // for last bytes after the drain's deadline

Result<void> check_exposure(const ServeOptions& options) {
  if (!options.api_keys.empty() || options.insecure) return {};
  for (const std::string& host : options.http.hosts) {
    if (!is_loopback_host(host)) {
      return usage_error(
          "--host {}: this address is open to other machines; expected --api-key, or --insecure to "
          "allow it",
          host);
    }
  }
  return {};
}

// The life of one run: loading, serving, draining. Its members run on the I/O thread unless marked.
class Run {
 public:
  Run(const ServeOptions& options, Service& service, HttpServer& server,
      const ServiceManager& manager)
      : options_(options), service_(service), server_(server), manager_(manager) {}

  void on_signal(int number) {
    if (number == SIGHUP && options_.read_keys) return read_keys();
    if (draining_) {
      std::fputs("floe: second signal, ending at once\n", stderr);
      std::_Exit(1);
    }
    draining_ = true;
    if (!service_.ready()) {
      // A load cannot be interrupted, and nothing is lost by leaving it.
      std::fflush(nullptr);
      std::_Exit(0);
    }
    manager_.tell("STOPPING=1");
    spdlog::info("draining: running requests may take {} s",
                 std::chrono::duration<double>(options_.drain).count());
    service_.begin_drain();
    server_.close_listeners();
    deadline_ = std::chrono::steady_clock::now() + options_.drain;
    service_.engine()->begin_drain(
        std::chrono::duration_cast<std::chrono::nanoseconds>(deadline_.time_since_epoch()).count());
    poll_drain();
  }

 private:
  // Faulty files change nothing: a server without its keys would let nobody in, or everybody.
  void read_keys() {
    const Result<std::vector<std::string>> keys = options_.read_keys();
    if (keys.ok()) {
      service_.set_keys(*keys);
      spdlog::info("{} keys read", keys->size());
    } else {
      spdlog::error("{}: the keys stay as they were", keys.error().message);
    }
  }

  void poll_drain() {
    const bool flushed = server_.counters().n_active == 0;
    if ((service_.engine()->drained() && flushed) ||
        std::chrono::steady_clock::now() > deadline_ + kFlushGrace) {
      return server_.stop();
    }
    server_.post_after(kDrainPoll, [this] { poll_drain(); });
  }

  const ServeOptions& options_;
  Service& service_;
  HttpServer& server_;
  const ServiceManager& manager_;
  bool draining_ = false;
  std::chrono::steady_clock::time_point deadline_;
};

void report(SandboxState state) {
  if (state == SandboxState::on) {
    spdlog::info("sandboxed: no new programs, connections or files");
  } else {
    spdlog::warn("not sandboxed: this system has no filter of system calls");
  }
}

// Bodies and what is made of them come and go by megabytes: such pieces go back to the system at
// once. Without this the allocator learns from the first one to keep them.
void give_memory_back() {
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

}  // namespace

Result<int> run_server(const ServeOptions& options, std::function<Result<ServedModel>()> load) {
  FLOE_TRY_VOID(check_exposure(options));
  std::signal(SIGPIPE, SIG_IGN);
  give_memory_back();
  Service service(options);
  HttpServer server(options.http, service);
  service.attach(server);
  FLOE_TRY_VOID(server.listen());
  if (options.on_listening) options.on_listening(server.addresses());

  const ServiceManager manager;
  manager.tell("STATUS=loading the model");
  Run run(options, service, server, manager);
  server.on_signals({SIGTERM, SIGINT, SIGHUP}, [&run](int number) { run.on_signal(number); });

  std::optional<Error> load_error;
  std::jthread loader([&] {
    try {
      Result<ServedModel> model = load();
      if (model.ok()) {
        service.set_model(std::move(*model));
        if (options.sandbox) report(enter_sandbox());
        manager.tell("READY=1\nSTATUS=serving");
        if (options.on_ready) server.post(options.on_ready);
        return;
      }
      load_error = model.error();
    } catch (...) {
      load_error = error_of_exception();
    }
    server.stop();
  });
  server.run();
  loader.join();
  service.stop();
  if (load_error) return *load_error;
  return 0;
}

namespace {

bool is_key(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

}  // namespace

Result<std::vector<std::string>> parse_api_keys(std::string_view list) {
  std::vector<std::string> keys;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view key = list.substr(begin, end - begin);
    begin = end + 1;
    if (key.empty()) continue;
    if (!is_key(key)) return usage_error("--api-key: expected printable ASCII without blanks");
    keys.emplace_back(key);
  }
  if (keys.empty()) {
    return usage_error("--api-key: expected a key, found none: everybody would be let in");
  }
  return keys;
}

Result<std::vector<std::string>> read_api_key_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return usage_error("--api-key-file {}: cannot be read", path);
  std::vector<std::string> keys;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    if (!is_key(line)) {
      return usage_error("--api-key-file {}: line {}: expected printable ASCII without blanks",
                         path, number);
    }
    keys.push_back(line);
  }
  // No key means that everybody is let in: not what a file of keys was given for.
  if (keys.empty()) return usage_error("--api-key-file {}: holds no key", path);
  return keys;
}

}  // namespace floe

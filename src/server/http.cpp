#include "server/http.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <iterator>
#include <new>
#include <thread>
#include <utility>

#include "base/log.h"
#include "server/http_session.h"

namespace floe {

namespace {

constexpr std::chrono::milliseconds kTick{50};
constexpr std::chrono::milliseconds kAcceptBackOff{50};
constexpr int kSendBufferBytes = 256 << 10;  // keeps what a slow reader can hold back small
constexpr int kBacklog = 1024;
constexpr size_t kOtherDescriptors = 64;  // kept for files, pipes and whatever a library opens

std::string endpoint_text(const Tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                    : fmt::format("{}:{}", address, endpoint.port());
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpServerOptions options, HttpHandler& handler)
      : shared(options, handler), ticker_(shared.io), signals_(shared.io) {
    spare_descriptor_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  }

  ~Impl() {
    // Sessions refer to the shared state; pending operations refer to the sessions.
    for (const auto& session : std::vector(shared.sessions.begin(), shared.sessions.end())) {
      session->close();
    }
    listeners_.clear();
    if (spare_descriptor_ >= 0) ::close(spare_descriptor_);
  }

  void run() {
    for (;;) {
      try {
        shared.io.run();
        return;
      } catch (const std::bad_alloc&) {
      }
      // The handler that threw is gone; whatever it was about ends by its deadline.
      while (!shared.io.stopped()) {
        try {
          restart();
          break;
        } catch (const std::bad_alloc&) {
          std::this_thread::sleep_for(kTick);
        }
      }
    }
  }

  Result<void> listen() {
    fit_to_descriptors();
    uint16_t port = shared.options.port;
    for (const std::string& host : shared.options.hosts) {
      std::vector<asio::ip::address> found;
      boost::system::error_code error;
      if (const auto literal = asio::ip::make_address(host, error); !error) {
        found.push_back(literal);
      } else {
        Tcp::resolver resolver(shared.io);
        const auto results = resolver.resolve(host, "", Tcp::resolver::passive, error);
        if (error) return make_error(ErrorKind::runtime, "--host {}: {}", host, error.message());
        for (const auto& entry : results) found.push_back(entry.endpoint().address());
      }
      for (const asio::ip::address& address : found) {
        FLOE_TRY_VOID(listen_on(Tcp::endpoint(address, port)));
        port = listeners_.back()->acceptor.local_endpoint().port();
      }
    }
    port_ = port;
    for (const auto& listener : listeners_) accept(*listener);
    tick();
    return {};
  }

  void close_listeners() {
    shared.draining = true;
    boost::system::error_code ignored;
    for (const auto& listener : listeners_) {
      listener->acceptor.close(ignored);
      listener->back_off.cancel();
    }
    for (const auto& session : std::vector(shared.sessions.begin(), shared.sessions.end())) {
      session->begin_drain();
    }
  }

  void wait_signal() {
    signals_.async_wait([this](const boost::system::error_code& error, int number) {
      if (error) return;
      // Armed again first: the callback may end the process on a second signal.
      wait_signal();
      on_signal_(number);
    });
  }

  void on_signals(std::vector<int> numbers, std::function<void(int)> callback) {
    on_signal_ = std::move(callback);
    for (const int number : numbers) signals_.add(number);
    wait_signal();
  }

  HttpShared shared;
  uint16_t port_ = 0;
  std::vector<std::string> addresses_;

 private:
  // Every connection needs a descriptor, and the model's files and the system's own need some too.
  void fit_to_descriptors() {
    HttpServerOptions& o = shared.options;
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    std::error_code ignored;
    size_t n_open = 0;
    for (std::filesystem::directory_iterator at("/proc/self/fd", ignored), end;
         !ignored && at != end; at.increment(ignored)) {
      ++n_open;
    }
    const size_t n_others = n_open + kOtherDescriptors + o.n_reserved_connections;
    const rlim_t wanted = n_others + o.n_connections;
    if (limit.rlim_cur < wanted) {
      limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
      setrlimit(RLIMIT_NOFILE, &limit);
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= wanted) return;
    o.n_connections = limit.rlim_cur > n_others ? limit.rlim_cur - n_others : 1;
    spdlog::warn("at most {} connections: the limit of open files is {} (ulimit -n)",
                 o.n_connections, limit.rlim_cur);
  }

  struct Listener {
    explicit Listener(asio::io_context& io) : acceptor(io), back_off(io) {}
    Tcp::acceptor acceptor;
    asio::steady_timer back_off;
  };

  // What every other handler hangs from is started anew: any of it may have been lost to a failed
  // allocation, also inside the library.
  void restart() {
    boost::system::error_code ignored;
    for (const auto& listener : listeners_) {
      if (!listener->acceptor.is_open()) continue;
      listener->acceptor.cancel(ignored);
      listener->back_off.cancel();
      accept(*listener);
    }
    tick();
    if (on_signal_) {
      signals_.cancel(ignored);
      wait_signal();
    }
  }

  Result<void> listen_on(const Tcp::endpoint& endpoint) {
    auto listener = std::make_unique<Listener>(shared.io);
    boost::system::error_code error;
    Tcp::acceptor& acceptor = listener->acceptor;
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
    if (!error && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(kBacklog, error);
    if (error) {
      return make_error(ErrorKind::runtime, "cannot listen on {}: {}", endpoint_text(endpoint),
                        error.message());
    }
    acceptor.non_blocking(true, error);
    addresses_.push_back(endpoint_text(acceptor.local_endpoint()));
    listeners_.push_back(std::move(listener));
    return {};
  }

  void accept(Listener& listener) {
    listener.acceptor.async_accept(
        [this, &listener](const boost::system::error_code& error, Tcp::socket socket) {
          if (error == asio::error::operation_aborted || !listener.acceptor.is_open()) return;
          if (error) return back_off(listener, error);
          accept(listener);  // first, because the rest may throw
          on_connection(std::move(socket));
        });
  }

  // Out of descriptors: another connection gives way. Where none can, answering with a reset beats
  // leaving the client to wait, and waiting beats a loop that spins on an error.
  void back_off(Listener& listener, const boost::system::error_code& error) {
    if (error == asio::error::no_descriptors && make_room()) return accept(listener);
    if (error == asio::error::no_descriptors && spare_descriptor_ >= 0) {
      ::close(spare_descriptor_);
      const int refused = ::accept4(listener.acceptor.native_handle(), nullptr, nullptr,
                                    SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (refused >= 0) ::close(refused);
      spare_descriptor_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      shared.n_refused.fetch_add(1, std::memory_order_relaxed);
    }
    listener.back_off.expires_after(kAcceptBackOff);
    listener.back_off.async_wait([this, &listener](const boost::system::error_code& cancelled) {
      if (!cancelled && listener.acceptor.is_open()) accept(listener);
    });
  }

  void on_connection(Tcp::socket socket) {
    shared.n_accepted.fetch_add(1, std::memory_order_relaxed);
    boost::system::error_code ignored;
    socket.non_blocking(true, ignored);
    socket.set_option(Tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), ignored);
    const HttpServerOptions& o = shared.options;
    size_t n_open = shared.sessions.size();
    if (n_open >= o.n_connections + o.n_reserved_connections && !make_room()) {
      shared.n_refused.fetch_add(1, std::memory_order_relaxed);
      HttpResponse response = shared.handler.failure(503, "Too many connections");
      response.close = true;
      socket.write_some(asio::buffer(response_text(response, false, false, false)), ignored);
      return;
    }
    std::make_shared<HttpSession>(shared, std::move(socket), n_open >= o.n_connections)->start();
  }

  // Ends one connection for the sake of a new one: of those in the reserve the one that has waited
  // longest, else of the others one that is idle. Whoever only holds connections open can so never
  // keep a health check out. False: everybody is busy.
  bool make_room() {
    std::shared_ptr<HttpSession> oldest;
    const auto comes_first = [](const HttpSession& a, const HttpSession& b) {
      if (a.reserved() != b.reserved()) return a.reserved();
      if (a.answering() != b.answering()) return b.answering();
      return a.phase_began() < b.phase_began();
    };
    for (const auto& session : shared.sessions) {
      if (!session->reserved() && !session->idle()) continue;
      if (oldest == nullptr || comes_first(*session, *oldest)) oldest = session;
    }
    if (oldest == nullptr) return false;
    shared.n_refused.fetch_add(1, std::memory_order_relaxed);
    oldest->give_way();
    return true;
  }

  void tick() {
    ticker_.expires_after(kTick);
    ticker_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      tick();  // first, because the rest may throw
      const HttpTime now = std::chrono::steady_clock::now();
      for (const auto& session : std::vector(shared.sessions.begin(), shared.sessions.end())) {
        session->tick(now);
      }
    });
  }

  std::vector<std::unique_ptr<Listener>> listeners_;
  asio::steady_timer ticker_;
  asio::signal_set signals_;
  std::function<void(int)> on_signal_;
  int spare_descriptor_ = -1;
};

HttpServer::HttpServer(HttpServerOptions options, HttpHandler& handler)
    : impl_(std::make_unique<Impl>(std::move(options), handler)) {}

HttpServer::~HttpServer() = default;

Result<void> HttpServer::listen() {
  return impl_->listen();
}

uint16_t HttpServer::port() const {
  return impl_->port_;
}

const std::vector<std::string>& HttpServer::addresses() const {
  return impl_->addresses_;
}

void HttpServer::run() {
  impl_->run();
}

void HttpServer::stop() {
  impl_->shared.io.stop();
}

void HttpServer::close_listeners() {
  asio::post(impl_->shared.io, [impl = impl_.get()] { impl->close_listeners(); });
}

void HttpServer::post(std::function<void()> task) {
  asio::post(impl_->shared.io, std::move(task));
}

void HttpServer::post_after(std::chrono::milliseconds delay, std::function<void()> task) {
  asio::post(impl_->shared.io, [impl = impl_.get(), delay, task = std::move(task)] {
    auto timer = std::make_shared<asio::steady_timer>(impl->shared.io, delay);
    timer->async_wait([timer, task](const boost::system::error_code& error) {
      if (!error) task();
    });
  });
}

void HttpServer::on_signals(std::vector<int> signals, std::function<void(int)> callback) {
  impl_->on_signals(std::move(signals), std::move(callback));
}

HttpCounters HttpServer::counters() const {
  const HttpShared& s = impl_->shared;
  HttpCounters c;
  c.n_accepted = s.n_accepted.load(std::memory_order_relaxed);
  c.n_open = s.n_open.load(std::memory_order_relaxed);
  c.n_refused = s.n_refused.load(std::memory_order_relaxed);
  c.n_requests = s.n_requests.load(std::memory_order_relaxed);
  c.n_active = s.n_active.load(std::memory_order_relaxed);
  c.n_timeouts = s.n_timeouts.load(std::memory_order_relaxed);
  c.n_disconnects = s.n_disconnects.load(std::memory_order_relaxed);
  c.n_bad_requests = s.n_bad_requests.load(std::memory_order_relaxed);
  c.body_bytes = s.body_bytes->load(std::memory_order_relaxed);
  return c;
}

}  // namespace floe

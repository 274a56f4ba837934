#include "lab/serve_bench.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/json.h"
#include "base/progress.h"
#include "base/terminal_text.h"
#include "lab/event_stream.h"

namespace floe {

namespace {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxAnswerBytes = size_t{256} << 20;
constexpr size_t kMaxErrorText = 200;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One request on a connection of its own, so that connections are part of what is measured alike
// for every server.
class Connection {
 public:
  ~Connection() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Result<void> open(const ServerUrl& url, double timeout_seconds) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int status = getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &found);
    if (status != 0) {
      return make_error(ErrorKind::runtime, "{}: {}", escape_for_terminal(url.host),
                        gai_strerror(status));
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
    int fault = 0;
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
      descriptor_ = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
      if (descriptor_ < 0) {
        fault = errno;
        continue;
      }
      timeval limit{};
      limit.tv_sec = static_cast<time_t>(timeout_seconds);
      limit.tv_usec =
          static_cast<suseconds_t>((timeout_seconds - std::floor(timeout_seconds)) * 1e6);
      setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      if (connect(descriptor_, at->ai_addr, at->ai_addrlen) == 0) return {};
      fault = errno;
      close(std::exchange(descriptor_, -1));
    }
    return make_error(ErrorKind::runtime, "{}:{}: {}", escape_for_terminal(url.host),
                      escape_for_terminal(url.port), std::strerror(fault));
  }

  Result<void> send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return make_error(ErrorKind::runtime, "sending: {}", std::strerror(errno));
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }

  // 0: the peer closed.
  Result<size_t> receive(char* out, size_t size) {
    while (true) {
      const ssize_t n = recv(descriptor_, out, size, 0);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return make_error(ErrorKind::runtime, "no answer within the time limit");
      }
      return make_error(ErrorKind::runtime, "receiving: {}", std::strerror(errno));
    }
  }

 private:
  int descriptor_ = -1;
};

std::string request_text(const ServeBenchOptions& options, std::string_view method,
                         std::string_view path, const std::string& body) {
  const ServerUrl& url = options.url;
  const bool is_ipv6 = url.host.find(':') != std::string::npos;
  std::string text =
      fmt::format("{} {}{} HTTP/1.1\r\nHost: {}{}{}:{}\r\nConnection: close\r\n", method, url.path,
                  path, is_ipv6 ? "[" : "", url.host, is_ipv6 ? "]" : "", url.port);
  if (!options.api_key.empty()) text += "Authorization: Bearer " + options.api_key + "\r\n";
  if (!body.empty()) {
    text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  }
  return text + "\r\n" + body;
}

// What the server says of a failure: the message of an error object, or the beginning of the body.
std::string failure_text(unsigned status, const std::string& body) {
  std::string said = body;
  if (const Result<Json> json = parse_json(body); json.ok() && json->is_object()) {
    const Json error = json->value("error", Json());
    if (error.is_object() && error.contains("message") && error["message"].is_string()) {
      said = error["message"].get<std::string>();
    }
  }
  return fmt::format("status {}: {}", status, escape_for_terminal(said, kMaxErrorText));
}

// Sends a request and gives the pieces of the answer's body as they come, of an answer with status
// 200. The error says what the server said instead.
Result<void> exchange(const ServeBenchOptions& options, const std::string& request,
                      const std::function<bool(std::string_view)>& on_body) {
  Connection connection;
  FLOE_TRY_VOID(connection.open(options.url, options.timeout_seconds));
  FLOE_TRY_VOID(connection.send_all(request));
  http::response_parser<http::string_body> parser;
  parser.eager(true);
  parser.body_limit(kMaxAnswerBytes);
  std::string pending;  // received, and not yet taken by the parser
  std::string failure;
  char bytes[16384];
  while (!parser.is_done()) {
    FLOE_TRY(const size_t n, connection.receive(bytes, sizeof bytes));
    boost::beast::error_code fault;
    if (n == 0) {
      if (parser.got_some()) parser.put_eof(fault);
      if (fault || !parser.is_done()) {
        return make_error(ErrorKind::runtime, "the connection ended within the answer");
      }
    } else {
      pending.append(bytes, n);
      while (!pending.empty() && !parser.is_done()) {
        const size_t taken =
            parser.put(boost::asio::const_buffer(pending.data(), pending.size()), fault);
        pending.erase(0, taken);
        if (fault == http::error::need_more) break;
        if (fault) {
          return make_error(ErrorKind::runtime, "no HTTP answer: {}", fault.message());
        }
        if (taken == 0) break;
      }
    }
    if (!parser.is_header_done()) continue;
    const std::string body = std::exchange(parser.get().body(), {});
    if (parser.get().result_int() != 200) {
      failure += body.substr(0, 65536 - std::min<size_t>(failure.size(), 65536));
    } else if (!body.empty() && !on_body(body)) {
      return make_error(ErrorKind::runtime, "an event of the answer is too long");
    }
  }
  if (parser.get().result_int() == 200) return {};
  return make_error(ErrorKind::runtime, "{}", failure_text(parser.get().result_int(), failure));
}

uint64_t count_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

// Whether an event brings text, of whatever kind.
bool brings_text(const Json& event) {
  const auto choices = event.find("choices");
  if (choices == event.end() || !choices->is_array() || choices->empty()) return false;
  const Json& choice = choices->front();
  if (!choice.is_object()) return false;
  const auto is_text = [](const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() &&
           !found->get_ref<const std::string&>().empty();
  };
  if (is_text(choice, "text")) return true;
  const auto delta = choice.find("delta");
  if (delta == choice.end() || !delta->is_object()) return false;
  return is_text(*delta, "content") || is_text(*delta, "reasoning_content") ||
         is_text(*delta, "reasoning") || delta->contains("tool_calls");
}

std::string body_of(const ServeBenchOptions& options, const std::string& prompt) {
  Json body;
  body["model"] = options.model;
  if (options.chat) {
    body["messages"] = Json::array({Json{{"role", "user"}, {"content", prompt}}});
  } else {
    body["prompt"] = prompt;
  }
  body["max_tokens"] = options.max_tokens;
  body["temperature"] = 0;
  body["stream"] = true;
  body["stream_options"] = Json{{"include_usage", true}};
  if (options.ignore_eos) body["ignore_eos"] = true;
  return dump_json(body);
}

ServedRequest serve_one(const ServeBenchOptions& options, const std::string& prompt) {
  ServedRequest served;
  const std::string request =
      request_text(options, "POST", options.chat ? "/v1/chat/completions" : "/v1/completions",
                   body_of(options, prompt));
  EventStream events;
  uint64_t n_pieces = 0;
  double last_seconds = 0;
  bool ended = false;
  const Clock::time_point start = Clock::now();
  const auto on_data = [&](std::string_view data) {
    if (data == "[DONE]") {
      ended = true;
      return;
    }
    const Result<Json> event = parse_json(data);
    if (!event.ok() || !event->is_object()) return;
    if (const auto error = event->find("error"); error != event->end() && !error->is_null()) {
      served.error = failure_text(200, std::string(data));
      return;
    }
    if (const auto usage = event->find("usage"); usage != event->end() && usage->is_object()) {
      served.n_tokens = count_of(*usage, "completion_tokens");
      served.n_prompt_tokens = count_of(*usage, "prompt_tokens");
      const auto details = usage->find("prompt_tokens_details");
      if (details != usage->end() && details->is_object()) {
        served.n_cached_tokens = count_of(*details, "cached_tokens");
      }
    }
    if (!brings_text(*event)) return;
    const double now = seconds_since(start);
    if (n_pieces == 0) served.first_seconds = now;
    if (n_pieces != 0) served.gap_seconds.push_back(now - last_seconds);
    last_seconds = now;
    ++n_pieces;
  };
  const Result<void> done =
      exchange(options, request, [&](std::string_view body) { return events.push(body, on_data); });
  served.total_seconds = seconds_since(start);
  if (served.n_tokens == 0) served.n_tokens = n_pieces;
  if (!done.ok()) {
    served.error = done.error().message;
  } else if (served.error.empty() && !ended) {
    served.error = "the stream ended without [DONE]";
  } else if (served.error.empty() && n_pieces == 0) {
    served.error = "an answer without text";
  }
  return served;
}

Result<std::string> first_model(const ServeBenchOptions& options) {
  std::string body;
  FLOE_TRY_VOID(exchange(options, request_text(options, "GET", "/v1/models", ""),
                         [&](std::string_view bytes) {
                           body += bytes;
                           return body.size() <= (size_t{1} << 20);
                         }));
  const Result<Json> json = parse_json(body);
  if (json.ok() && json->is_object() && json->contains("data")) {
    const Json& data = (*json)["data"];
    if (data.is_array() && !data.empty() && data[0].is_object() && data[0].contains("id") &&
        data[0]["id"].is_string()) {
      return data[0]["id"].get<std::string>();
    }
  }
  return make_error(ErrorKind::runtime, "/v1/models names no model: name it with --model");
}

std::string prompt_of(const ServeBenchOptions& options, uint64_t number) {
  if (options.same_prompt) return options.prompts.front();
  return fmt::format("Request {}.\n{}", number, options.prompts[number % options.prompts.size()]);
}

// first_number: of the row's first request; no two requests of a run have one number.
ServeBenchRow run_row(const ServeBenchOptions& options, uint32_t n_at_once, uint64_t first_number,
                      Progress& progress) {
  ServeBenchRow row;
  row.n_at_once = n_at_once;
  row.requests.resize(std::max(options.n_requests, n_at_once));
  std::atomic<size_t> next{0};
  const Clock::time_point start = Clock::now();
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < n_at_once; ++i) {
    clients.emplace_back([&] {
      for (size_t at = next++; at < row.requests.size(); at = next++) {
        row.requests[at] = serve_one(options, prompt_of(options, first_number + at));
        progress.advance(1);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  row.seconds = seconds_since(start);
  return row;
}

}  // namespace

Result<ServerUrl> ServerUrl::parse(std::string_view url) {
  const std::string shown = escape_for_terminal(url);
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    return usage_error("--url: expected http://HOST[:PORT], found {} (https: through a proxy)",
                       shown);
  }
  std::string_view rest = url.substr(kScheme.size());
  ServerUrl out;
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with("/v1")) path.remove_suffix(3);
  out.path = path;
  size_t colon = authority.rfind(':');
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == authority.npos) return usage_error("--url: expected a host, found {}", shown);
    out.host = authority.substr(1, bracket - 1);
    colon = authority.find(':', bracket);
  } else {
    out.host = authority.substr(0, colon);
  }
  out.port = colon == authority.npos ? "80" : std::string(authority.substr(colon + 1));
  const bool port_is_number = !out.port.empty() && out.port.size() <= 5 &&
                              out.port.find_first_not_of("0123456789") == std::string::npos;
  const bool has_odd_character = std::any_of(url.begin(), url.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || c == 0x7F;
  });
  if (out.host.empty() || !port_is_number || has_odd_character ||
      url.find_first_of("@?#") != url.npos) {
    return usage_error("--url: expected http://HOST[:PORT][/PATH], found {}", shown);
  }
  return out;
}

double quantile(std::vector<double> values, double fraction) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(fraction * static_cast<double>(values.size()));
  const size_t at = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  return values[std::min(at, values.size() - 1)];
}

uint32_t ServeBenchRow::n_failed() const {
  return static_cast<uint32_t>(std::count_if(requests.begin(), requests.end(),
                                             [](const auto& one) { return !one.error.empty(); }));
}

uint64_t ServeBenchRow::n_tokens() const {
  uint64_t n = 0;
  for (const ServedRequest& one : requests) n += one.n_tokens;
  return n;
}

uint64_t ServeBenchRow::n_prompt_tokens() const {
  uint64_t n = 0;
  for (const ServedRequest& one : requests) n += one.n_prompt_tokens;
  return n;
}

uint64_t ServeBenchRow::n_cached_tokens() const {
  uint64_t n = 0;
  for (const ServedRequest& one : requests) n += one.n_cached_tokens;
  return n;
}

double ServeBenchRow::first_seconds(double fraction) const {
  std::vector<double> values;
  for (const ServedRequest& one : requests) {
    if (one.error.empty()) values.push_back(one.first_seconds);
  }
  return quantile(std::move(values), fraction);
}

double ServeBenchRow::gap_seconds(double fraction) const {
  std::vector<double> values;
  for (const ServedRequest& one : requests) {
    if (one.error.empty()) {
      values.insert(values.end(), one.gap_seconds.begin(), one.gap_seconds.end());
    }
  }
  return quantile(std::move(values), fraction);
}

Result<ServeBenchReport> run_serve_bench(const ServeBenchOptions& given) {
  ServeBenchOptions options = given;
  if (options.model.empty()) {
    FLOE_TRY(options.model, first_model(options));
  }
  ServeBenchReport report;
  report.url = fmt::format("{}:{}{}", options.url.host, options.url.port, options.url.path);
  report.model = options.model;
  report.max_tokens = options.max_tokens;
  report.same_prompt = options.same_prompt;
  uint64_t number = 0;
  // The first request may wait for what a server does once.
  const ServedRequest first = serve_one(options, prompt_of(options, number++));
  if (!first.error.empty()) return make_error(ErrorKind::runtime, "{}", first.error);
  uint64_t n_requests = 0;
  for (const uint32_t n : options.n_at_once) n_requests += std::max(options.n_requests, n);
  Progress progress("requests", n_requests, Progress::Unit::items, options.show_progress);
  for (const uint32_t n : options.n_at_once) {
    report.rows.push_back(run_row(options, n, number, progress));
    number += report.rows.back().requests.size();
  }
  return report;
}

}  // namespace floe

#include "server/test_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "chat/response_stream.h"
#include "server/raw_cases.h"
#include "text/unicode.h"

namespace floe::testing {
namespace {

constexpr std::chrono::seconds kPatience{FLOE_SLOW_BUILD ? 120 : 20};

// The visible character that stands for a byte in byte-level vocabularies.
std::string byte_symbol(int byte) {
  const auto printable = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
  };
  uint32_t codepoint = static_cast<uint32_t>(byte);
  if (!printable(byte)) {
    codepoint = 256;
    for (int b = 0; b < byte; ++b) codepoint += printable(b) ? 0 : 1;
  }
  std::string out;
  append_utf8(out, codepoint);
  return out;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::string Response::field(std::string_view lower_name) const {
  for (const HttpField& f : fields) {
    if (f.name == lower_name) return f.value;
  }
  return {};
}

Json Response::json() const {
  Result<Json> parsed = parse_json(body);
  return parsed.ok() ? *parsed : Json(Json::value_t::discarded);
}

RawClient::RawClient(uint16_t port, int receive_buffer_bytes) {
  descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer_bytes > 0) {
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes,
                 sizeof receive_buffer_bytes);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
}

RawClient::~RawClient() {
  close();
}

void RawClient::close() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

void RawClient::reset() {
  const linger now{1, 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

void RawClient::half_close() {
  ::shutdown(descriptor_, SHUT_WR);
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool RawClient::fill(std::chrono::steady_clock::time_point deadline) {
  if (descriptor_ < 0) return false;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd entry{descriptor_, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&entry, 1, static_cast<int>(left.count())) <= 0) return false;
    char bytes[16384];
    const ssize_t n = ::recv(descriptor_, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      close();
      return false;
    }
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }
}

bool RawClient::read_until(std::string_view text) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (buffer_.find(text) == std::string::npos) {
    if (!fill(deadline)) return false;
  }
  return true;
}

bool RawClient::wait_closed(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (fill(deadline)) {
  }
  return descriptor_ < 0;
}

Response RawClient::read_response(bool head_only) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  Response response;
  size_t head_end = 0;
  while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill(deadline)) return response;
  }
  const std::string head = buffer_.substr(0, head_end + 2);
  buffer_.erase(0, head_end + 4);
  size_t line_end = head.find("\r\n");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 ") || head.starts_with("HTTP/1.0 ")) << head;
  response.status = std::atoi(head.substr(9, 3).c_str());
  for (size_t at = line_end + 2; at < head.size(); at = line_end + 2) {
    line_end = head.find("\r\n", at);
    const std::string line = head.substr(at, line_end - at);
    const size_t colon = line.find(": ");
    response.fields.push_back({lower(line.substr(0, colon)), line.substr(colon + 2)});
  }
  if (response.status == 100) return read_response(head_only);
  if (head_only || response.status == 204 || response.status == 304) {
    response.complete = true;
    return response;
  }
  if (response.field("transfer-encoding") == "chunked") {
    for (;;) {
      size_t end = 0;
      while ((end = buffer_.find("\r\n")) == std::string::npos) {
        if (!fill(deadline)) return response;
      }
      const size_t n = std::strtoul(buffer_.c_str(), nullptr, 16);
      while (buffer_.size() < end + 2 + n + 2) {
        if (!fill(deadline)) return response;
      }
      response.body += buffer_.substr(end + 2, n);
      EXPECT_EQ(buffer_.substr(end + 2 + n, 2), "\r\n");
      buffer_.erase(0, end + 2 + n + 2);
      if (n == 0) break;
    }
    response.complete = true;
    return response;
  }
  if (const std::string length = response.field("content-length"); !length.empty()) {
    const size_t n = std::strtoul(length.c_str(), nullptr, 10);
    while (buffer_.size() < n) {
      if (!fill(deadline)) return response;
    }
    response.body = buffer_.substr(0, n);
    buffer_.erase(0, n);
    response.complete = true;
    return response;
  }
  while (fill(deadline)) {
  }
  response.body = std::exchange(buffer_, {});
  response.complete = descriptor_ < 0;
  return response;
}

std::unique_ptr<const Tokenizer> make_byte_tokenizer(bool chat) {
  Vocabulary vocabulary;
  vocabulary.source = "test";
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  const auto add = [&](std::string text, TokenType type) {
    vocabulary.tokens.push_back(std::move(text));
    vocabulary.types.push_back(type);
    return static_cast<int32_t>(vocabulary.tokens.size()) - 1;
  };
  for (int byte = 0; byte < 256; ++byte) add(byte_symbol(byte), TokenType::normal);
  vocabulary.eos_id = add("<|endoftext|>", TokenType::control);
  if (chat) {
    add("<|im_start|>", TokenType::control);
    vocabulary.eot_id = add("<|im_end|>", TokenType::control);
    add("<think>", TokenType::user_defined);
    add("</think>", TokenType::user_defined);
    add("<tool_call>", TokenType::user_defined);
    add("</tool_call>", TokenType::user_defined);
  }
  auto tokenizer = Tokenizer::build(std::move(vocabulary));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(tokenizer).value();
}

TestServerOptions::TestServerOptions() {
  serve.http.port = 0;
  serve.build_info = "test";
  serve.default_sampling.temperature = 0.0f;
  engine.max_sequences = 8;
  engine.max_context = 2048;
  engine.poison_freed_blocks = true;
  model.context_length = 2048;
}

TestServer::TestServer(TestServerOptions options) : options_(std::move(options)) {
  service_ = std::make_unique<Service>(options_.serve);
  server_ = std::make_unique<HttpServer>(options_.serve.http, *service_);
  service_->attach(*server_);
  const Result<void> listening = server_->listen();
  EXPECT_TRUE(listening.ok()) << listening.error().message;
  if (options_.load) load();
  thread_ = std::thread([this] { server_->run(); });
}

void TestServer::load() {
  ServedModel served;
  served.name = options_.name;
  served.file_name = "fake.gguf";
  served.tokenizer = make_byte_tokenizer(options_.chat);
  tokenizer_ = make_byte_tokenizer(options_.chat);
  options_.model.n_vocab = static_cast<uint32_t>(tokenizer_->n_vocab());
  model_ = std::make_unique<FakeModel>(options_.model);
  served.info = model_->info();
  served.n_slots = options_.engine.max_sequences;
  if (auto chat = ChatTemplate::load({}, *served.tokenizer); chat.ok()) {
    served.chat_template = *chat;
  } else {
    served.chat_off = chat.error().message;
  }
  EXPECT_EQ(served.chat_template.has_value(), options_.chat);
  served.answer_format = detect_answer_format({}, *served.tokenizer);
  auto engine = Engine::create(options_.engine, *model_, clock_);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  served.engine =
      std::make_unique<EngineThread>(std::move(engine).value(), clock_, options_.stall_seconds);
  service_->set_model(std::move(served));
}

TestServer::~TestServer() {
  if (service_->ready()) {
    EXPECT_TRUE(wait_idle()) << "requests or KV blocks are left over";
  }
  server_->stop();
  thread_.join();
  service_->stop();
  if (model_ != nullptr) {
    EXPECT_EQ(model_->violation(), "");
  }
  // Connections refer to the service.
  server_.reset();
}

Response TestServer::request(const std::string& bytes, bool head_only) const {
  RawClient client(port());
  client.send(bytes);
  return client.read_response(head_only);
}

Response TestServer::get(const std::string& path) const {
  return request(get_request(path));
}

Response TestServer::post(const std::string& path, const Json& body) const {
  return request(post_request(path, dump_json(body)));
}

bool TestServer::wait_idle(std::chrono::milliseconds limit) const {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    const EngineStats stats = service_->engine()->stats();
    if (stats.n_running == 0 && stats.n_waiting == 0 && stats.n_kv_blocks_used == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

std::string TestServer::expected_text(const std::vector<int32_t>& prompt,
                                      uint32_t max_tokens) const {
  auto stream = ResponseStream::create(*tokenizer_, plain_text_options(), {});
  EXPECT_TRUE(stream.ok());
  FakeModel::State state;
  uint32_t position = 0;
  for (const int32_t id : prompt) state = model_->next(state, id, position++);
  std::string text;
  for (uint32_t i = 0; i < max_tokens && position < options_.engine.max_context; ++i) {
    const int32_t id = model_->greedy_token(state);
    if (tokenizer_->is_end_of_generation(id)) break;
    text += stream->push(id).content;
    state = model_->next(state, id, position++);
  }
  return text + stream->finish(true).content;
}

std::vector<std::string> sse_data(const std::string& body) {
  std::vector<std::string> events;
  size_t at = 0;
  while (at < body.size()) {
    const size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << "a frame does not end in an empty line";
    if (end == std::string::npos) break;
    const std::string frame = body.substr(at, end - at);
    at = end + 2;
    if (frame.starts_with(":")) continue;
    EXPECT_TRUE(frame.starts_with("data: ")) << frame;
    EXPECT_EQ(frame.find('\n'), std::string::npos) << "a frame of several lines";
    events.push_back(frame.substr(6));
  }
  return events;
}

std::string error_object_fault(const Response& response) {
  if (response.field("content-type") != "application/json; charset=utf-8")
    return "wrong content type";
  const Json body = response.json();
  // Anthropic's shape says of itself what it is, and has no more than a type and a message.
  const bool is_anthropic = body.is_object() && body.value("type", "") == "error";
  if (!body.is_object() || body.size() != (is_anthropic ? 2 : 1) || !body.contains("error")) {
    return "no error object";
  }
  Json error = body["error"];
  if (is_anthropic && error.size() != 2) return "more than a type and a message";
  for (const char* name : {"message", "type", "param", "code"}) {
    if (is_anthropic) error.emplace(name, nullptr);
    if (!error.contains(name)) return std::string("no ") + name;
  }
  if (!error["message"].is_string() || error["message"].get<std::string>().empty())
    return "no message";
  for (const char* name : {"param", "code"}) {
    if (!error[name].is_null() && !error[name].is_string()) {
      return std::string(name) + " is neither a string nor null";
    }
  }
  for (const char* forbidden :
       {"/home", "/usr", "0x", ".cpp", "std::", "nlohmann", "exception", "what()", "passwd"}) {
    if (response.body.find(forbidden) != std::string::npos)
      return std::string("tells ") + forbidden;
  }
  return {};
}

}  // namespace floe::testing

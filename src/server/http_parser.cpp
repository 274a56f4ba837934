#include "server/http_parser.h"

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <limits>

namespace floe {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr size_t kMaxMethodBytes = 16;
constexpr size_t kMaxChunkSizeDigits = 15;
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kMethodBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

bool is_visible(char c) {
  return c > 0x20 && c < 0x7F;
}

// Whether a request line for a path, refused by Beast, names a version in the right form.
bool names_other_version(std::string_view line) {
  const size_t method_end = line.find(' ');
  if (method_end == std::string_view::npos || line[method_end + 1] != '/') return false;
  const std::string_view version =
      line.substr(std::min(line.find(' ', method_end + 1), line.size()));
  return version.size() == 11 && version.starts_with(" HTTP/") && is_digit(version[6]) &&
         version[7] == '.' && is_digit(version[8]);
}

// Beast skips blanks around the parts of a chunk extension; RFC 9112 calls them bad.
bool has_unquoted_blank(std::string_view line) {
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (quoted && line[i] == '\\') ++i;
    if (!quoted && (line[i] == ' ' || line[i] == '\t')) return true;
  }
  return false;
}

}  // namespace

// Writes down what Beast reads.
class HttpParser::Grammar final : public http::basic_parser<true> {
 public:
  explicit Grammar(HttpRequest& request) : request_(request) {
    // HttpParser counts the head itself, to tell 414 from 431, and bounds the body in resume().
    header_limit(std::numeric_limits<uint32_t>::max());
    body_limit(std::numeric_limits<uint64_t>::max());
  }

  bool chunk_is_whole() const { return chunked() && n_chunk_bytes_left_ == 0; }

 private:
  void on_request_impl(http::verb, beast::string_view method, beast::string_view target,
                       int version, beast::error_code&) override {
    request_.method.assign(method.data(), method.size());
    request_.target.assign(target.data(), target.size());
    request_.http_1_0 = version == 10;
  }

  void on_field_impl(http::field field, beast::string_view name, beast::string_view value,
                     beast::error_code& error) override {
    if (is_header_done()) {
      // A trailer is dropped, so it may not be one that has changed Beast's view of the connection.
      if (field == http::field::connection || field == http::field::proxy_connection) {
        error = http::error::bad_field;
      }
      return;
    }
    HttpField& f = request_.fields.emplace_back();
    for (const char c : name)
      f.name.push_back(static_cast<char>(is_upper(c) ? c + ('a' - 'A') : c));
    f.value.assign(value.data(), value.size());
  }

  size_t on_body_impl(beast::string_view bytes, beast::error_code&) override {
    request_.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }

  size_t on_chunk_body_impl(uint64_t n_left, beast::string_view bytes,
                            beast::error_code&) override {
    request_.body.append(bytes.data(), bytes.size());
    n_chunk_bytes_left_ = n_left - bytes.size();
    return bytes.size();
  }

  void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}
  void on_header_impl(beast::error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, beast::error_code&) override {}
  void on_chunk_header_impl(uint64_t, beast::string_view, beast::error_code&) override {}
  void on_finish_impl(beast::error_code&) override {}

  HttpRequest& request_;
  uint64_t n_chunk_bytes_left_ = 0;
};

std::optional<std::string_view> HttpRequest::field(std::string_view name) const {
  for (const HttpField& f : fields) {
    if (f.name == name) return f.value;
  }
  return std::nullopt;
}

size_t HttpRequest::count_fields(std::string_view name) const {
  return static_cast<size_t>(std::count_if(fields.begin(), fields.end(),
                                           [&](const HttpField& f) { return f.name == name; }));
}

HttpParser::HttpParser(const HttpLimits& limits)
    : limits_(limits), grammar_(std::make_unique<Grammar>(request_)) {}

HttpParser::~HttpParser() = default;

void HttpParser::fail(int status, std::string_view reason) {
  stage_ = Stage::failed;
  status_ = status;
  reason_ = reason;
}

void HttpParser::expect(Part part) {
  part_ = part;
  n_part_bytes_ = 0;
}

size_t HttpParser::push(std::string_view bytes) {
  size_t taken = 0;
  while (taken < bytes.size() && (stage_ == Stage::head || stage_ == Stage::body)) {
    if (part_ == Part::data) {
      taken += push_data(bytes.substr(taken));
    } else {
      push_line_byte(bytes[taken++]);
    }
  }
  return taken;
}

size_t HttpParser::push_data(std::string_view bytes) {
  beast::error_code error;
  const size_t taken = grammar_->put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  if (error) {
    fail(400, "The body is not valid: " + error.message());
  } else if (grammar_->is_done()) {
    stage_ = Stage::complete;
  } else if (grammar_->chunk_is_whole()) {
    expect(Part::chunk_end);
  }
  return taken;
}

void HttpParser::push_line_byte(char byte) {
  if (stage_ == Stage::head && ++n_head_bytes_ == 1 && !is_upper(byte) && byte != '\r') {
    not_http_ = byte == 0x16;
    return fail(400, "The request line does not start with a method");
  }
  ++n_part_bytes_;
  switch (part_) {
    case Part::request_line:
      if (n_part_bytes_ > limits_.request_line_bytes)
        return fail(414, "The request line is too long");
      break;
    case Part::fields:
      if (n_part_bytes_ > limits_.header_bytes) return fail(431, "The header fields are too large");
      break;
    case Part::chunk_end:
      if (n_part_bytes_ > 2) return fail(400, "A chunk does not end in CR LF");
      break;
    case Part::chunk_size:
      if (n_part_bytes_ > limits_.chunk_line_bytes) return fail(400, "A chunk header is too long");
      break;
    case Part::trailer:
      if (n_part_bytes_ > limits_.trailer_bytes) return fail(400, "The trailer is too long");
      break;
    case Part::data:
      break;
  }
  const bool starts_line = lines_.size() == line_begin_;
  const bool after_cr = !starts_line && lines_.back() == '\r';
  if (after_cr != (byte == '\n')) return fail(400, "A line does not end in CR LF");
  const bool is_control =
      (byte >= 0 && byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7F;
  if (is_control && !after_cr) return fail(400, "A line holds a byte that is not allowed");
  if (starts_line && (byte == ' ' || byte == '\t'))
    return fail(400, "Folded header fields are not accepted");
  lines_.push_back(byte);
  if (after_cr) finish_line();
}

// Beast is handed whole lines only, so it never sees where the bytes were cut.
void HttpParser::finish_line() {
  const std::string_view line = std::string_view(lines_).substr(line_begin_);
  const bool is_empty = line == "\r\n";
  bool is_last_chunk = false;
  switch (part_) {
    case Part::request_line:
      // One empty line before a request is allowed: some clients end a body with a stray CRLF.
      if (is_empty && n_head_bytes_ == 2) return lines_.clear();
      break;
    case Part::fields:
      if (!is_empty && ++n_fields_ > limits_.n_header_fields) {
        return fail(431, "There are too many header fields");
      }
      break;
    case Part::chunk_end:
      // Beast takes it together with the line that follows.
      line_begin_ = lines_.size();
      return expect(Part::chunk_size);
    case Part::chunk_size: {
      const size_t n_digits = line.find_first_not_of(kHexDigits);
      if (n_digits == 0 || n_digits > kMaxChunkSizeDigits ||
          (line[n_digits] != ';' && line[n_digits] != '\r')) {
        return fail(400, "A chunk size is not valid");
      }
      if (has_unquoted_blank(line)) return fail(400, "A chunk extension holds a blank");
      is_last_chunk = line.find_first_not_of('0') >= n_digits;
      break;
    }
    case Part::trailer:
    case Part::data:
      break;
  }
  const bool other_version = part_ == Part::request_line && names_other_version(line);

  beast::error_code error;
  lines_.erase(0, grammar_->put(boost::asio::buffer(lines_), error));
  line_begin_ = lines_.size();
  if (error == http::error::need_more) {
    // Beast may wait for the empty line that ends the head or the trailer, and for nothing else.
    const bool may_wait = part_ == Part::request_line ? lines_.empty()
                          : part_ == Part::chunk_size ? is_last_chunk
                                                      : !is_empty;
    if (may_wait) error = {};
  }
  if (error == http::error::bad_version && other_version) {
    return fail(505, "Only HTTP/1.1 and HTTP/1.0 are served");
  }
  if (error == http::error::body_limit) return fail(413, "The body is too large");
  if (error) return fail(400, "The request is not valid HTTP/1.1: " + error.message());

  switch (part_) {
    case Part::request_line:
      return finish_request_line();
    case Part::fields:
      if (is_empty) finish_head();
      return;
    case Part::chunk_size:
      return expect(is_last_chunk ? Part::trailer : Part::data);
    case Part::trailer:
      if (is_empty) stage_ = Stage::complete;
      return;
    case Part::chunk_end:
    case Part::data:
      return;
  }
}

void HttpParser::finish_request_line() {
  const std::string& method = request_.method;
  if (method.size() > kMaxMethodBytes || !is_upper(method[0]) ||
      method.find_first_not_of(kMethodBytes) != std::string::npos) {
    return fail(400, "The method is not valid");
  }
  const std::string_view target = request_.target;
  if (target[0] != '/') return fail(400, "The request target must be a path");
  if (std::any_of(target.begin(), target.end(),
                  [](char c) { return !is_visible(c) || c == '#'; })) {
    return fail(400, "The request target holds a byte that is not allowed");
  }
  const size_t question = std::min(target.find('?'), target.size());
  request_.query = std::string(target.substr(std::min(question + 1, target.size())));
  const std::string_view path = target.substr(0, question);
  for (size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%') {
      const std::string digits(path.substr(i + 1, 2));
      if (digits.size() != 2 || digits.find_first_not_of(kHexDigits) != std::string::npos) {
        return fail(400, "The path holds an escape that is not valid");
      }
      c = static_cast<char>(std::stoi(digits, nullptr, 16));
      i += 2;
      // An escaped slash separates nothing: it stays escaped, as a part of a name. A decoded one
      // would make two readers see two different paths. The sign of an escape stays with it, so
      // that the path can still be told apart from one that spells "%2F".
      if (c == '/' || c == '%') {
        request_.path += c == '/' ? "%2F" : "%25";
        continue;
      }
      if ((!is_visible(c) && c != ' ') || c == '\\') {
        return fail(400, "The path holds an escape that is not allowed");
      }
    }
    request_.path.push_back(c);
  }
  expect(Part::fields);
}

void HttpParser::finish_head() {
  const size_t n_hosts = request_.count_fields("host");
  if (n_hosts > 1 || (n_hosts == 0 && !request_.http_1_0)) {
    return fail(400, "A request needs exactly one Host field");
  }
  request_.keep_alive = grammar_->keep_alive();
  bool expects = false;
  for (const HttpField& f : request_.fields) {
    if (f.name == "content-length" && f.value.find_first_not_of(kDigits) != std::string::npos) {
      return fail(400, "Content-Length is not a number");
    }
    if (f.name == "transfer-encoding" &&
        (request_.http_1_0 || !beast::iequals(f.value, "chunked"))) {
      return fail(400, "Only the transfer coding \"chunked\" of HTTP/1.1 is accepted");
    }
    if (f.name == "expect" && !request_.http_1_0) {
      if (expects || !beast::iequals(f.value, "100-continue")) {
        return fail(417, "Only the expectation \"100-continue\" is met");
      }
      expects = true;
    }
    if (f.name == "connection") {
      for (const beast::string_view option : http::opt_token_list{f.value}) {
        if (beast::iequals(option, "close")) request_.keep_alive = false;
      }
    }
  }
  if (request_.count_fields("content-length") > 1) {
    return fail(400, "A request may have one Content-Length field");
  }
  request_.has_body = !grammar_->is_done();
  if (request_.has_body && (request_.method == "GET" || request_.method == "HEAD")) {
    return fail(400, "A GET or HEAD request may not have a body");
  }
  request_.expects_continue = expects && request_.has_body;
  stage_ = Stage::admit;
}

void HttpParser::resume() {
  if (stage_ != Stage::admit) return;
  if (!request_.has_body) {
    stage_ = Stage::complete;
    return;
  }
  if (grammar_->content_length().value_or(0) > limits_.body_bytes)
    return fail(413, "The body is too large");
  grammar_->body_limit(limits_.body_bytes);  // of all chunks together
  stage_ = Stage::body;
  expect(grammar_->chunked() ? Part::chunk_size : Part::data);
}

void HttpParser::next() {
  if (stage_ != Stage::complete) return;
  request_ = {};
  grammar_ = std::make_unique<Grammar>(request_);
  stage_ = Stage::head;
  expect(Part::request_line);
  lines_.clear();
  line_begin_ = n_head_bytes_ = n_fields_ = 0;
}

}  // namespace floe

#pragma once
// Bytes of a connection to HTTP/1.1 requests, with one interpretation only.
//
// Boost.Beast reads the grammar: request line, fields, framing, chunks. It is handed whole lines,
// so the outcome cannot depend on how the bytes were cut into packets. Checked here, because Beast
// is more lenient or does not say: the limits, counted while the bytes arrive; control bytes, bare
// CR or LF and folded fields; methods, targets and escapes; one Content-Length, in plain digits; no
// coding but "chunked", and none in HTTP/1.0; digits and blanks of chunk headers; Host and Expect;
// "close" in HTTP/1.0.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace floe {

struct HttpLimits {
  size_t request_line_bytes = size_t{8} << 10;  // above: 414
  size_t header_bytes = size_t{32} << 10;       // all fields together; above: 431
  size_t n_header_fields = 100;                 // above: 431
  size_t body_bytes = size_t{32} << 20;    // counted as buffered, whatever the framing; above: 413
  size_t chunk_line_bytes = 256;           // size and extensions of one chunk; above: 400
  size_t trailer_bytes = size_t{8} << 10;  // above: 400. Trailers are checked and dropped.
};

struct HttpField {
  std::string name;   // lower case
  std::string value;  // without surrounding blanks; may hold bytes above 0x7F
};

struct HttpRequest {
  std::string method;  // upper case
  std::string target;  // as sent
  std::string path;    // decoded but for %2F and %25; printable ASCII that starts with '/'
  std::string query;   // as sent, without '?'
  std::vector<HttpField> fields;
  std::string body;
  bool http_1_0 = false;
  bool keep_alive = true;
  bool expects_continue = false;
  bool has_body = false;  // by its framing; the body itself may still be empty
  std::string owner;      // filled in by Service: whose key it is; empty where there are no keys
  // Filled in by the connection.
  std::string client;            // address of the peer, without its port
  std::shared_ptr<void> charge;  // what the body is counted by: goes with it

  // The first field of this lower-case name, or nothing.
  std::optional<std::string_view> field(std::string_view name) const;
  size_t count_fields(std::string_view name) const;
};

class HttpParser {
 public:
  enum class Stage : uint8_t {
    head,      // reading the request line and the fields
    admit,     // the head is complete; resume() goes on with the body
    body,      // reading the body
    complete,  // request() is whole; next() starts over
    failed,    // status() and reason() say why; the connection must be closed
  };

  explicit HttpParser(const HttpLimits& limits);
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // Consumes bytes until the stage changes to admit, complete or failed, and returns how many were
  // taken.
  size_t push(std::string_view bytes);

  void resume();  // from admit to body, complete, or failed (413)
  void next();    // from complete to head

  Stage stage() const { return stage_; }
  bool started() const { return n_head_bytes_ != 0; }  // at least one byte of this request was seen
  HttpRequest& request() { return request_; }
  const HttpRequest& request() const { return request_; }

  int status() const { return status_; }                 // of a failure
  const std::string& reason() const { return reason_; }  // one fixed sentence
  // The peer does not speak HTTP at all (a TLS hello): close without an answer.
  bool not_http() const { return not_http_; }

 private:
  class Grammar;  // Beast stays behind it
  enum class Part : uint8_t { request_line, fields, chunk_size, data, chunk_end, trailer };

  void expect(Part part);
  void push_line_byte(char byte);
  size_t push_data(std::string_view bytes);
  void finish_line();
  void finish_request_line();
  void finish_head();
  void fail(int status, std::string_view reason);

  HttpLimits limits_;
  HttpRequest request_;
  std::unique_ptr<Grammar> grammar_;  // writes into request_
  Stage stage_ = Stage::head;
  Part part_ = Part::request_line;
  std::string lines_;      // that Beast has not taken yet, and the one being read
  size_t line_begin_ = 0;  // of the one being read
  size_t n_part_bytes_ = 0;
  size_t n_head_bytes_ = 0;
  size_t n_fields_ = 0;
  bool not_http_ = false;
  int status_ = 0;
  std::string reason_;
};

}  // namespace floe

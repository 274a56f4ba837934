#include "server/raw_cases.h"

#include <utility>

namespace floe::testing {
namespace {

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kText = "/v1/completions";

void add(std::vector<RawCase>& cases, std::string name, std::string bytes, int status,
         bool closes) {
  cases.push_back({std::move(name), std::move(bytes), status, closes});
}

std::string repeat(const std::string& text, size_t n) {
  std::string out;
  out.reserve(text.size() * n);
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

std::string chunked(const std::string& head_fields, const std::string& chunks) {
  return "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         head_fields + "\r\n" + chunks;
}

}  // namespace

std::string get_request(const std::string& path, const std::string& extra_fields) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + extra_fields + "\r\n";
}

std::string post_request(const std::string& path, const std::string& body,
                         const std::string& extra_fields) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         "Content-Length: " + std::to_string(body.size()) + "\r\n" + extra_fields + "\r\n" + body;
}

std::vector<RawCase> malformed_http_cases() {
  std::vector<RawCase> cases;
  const auto bad = [&](std::string name, std::string bytes, int status = 400) {
    add(cases, std::move(name), std::move(bytes), status, true);
  };
  const std::string fields = "Host: localhost\r\n\r\n";
  bad("tls hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 0);
  bad("garbage", "\x01\x02\x03garbage\r\n\r\n");
  bad("zero bytes", std::string("\0\0\0\0\r\n\r\n", 8));
  bad("lower case method", "get /health HTTP/1.1\r\n" + fields);
  bad("long method", repeat("A", 17) + " /health HTTP/1.1\r\n" + fields);
  bad("method with control byte", "GE\x01T /health HTTP/1.1\r\n" + fields);
  bad("no method", " /health HTTP/1.1\r\n" + fields);
  bad("no target", "GET  HTTP/1.1\r\n" + fields);
  bad("two spaces before target", "GET  /health HTTP/1.1\r\n" + fields);
  bad("two spaces before version", "GET /health  HTTP/1.1\r\n" + fields);
  bad("space after version", "GET /health HTTP/1.1 \r\n" + fields);
  bad("tab instead of space", "GET\t/health\tHTTP/1.1\r\n" + fields);
  bad("space in target", "GET /he alth HTTP/1.1\r\n" + fields);
  bad("zero byte in target", "GET /he" + std::string(1, '\0') + "alth HTTP/1.1\r\n" + fields);
  bad("bare CR in target", "GET /he\ralth HTTP/1.1\r\n" + fields);
  bad("raw utf-8 in target", "GET /h\xc3\xa9 HTTP/1.1\r\n" + fields);
  bad("fragment in target", "GET /health#x HTTP/1.1\r\n" + fields);
  bad("http/0.9", "GET /health\r\n");
  bad("http/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  bad("version 2.0", "GET /health HTTP/2.0\r\n" + fields, 505);
  bad("version 1.2", "GET /health HTTP/1.2\r\n" + fields, 505);
  bad("version lower case", "GET /health http/1.1\r\n" + fields);
  bad("version without digits", "GET /health HTTP/x.y\r\n" + fields);
  bad("version long", "GET /health HTTP/1.10\r\n" + fields);
  bad("version empty", "GET /health \r\n" + fields);
  bad("request line ends in LF", "GET /health HTTP/1.1\nHost: localhost\n\n");
  bad("request line ends in CR", "GET /health HTTP/1.1\rHost: localhost\r\r");
  bad("field line ends in LF", "GET /health HTTP/1.1\r\nHost: localhost\n\r\n");
  bad("head ends in LF", "GET /health HTTP/1.1\r\nHost: localhost\r\n\n");
  bad("two empty lines first", "\r\n\r\nGET /health HTTP/1.1\r\n" + fields);
  bad("folded field", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n 2\r\n\r\n");
  bad("folded by tab", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n\t2\r\n\r\n");
  bad("first field folded", "GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n");
  bad("space before colon", "GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n");
  bad("no colon", "GET /health HTTP/1.1\r\nHost localhost\r\n\r\n");
  bad("empty field name", "GET /health HTTP/1.1\r\n: localhost\r\n\r\n");
  bad("control byte in name", "GET /health HTTP/1.1\r\nHo\x02st: localhost\r\n\r\n");
  bad("zero byte in value",
      "GET /health HTTP/1.1\r\nHost: local" + std::string(1, '\0') + "host\r\n\r\n");
  bad("bare CR in value", "GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n");
  bad("delete byte in value", "GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\x7f\r\n\r\n");
  bad("no host", "GET /health HTTP/1.1\r\n\r\n");
  bad("two hosts", "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n");

  const std::string post =
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  const std::string body = "{\"content\":\"a\"}";
  const std::string length = std::to_string(body.size());
  bad("length and coding",
      post + "Content-Length: " + length + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  bad("coding and length",
      post + "Transfer-Encoding: chunked\r\nContent-Length: " + length + "\r\n\r\n0\r\n\r\n");
  bad("two equal lengths",
      post + "Content-Length: " + length + "\r\nContent-Length: " + length + "\r\n\r\n" + body);
  bad("two different lengths",
      post + "Content-Length: 1\r\nContent-Length: " + length + "\r\n\r\n" + body);
  for (const char* value : {"+15", "0x0f", "15,15", "15, 15", "-1", "18446744073709551616",
                            "99999999999999999999999", "", "1 5", "15a", "1e1", "\"15\"", "15.0"}) {
    bad(std::string("length ") + value, post + "Content-Length: " + value + "\r\n\r\n" + body);
  }
  for (const char* value : {"chunked, chunked", "xchunked", "chunkedx", "gzip", "gzip, chunked",
                            "chunked;q=1", "identity", "", "\"chunked\"", "chunked,"}) {
    bad(std::string("coding ") + value,
        post + "Transfer-Encoding: " + value + "\r\n\r\nf\r\n" + body + "\r\n0\r\n\r\n");
  }
  bad("two codings",
      post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  bad("coding in http/1.0",
      "POST /tokenize HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  const std::string coding = "Transfer-Encoding: chunked\r\n";
  for (const auto& [name, chunks] : std::vector<std::pair<std::string, std::string>>{
           {"chunk size empty", "\r\n"},
           {"chunk size not hex", "g\r\n"},
           {"chunk size negative", "-1\r\n"},
           {"chunk size with prefix", "0xf\r\n"},
           {"chunk size with blank", "f \r\n" + body + "\r\n0\r\n\r\n"},
           {"chunk size overflow", "ffffffffffffffffff\r\n"},
           {"chunk size of 16 digits", "0000000000000001\r\na\r\n0\r\n\r\n"},
           {"chunk size ends in LF", "f\n" + body + "\r\n0\r\n\r\n"},
           {"chunk size ends in CR only", "f\rx"},
           {"chunk extension long", "f;" + repeat("x", 300) + "\r\n"},
           {"chunk extension empty", "f;\r\n"},
           {"chunk extension twice empty", "f;;a=b\r\n"},
           {"chunk extension without value", "f;a=\r\n"},
           {"chunk extension unquoted", "f;a=\"b\r\n"},
           {"chunk extension after the quote", "f;a=\"b\"c\r\n"},
           {"chunk extension with blank", "f; a=b\r\n"},
           {"chunk extension with zero byte", "f;a" + std::string(1, '\0') + "\r\n"},
           {"chunk without CRLF", "f\r\n" + body + "0\r\n\r\n"},
           {"chunk data ends in LF", "f\r\n" + body + "\n0\r\n\r\n"},
           {"chunk too short", "e\r\n" + body + "\r\n0\r\n\r\n"},
           {"trailer without colon", "f\r\n" + body + "\r\n0\r\nabc\r\n\r\n"},
           {"trailer folded", "f\r\n" + body + "\r\n0\r\nA: b\r\n c\r\n\r\n"},
           {"trailer with zero byte",
            "f\r\n" + body + "\r\n0\r\nA: " + std::string(1, '\0') + "\r\n\r\n"},
           {"trailer ends in LF", "f\r\n" + body + "\r\n0\r\nA: b\n\n"},
           {"trailer long", "f\r\n" + body + "\r\n0\r\nA: " + repeat("x", 9000) + "\r\n\r\n"}}) {
    bad(name, chunked(coding, chunks));
  }
  bad("get with a body", "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na");
  bad("head with a body",
      "HEAD /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  bad("unknown expectation", post + "Expect: 200-ok\r\nContent-Length: " + length + "\r\n\r\n",
      417);
  bad("two expectations",
      post + "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: " + length +
          "\r\n\r\n",
      417);
  return cases;
}

std::vector<RawCase> limit_cases() {
  std::vector<RawCase> cases;
  const std::string fields = "Host: localhost\r\n\r\n";
  // "GET " + target + " HTTP/1.1\r\n" is 15 bytes longer than the target.
  add(cases, "request line at the limit",
      "GET /" + repeat("a", 8192 - 16) + " HTTP/1.1\r\n" + fields, 404, false);
  add(cases, "request line over the limit",
      "GET /" + repeat("a", 8192 - 15) + " HTTP/1.1\r\n" + fields, 414, true);
  add(cases, "request line without end", "GET /" + repeat("a", 20000), 414, true);
  add(cases, "path of many segments", "GET " + repeat("/a", 4000) + " HTTP/1.1\r\n" + fields, 404,
      false);
  add(cases, "100 fields", get_request("/health", repeat("X-A: b\r\n", 99)), 200, false);
  add(cases, "101 fields", get_request("/health", repeat("X-A: b\r\n", 100)), 431, true);
  add(cases, "10000 fields", get_request("/health", repeat("X-A: b\r\n", 10000)), 431, true);
  add(cases, "fields near the limit", get_request("/health", "X-A: " + repeat("b", 32000) + "\r\n"),
      200, false);
  add(cases, "fields over the limit", get_request("/health", "X-A: " + repeat("b", 33000) + "\r\n"),
      431, true);
  add(cases, "field without end", "GET /health HTTP/1.1\r\nX-A: " + repeat("b", 70000), 431, true);
  add(cases, "field name without end", "GET /health HTTP/1.1\r\n" + repeat("b", 70000), 431, true);
  const std::string post =
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  add(cases, "length over the limit", post + "Content-Length: 33554433\r\n\r\n", 413, true);
  add(cases, "length far over the limit", post + "Content-Length: 999999999999999999\r\n\r\n", 413,
      true);
  add(cases, "length over the limit with expectation",
      post + "Expect: 100-continue\r\nContent-Length: 33554433\r\n\r\n", 413, true);
  add(cases, "chunk over the limit", post + "Transfer-Encoding: chunked\r\n\r\n2000001\r\n", 413,
      true);
  add(cases, "chunk far over the limit",
      post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", 413, true);
  add(cases, "second chunk over the limit",
      post + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n1fffffc\r\n", 413, true);
  return cases;
}

std::vector<RawCase> routing_cases() {
  std::vector<RawCase> cases;
  for (const char* path : {"/nothing",
                           "/v1",
                           "/v1/",
                           "//health",
                           "/v1//models",
                           "/HEALTH",
                           "/v1/models/x/y",
                           "/v1/models/x%2Fy",
                           "/models/x",
                           "/%2e%2e/health",
                           "/v1/..%2fhealth",
                           "/%2f",
                           "/%2Fhealth",
                           "/..",
                           "/../etc/passwd",
                           "/assets/../../etc/passwd",
                           "/assets/nothing.js",
                           "/v1/models/nothing",
                           "/v1/v1/models",
                           "/slots/0",
                           "/completion",
                           "/chat"}) {
    add(cases, std::string("path ") + path, get_request(path), 404, false);
  }
  for (const char* path :
       {"/health/", "/health///", "/metrics/", "/v1/models/", "/models", "/models/"}) {
    add(cases, std::string("path ") + path, get_request(path), 200, false);
  }
  for (const char* path : {"/%00", "/health%0a", "/%5c", "/%", "/%1", "/%zz", "/%ff", "/%c3%a9"}) {
    add(cases, std::string("escape ") + path, get_request(path), 400, true);
  }
  for (const char* target : {"http://localhost/health", "*", "health", "localhost:80", "?x"}) {
    add(cases, std::string("target ") + target, get_request(target), 400, true);
  }
  add(cases, "escaped letter", get_request("/he%61lth"), 200, false);
  add(cases, "query is ignored", get_request("/health?a=b&c=%00"), 200, false);
  for (const char* path : {kChat, kText, "/tokenize", "/detokenize", "/apply-template",
                           "/v1/chat/completions/", "/chat/completions", "/completions/"}) {
    add(cases, std::string("GET ") + path, get_request(path), 405, false);
    add(cases, std::string("DELETE ") + path,
        std::string("DELETE ") + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, false);
  }
  for (const char* path : {"/health", "/metrics", "/v1/models", "/props", "/"}) {
    add(cases, std::string("POST ") + path, post_request(path, "{}"), 405, true);
    add(cases, std::string("PUT ") + path,
        std::string("PUT ") + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, false);
    add(cases, std::string("TRACE ") + path,
        std::string("TRACE ") + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, false);
  }
  const std::string body = "{\"content\":\"a\"}";
  const auto typed = [&](const std::string& field) {
    return "POST /tokenize HTTP/1.1\r\nHost: localhost\r\n" + field +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  };
  for (const char* type :
       {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "application/jsonx", "application", "", "text/json", "application/json, text/plain"}) {
    add(cases, std::string("content type ") + type,
        typed("Content-Type: " + std::string(type) + "\r\n"), 415, true);
  }
  add(cases, "no content type", typed(""), 415, true);
  for (const char* coding : {"gzip", "br", "deflate", "zstd", "x", "identity, gzip"}) {
    add(cases, std::string("content coding ") + coding,
        typed("Content-Type: application/json\r\nContent-Encoding: " + std::string(coding) +
              "\r\n"),
        415, true);
  }
  add(cases, "no content coding",
      typed("Content-Type: application/json\r\nContent-Encoding: identity\r\n"), 200, false);
  add(cases, "two content types",
      typed("Content-Type: application/json\r\nContent-Type: application/json\r\n"), 415, true);
  for (const char* type : {"application/json", "Application/JSON",
                           "application/json; charset=utf-8", "application/json ;charset=utf-8"}) {
    add(cases, std::string("content type ") + type,
        typed("Content-Type: " + std::string(type) + "\r\n"), 200, false);
  }
  return cases;
}

std::vector<RawCase> json_cases() {
  std::vector<RawCase> cases;
  const auto post = [&](std::string name, std::string body, int status = 400) {
    add(cases, std::move(name), post_request("/tokenize", body), status, false);
  };
  for (const char* body : {"",
                           " ",
                           "{",
                           "}",
                           "[]",
                           "null",
                           "1",
                           "\"a\"",
                           "{\"content\"}",
                           "{\"content\":}",
                           "{\"content\":\"a\"",
                           "{\"content\":\"a\",}",
                           "{content:\"a\"}",
                           "{'content':'a'}",
                           "{\"content\":\"a\"}{}",
                           "{\"content\":\"a\"} x",
                           "{\"content\":\"\\ud800\"}",
                           "{\"content\":\"\\udc00a\"}",
                           "{\"content\":\"\\x\"}",
                           "{\"content\":\"\\u12\"}",
                           "{\"content\":\"a\nb\"}",
                           "{\"content\":NaN}",
                           "{\"content\":Infinity}",
                           "{\"content\":01}",
                           "{\"content\":+1}",
                           "{\"content\":1.}",
                           "{\"content\":.5}",
                           "{\"content\":\"a\",\"x\":1e999}",
                           "// x\n{\"content\":\"a\"}",
                           "{\"content\":1}",
                           "{\"content\":null}",
                           "{\"content\":[\"a\"]}",
                           "{\"content\":{}}",
                           "{\"content\":true}",
                           "{}",
                           "{\"content\":\"a\",\"add_special\":1}",
                           "{\"content\":\"a\",\"with_pieces\":\"yes\"}",
                           "tru",
                           "{\"content\":\"a\"\x01}"}) {
    post(std::string("json ") + body, body);
  }
  post("zero byte", std::string("{\"content\":\"a\0b\"}", 17));
  post("zero byte after", std::string("{\"content\":\"a\"}\0x", 17));
  for (const size_t depth : {257, 3000, 100000}) {
    post("arrays in an unknown field " + std::to_string(depth),
         "{\"content\":\"a\",\"x\":" + repeat("[", depth) + repeat("]", depth) + "}");
    post("objects in an unknown field " + std::to_string(depth),
         "{\"content\":\"a\",\"x\":" + repeat("{\"a\":", depth) + "1" + repeat("}", depth) + "}");
    post("open arrays " + std::to_string(depth), repeat("[", depth));
    post("open objects " + std::to_string(depth), repeat("{\"a\":", depth));
  }
  post("depth 256", "{\"content\":\"a\",\"x\":" + repeat("[", 255) + repeat("]", 255) + "}", 200);
  post("unknown fields", "{\"content\":\"a\",\"x\":1,\"y\":[1,2,{}]}", 200);
  post("a long number", "{\"content\":\"a\",\"x\":" + repeat("1", 100000) + "}", 400);
  post("escapes", "{\"content\":\"\\u00e9\\ud83d\\ude00\\n\"}", 200);
  for (const char* text :
       {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3",
        "\xe2\x82", "\xf0\x9f\x98", "\x80", "\xe0\x80\xaf"}) {
    post("invalid utf-8", "{\"content\":\"" + std::string(text) + "\"}");
  }
  post("valid utf-8", "{\"content\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}", 200);
  return cases;
}

std::vector<RawCase> field_cases() {
  std::vector<RawCase> cases;
  const auto chat = [&](const std::string& fields, int status = 400) {
    add(cases, "chat " + fields.substr(0, 80),
        post_request(kChat, "{\"max_tokens\":1," + fields + "}"), status, false);
  };
  const auto text = [&](const std::string& fields, int status = 400) {
    add(cases, "text " + fields.substr(0, 80),
        post_request(kText, "{\"max_tokens\":1," + fields + "}"), status, false);
  };
  const std::string hi = "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]";
  const std::string prompt = "\"prompt\":\"hi\"";
  chat("\"messages\":[]");
  chat("\"messages\":{}");
  chat("\"messages\":\"hi\"");
  chat("\"x\":1");
  chat("\"messages\":[1]");
  chat("\"messages\":[{}]");
  chat("\"messages\":[{\"role\":\"user\",\"content\":1}]");
  chat("\"messages\":[{\"role\":\"king\",\"content\":\"hi\"}]");
  chat("\"messages\":[{\"role\":1,\"content\":\"hi\"}]");
  chat(
      "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
      "\"url\":\"file:///etc/passwd\"}}]}]");
  chat("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]");
  chat("\"messages\":[{\"role\":\"user\",\"content\":[\"hi\"]}]");
  chat("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]", 200);
  chat(
      "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
      "\"arguments\":\"[\"}}]}]",
      200);
  chat(
      "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
      "\"arguments\":[]}}]}]");
  chat(
      "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]"
      "}]");
  chat("\"messages\":[{\"role\":\"assistant\",\"tool_calls\":{}}]");
  chat("\"messages\":[" + repeat("{\"role\":\"user\",\"content\":\"\"},", 4096) +
       "{\"role\":\"user\",\"content\":\"\"}]");
  chat(hi, 200);
  chat(hi + ",\"n\":9");
  chat(hi + ",\"n\":0");
  chat(hi + ",\"n\":1000000");
  chat(hi + ",\"best_of\":2");
  chat(hi + ",\"top_logprobs\":21,\"logprobs\":true");
  chat(hi + ",\"top_logprobs\":1");
  chat(hi + ",\"logprobs\":1");
  chat(hi + ",\"stop\":1");
  chat(hi + ",\"stop\":\"\"", 200);
  chat(hi + ",\"stop\":[1]");
  chat(hi + ",\"stop\":[\"a\",\"\"]", 200);
  chat(hi + ",\"stop\":[" + repeat("\"a\",", 16) + "\"a\"]");
  chat(hi + ",\"stop\":[" + repeat("\"a\",", 15) + "\"a\"]", 200);
  chat(hi + ",\"stop\":\"" + repeat("a", 257) + "\"");
  chat(hi + ",\"stop\":\"" + repeat("a", 256) + "\"", 200);
  chat(hi + ",\"stop\":null", 200);
  chat(hi + ",\"logit_bias\":{\"99999999\":1}");
  chat(hi + ",\"logit_bias\":{\"-1\":1}");
  chat(hi + ",\"logit_bias\":{\"a\":1}");
  chat(hi + ",\"logit_bias\":{\"1\":101}");
  chat(hi + ",\"logit_bias\":{\"1\":\"a\"}");
  chat(hi + ",\"logit_bias\":{\"1\":5,\"2\":-100}", 200);
  chat(hi + ",\"logit_bias\":[[1,5],[2,-100]]", 200);
  chat(hi + ",\"logit_bias\":[[1]]");
  chat(hi + ",\"logit_bias\":[" + repeat("[1,1],", 1024) + "[1,1]]");
  chat(hi + ",\"response_format\":{\"type\":\"json_object\"}", 200);
  chat(hi + ",\"response_format\":{\"type\":\"json_schema\"}");
  chat(hi + ",\"response_format\":{\"type\":\"text\"}", 200);
  chat(hi + ",\"response_format\":\"text\"");
  chat(hi + ",\"grammar\":\"root ::= x\"");
  chat(hi + ",\"chat_template\":\"{{ x }}\"");
  chat(hi + ",\"tools\":{}");
  chat(hi + ",\"tools\":[{}]");
  chat(hi + ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]");
  chat(hi + ",\"tools\":[" + repeat("{\"type\":\"function\",\"function\":{\"name\":\"f\"}},", 128) +
       "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]");
  chat(hi + ",\"tool_choice\":\"required\"");
  chat(hi + ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}");
  chat(hi + ",\"tool_choice\":\"none\"", 200);
  chat(hi + ",\"stream_options\":1");
  chat(hi + ",\"stream_options\":{\"include_usage\":1}");
  chat(hi + ",\"model\":1");
  chat(hi + ",\"model\":\"../../etc/passwd\"", 404);
  chat(hi + ",\"model\":\"fake\"", 200);
  chat(hi + ",\"reasoning_effort\":\"huge\"");
  chat(hi + ",\"reasoning_effort\":\"none\"", 200);
  chat(hi + ",\"chat_template_kwargs\":{\"enable_thinking\":\"no\"}");
  chat(hi + ",\"chat_template_kwargs\":{\"enable_thinking\":false,\"tokenize\":true}", 200);
  chat(hi + ",\"chat_template_kwargs\":{\"messages\":[]}");
  chat(hi + ",\"thinking\":{\"type\":\"disabled\"}", 200);
  chat(hi + ",\"thinking\":true", 200);
  chat(hi + ",\"thinking\":1");
  chat(hi + ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":100}");
  chat(hi + ",\"think\":0");
  chat(hi + ",\"seed\":1.5");
  chat(hi + ",\"seed\":\"a\"");
  chat(hi + ",\"seed\":18446744073709551615", 200);
  chat(hi + ",\"seed\":-9223372036854775808", 200);
  chat(
      hi +
          ",\"user\":{\"a\":1},\"metadata\":[],\"store\":5,\"service_tier\":\"x\",\"verbosity\":[]",
      200);
  text("\"prompt\":\"\"");
  text("\"prompt\":[]");
  text("\"prompt\":[[]]");
  text("\"prompt\":[\"\"]");
  text("\"prompt\":[\"a\",[]]");
  text("\"prompt\":[-1]");
  text("\"prompt\":[99999999]");
  text("\"prompt\":[1.5]");
  text("\"prompt\":[1,\"a\"]");
  text("\"prompt\":{}");
  text("\"prompt\":null");
  text("\"x\":1");
  text("\"prompt\":[" + repeat("\"a\",", 64) + "\"a\"]");
  text("\"prompt\":[1,2,3]", 200);
  text("\"prompt\":[[1,2],[3]]", 200);
  text("\"prompt\":[\"a\",\"b\",[1]]", 200);
  text(prompt + ",\"suffix\":\"x\"");
  text(prompt + ",\"logprobs\":21");
  text(prompt + ",\"logprobs\":true");
  text(prompt + ",\"logprobs\":2,\"echo\":true", 200);
  text(prompt + ",\"logprobs\":2,\"echo\":true,\"stream\":true,\"n\":2");
  text(prompt + ",\"prompt_logprobs\":2", 200);
  text(prompt + ",\"prompt_logprobs\":2,\"stream\":true");
  text(prompt + ",\"prompt_logprobs\":-1");
  text(prompt + ",\"stop_token_ids\":[99999999]");
  text(prompt + ",\"stop_token_ids\":[" + repeat("1,", 1024) + "1]");
  text(prompt + ",\"min_tokens\":2");
  text(prompt + ",\"bad_words\":[" + repeat("\"a\",", 256) + "\"a\"]");
  text(prompt + ",\"logprobs\":2", 200);
  text(prompt + ",\"echo\":true", 200);
  text("\"n_predict\":0," + prompt, 200);
  add(cases, "n_predict -1 with a stop",
      post_request(
          kText, "{\"prompt\":\"hi\",\"n_predict\":-1,\"logit_bias\":{\"1\":1},\"max_tokens\":2}"),
      200, false);
  const std::string ids = "[" + repeat("1,", 100000) + "1]";
  add(cases, "prompt over the context",
      post_request(kText, "{\"max_tokens\":1,\"prompt\":" + ids + "}"), 400, false);
  add(cases, "detokenize without tokens", post_request("/detokenize", "{}"), 400, false);
  add(cases, "detokenize out of range", post_request("/detokenize", "{\"tokens\":[1,99999999]}"),
      400, false);
  add(cases, "detokenize negative", post_request("/detokenize", "{\"tokens\":[-1]}"), 400, false);
  add(cases, "detokenize text", post_request("/detokenize", "{\"tokens\":\"a\"}"), 400, false);
  add(cases, "apply-template without messages", post_request("/apply-template", "{}"), 400, false);
  return cases;
}

std::vector<RawCase> good_cases() {
  std::vector<RawCase> cases;
  for (const char* path :
       {"/health", "/v1/health", "/metrics", "/v1/models", "/v1/models/fake", "/props", "/"}) {
    add(cases, std::string("GET ") + path, get_request(path), 200, false);
    add(cases, std::string("HEAD ") + path,
        std::string("HEAD ") + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, false);
    add(cases, std::string("OPTIONS ") + path,
        std::string("OPTIONS ") + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 204, false);
  }
  const std::string messages = "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]";
  add(cases, "tokenize", post_request("/tokenize", "{\"content\":\"abc\"}"), 200, false);
  add(cases, "tokenize chat", post_request("/tokenize", "{" + messages + "}"), 200, false);
  add(cases, "detokenize", post_request("/detokenize", "{\"tokens\":[1,2]}"), 200, false);
  add(cases, "apply-template", post_request("/apply-template", "{" + messages + "}"), 200, false);
  add(cases, "chat", post_request(kChat, "{\"max_tokens\":3," + messages + "}"), 200, false);
  add(cases, "chat stream",
      post_request(kChat, "{\"max_tokens\":3,\"stream\":true," + messages + "}"), 200, false);
  add(cases, "text", post_request(kText, "{\"max_tokens\":3,\"prompt\":\"hi\"}"), 200, false);
  add(cases, "text stream",
      post_request(kText, "{\"max_tokens\":3,\"stream\":true,\"prompt\":\"hi\"}"), 200, false);
  const std::string body = "{\"content\":\"abc\"}";
  add(cases, "chunked",
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: Chunked\r\n\r\n1\r\n{\r\n10;a=b;c=\"d\\\"e\";f\r\n" +
          body.substr(1) + "\r\n0\r\nX-Trailer: 1\r\n\r\n",
      200, false);
  add(cases, "http/1.0", "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", 200, true);
  const std::string stream_body = "{\"max_tokens\":3,\"stream\":true,\"prompt\":\"hello\"}";
  add(cases, "http/1.0 stream",
      "POST /v1/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: "
      "application/json\r\nContent-Length: " +
          std::to_string(stream_body.size()) + "\r\n\r\n" + stream_body,
      200, true);
  add(cases, "connection close", get_request("/health", "Connection: close\r\n"), 200, true);
  add(cases, "one empty line first", "\r\n" + get_request("/health"), 200, false);
  add(cases, "field values above 0x7f", get_request("/health", "X-A: caf\xc3\xa9 \xff\r\n"), 200,
      false);
  return cases;
}

}  // namespace floe::testing

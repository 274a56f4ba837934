// Keys, host names, origins, and what /metrics tells.
#include "server/access.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "server/raw_cases.h"
#include "server/test_server.h"
#include "sim/scripted_drafter.h"

namespace floe {
namespace {

using namespace floe::testing;

HttpRequest head_with(std::vector<HttpField> fields) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/";
  request.fields = std::move(fields);
  return request;
}

TEST(Access, KeysByEitherField) {
  const ApiKeys keys({"alpha", "beta-2"});
  EXPECT_TRUE(keys.contains("alpha"));
  EXPECT_TRUE(keys.contains("beta-2"));
  for (const char* wrong : {"", "a", "alph", "alphaa", "Alpha", "beta-", "alpha\nbeta-2"}) {
    EXPECT_FALSE(keys.contains(wrong)) << wrong;
  }
  EXPECT_TRUE(keys.admits(head_with({{"authorization", "Bearer alpha"}})));
  EXPECT_TRUE(keys.admits(head_with({{"authorization", "bearer beta-2"}})));
  EXPECT_TRUE(keys.admits(head_with({{"x-api-key", "alpha"}})));
  EXPECT_FALSE(keys.admits(head_with({})));
  for (const char* value : {"", "Bearer", "Bearer ", "alpha", "Basic alpha", "Bearer  alpha",
                            "Bearer alpha ", "Bearer gamma"}) {
    EXPECT_FALSE(keys.admits(head_with({{"authorization", value}}))) << value;
  }
  EXPECT_FALSE(keys.admits(
      head_with({{"authorization", "Bearer alpha"}, {"authorization", "Bearer alpha"}})));
  EXPECT_FALSE(keys.admits(head_with({{"x-api-key", "alpha"}, {"x-api-key", "alpha"}})));
  EXPECT_FALSE(keys.admits(
      head_with({{"x-api-key", "alpha"}, {"authorization", "Bearer a"}, {"authorization", "b"}})));
  // Of the two names, one valid value is enough.
  struct Both {
    const char* authorization;
    const char* x_api_key;
    bool admitted;
  };
  for (const Both& both : {Both{"Bearer alpha", "alpha", true}, Both{"Bearer alpha", "none", true},
                           Both{"Bearer none", "beta-2", true}, Both{"Basic x", "alpha", true},
                           Both{"", "alpha", true}, Both{"Bearer alpha", "", true},
                           Both{"Bearer none", "none", false}, Both{"alpha", "", false}}) {
    for (const bool swapped : {false, true}) {
      std::vector<HttpField> fields = {{"authorization", both.authorization},
                                       {"x-api-key", both.x_api_key}};
      if (swapped) std::swap(fields[0], fields[1]);
      EXPECT_EQ(keys.admits(head_with(fields)), both.admitted)
          << both.authorization << " " << both.x_api_key;
    }
  }
  EXPECT_TRUE(ApiKeys({}).admits(head_with({})));
}

TEST(Access, LoopbackAddresses) {
  for (const char* host : {"127.0.0.1", "127.255.0.3", "localhost", "LOCALHOST", "::1", "[::1]"}) {
    EXPECT_TRUE(is_loopback_host(host)) << host;
  }
  for (const char* host :
       {"127.0.0.1.evil.com", "127.evil.com", "127.0.0", "127.0.0.256", "127.0.0.1.", "127..0.1",
        "0.0.0.0", "::", "10.0.0.1", "localhost.", "localhost.evil.com", "", "127.0.0.0001"}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
}

// P4: every form of the Host field.
TEST(Access, HostsOnLoopback) {
  const HostList list({"127.0.0.1"}, {"box.example"});
  const auto allows = [&](const char* host) { return list.allows(head_with({{"host", host}})); };
  for (const char* host : {"localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:1", "[::1]",
                           "[::1]:8080", "box.example", "BOX.example:80"}) {
    EXPECT_TRUE(allows(host)) << host;
  }
  for (const char* host : {"evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "localhost.",
                           "0.0.0.0", "[::]", "::1", "localhost:", "localhost:99999999",
                           "localhost:80:80", "localhost:x", "user@localhost", "", "localhost/x",
                           "[::1", "127.0.0.2", "box.example.evil.com", "localhost, evil.com"}) {
    EXPECT_FALSE(allows(host)) << host;
  }
  EXPECT_FALSE(list.allows(head_with({})));
  // Addresses that are open anyway answer to any name, unless names are given.
  EXPECT_TRUE(HostList({"0.0.0.0"}, {}).allows(head_with({{"host", "anything"}})));
  EXPECT_FALSE(HostList({"0.0.0.0"}, {"a.b"}).allows(head_with({{"host", "anything"}})));
  EXPECT_FALSE(HostList({"127.0.0.1", "0.0.0.0"}, {}).allows(head_with({{"host", "anything"}})));
}

TEST(Access, Origins) {
  const std::vector<std::string> listed = {"https://app.example"};
  const auto judge = [&](const char* origin, const char* host = "localhost:8080") {
    return judge_origin(head_with({{"host", host}, {"origin", origin}}), listed);
  };
  EXPECT_EQ(judge_origin(head_with({{"host", "localhost"}}), listed), OriginVerdict::none);
  EXPECT_EQ(judge("http://localhost:8080"), OriginVerdict::same);
  EXPECT_EQ(judge("https://localhost:8080"), OriginVerdict::same);
  EXPECT_EQ(judge("https://app.example"), OriginVerdict::listed);
  for (const char* origin :
       {"https://evil", "null", "", "http://localhost", "http://localhost:8081",
        "https://app.example.evil", "file://", "chrome-extension://localhost:8080"}) {
    EXPECT_EQ(judge(origin), OriginVerdict::foreign) << origin;
  }
  EXPECT_EQ(judge_origin(head_with({{"host", "a"}, {"origin", "x"}}), {"*"}),
            OriginVerdict::listed);
}

// P3: the routes come from the table, so a new one is in this test by being there.
TEST(Keys, EveryRouteIsClosedByDefault) {
  TestServerOptions options;
  options.serve.api_keys = {"secret-key-1", "secret-key-2"};
  TestServer server(options);
  std::vector<std::string> paths = {"/nothing", "/v1/chat/completions/", "//metrics", "/V1/models",
                                    "/%6detrics"};
  for (const Service::Route& route : Service::routes()) {
    if (!route.is_public)
      paths.push_back(std::string(route.path) + (route.is_prefix ? "fake" : ""));
  }
  const std::vector<std::string> wrong = {
      "",
      "Authorization: \r\n",
      "Authorization: Bearer\r\n",
      "Authorization: Bearer wrong\r\n",
      "Authorization: Bearer secret-key-\r\n",
      "Authorization: Bearer secret-key-12\r\n",
      "Authorization: Basic secret-key-1\r\n",
      "X-Api-Key: nope\r\n",
      "Authorization: Bearer secret-key-1\r\nAuthorization: Bearer secret-key-1\r\n",
      "Authorization: Bearer " + std::string(30000, 'k') + "\r\n",
      "Authorization: Bearer \xff\xfe\r\n"};
  for (const std::string& path : paths) {
    for (const std::string& field : wrong) {
      // The body never comes: the answer must not wait for it.
      RawClient client(server.port());
      client.send("POST " + path +
                  " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + field +
                  "Content-Length: 1000000\r\n\r\n");
      const Response response = client.read_response();
      EXPECT_EQ(response.status, 401) << path << " " << field.substr(0, 60);
      EXPECT_EQ(response.field("www-authenticate"), "Bearer");
      EXPECT_EQ(response.json()["error"]["message"], "Invalid API Key");
      EXPECT_EQ(response.body.find("secret"), std::string::npos);
      EXPECT_EQ(server.request(get_request(path, field)).status, 401) << path;
    }
  }
  for (const char* field :
       {"Authorization: Bearer secret-key-1\r\n", "X-Api-Key: secret-key-2\r\n"}) {
    EXPECT_EQ(server.request(get_request("/v1/models", field)).status, 200);
    EXPECT_EQ(server.request(get_request("/nothing", field)).status, 404);
    EXPECT_EQ(server.request(post_request("/tokenize", "{\"content\":\"a\"}", field)).status, 200);
  }
  for (const char* path : {"/health", "/v1/health", "/"}) EXPECT_EQ(server.get(path).status, 200);
  // OPTIONS needs no key and tells nothing.
  EXPECT_EQ(server.request("OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 204);
  EXPECT_EQ(server.request("OPTIONS /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 401);
  const Response metrics = server.request(get_request("/metrics", "X-Api-Key: secret-key-1\r\n"));
  EXPECT_EQ(metrics.status, 200);
  EXPECT_EQ(metrics.body.find("secret"), std::string::npos);
}

TEST(Hosts, ForeignNamesAreRefusedOnEveryRoute) {
  TestServer server;
  for (const Service::Route& route : Service::routes()) {
    const std::string path = std::string(route.path) + (route.is_prefix ? "fake" : "");
    const Response response = server.request(std::string(route.method) + " " + path +
                                             " HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    EXPECT_EQ(response.status, 403) << path;
    EXPECT_EQ(error_object_fault(response), "");
  }
  EXPECT_EQ(server.request("GET /health HTTP/1.0\r\n\r\n").status, 403);
}

// P5
TEST(Origins, NoCorsByDefault) {
  TestServer server;
  for (const char* origin : {"https://evil.example", "null"}) {
    const std::string field = std::string("Origin: ") + origin + "\r\n";
    const Response posted = server.request(post_request("/tokenize", "{\"content\":\"a\"}", field));
    EXPECT_EQ(posted.status, 403);
    const Response got = server.request(get_request("/v1/models", field));
    EXPECT_EQ(got.field("access-control-allow-origin"), "");
    const Response preflight =
        server.request("OPTIONS /tokenize HTTP/1.1\r\nHost: localhost\r\n" + field +
                       "Access-Control-Request-Method: POST\r\n\r\n");
    EXPECT_EQ(preflight.status, 204);
    EXPECT_EQ(preflight.field("access-control-allow-origin"), "");
    EXPECT_EQ(preflight.field("access-control-allow-methods"), "");
  }
  EXPECT_EQ(
      server
          .request(post_request("/tokenize", "{\"content\":\"a\"}", "Origin: http://localhost\r\n"))
          .status,
      200);
}

TEST(Origins, ListedOriginsMayRead) {
  TestServerOptions options;
  options.serve.cors_origins = {"https://app.example"};
  TestServer server(options);
  const std::string field = "Origin: https://app.example\r\n";
  for (const Response& response :
       {server.request(post_request("/tokenize", "{\"content\":\"a\"}", field)),
        server.request(get_request("/v1/models", field)),
        server.request(get_request("/nothing", field)),
        server.request("OPTIONS /tokenize HTTP/1.1\r\nHost: localhost\r\n" + field + "\r\n"),
        server.request(post_request(
            "/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":2,\"stream\":true}", field))}) {
    EXPECT_EQ(response.field("access-control-allow-origin"), "https://app.example")
        << response.status;
    EXPECT_EQ(response.field("vary"), "Origin");
    EXPECT_EQ(response.field("access-control-allow-credentials"), "");
  }
  EXPECT_EQ(server
                .request(post_request("/tokenize", "{\"content\":\"a\"}",
                                      "Origin: https://evil.example\r\n"))
                .status,
            403);
}

// Client libraries in a browser send fields of their own.
TEST(Origins, PreflightAllowsTheNamesThatItAsksFor) {
  TestServerOptions options;
  options.serve.cors_origins = {"https://app.example"};
  options.serve.api_keys = {"secret-key-1"};
  TestServer server(options);
  const auto preflight = [&](const char* origin, const std::string& fields) {
    return server.request("OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: " +
                          std::string(origin) + "\r\nAccess-Control-Request-Method: POST\r\n" +
                          fields + "\r\n");
  };
  const std::string asked = "authorization,content-type,x-stainless-arch,x-stainless-os";
  const std::string always = "Authorization, Content-Type, X-Api-Key";
  const auto names = [](const std::string& list) {
    return "Access-Control-Request-Headers: " + list + "\r\n";
  };
  struct Case {
    const char* origin;
    std::string fields;
    std::string allowed;
  };
  for (const Case& c :
       {Case{"https://app.example", names(asked), asked},
        Case{"https://app.example", names("X-A, x-b"), "X-A, x-b"},
        Case{"https://app.example", "", always}, Case{"https://app.example", names(""), always},
        Case{"https://app.example", names("a:b"), always},
        Case{"https://app.example", names("a;b"), always},
        Case{"https://app.example", names("a\xff"), always},
        Case{"https://app.example", names("a") + names("b"), always},
        Case{"https://evil.example", names(asked), ""}, Case{"null", names(asked), ""}}) {
    const Response response = preflight(c.origin, c.fields);
    EXPECT_EQ(response.status, 204);
    EXPECT_EQ(response.field("access-control-allow-headers"), c.allowed) << c.fields;
    EXPECT_EQ(response.field("access-control-allow-origin"), c.allowed.empty() ? "" : c.origin);
    EXPECT_EQ(response.field("access-control-allow-methods"),
              c.allowed.empty() ? "" : "POST, OPTIONS");
  }
}

TEST(Keys, File) {
  const std::string path = ::testing::TempDir() + "floe_keys_" + std::to_string(getpid());
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  write("# comment\n\none\r\ntwo\n");
  const auto keys = read_api_key_file(path);
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(*keys, (std::vector<std::string>{"one", "two"}));
  write("one\nse cret\n");
  const auto bad = read_api_key_file(path);
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("line 2"), std::string::npos);
  EXPECT_EQ(bad.error().message.find("cret"), std::string::npos);
  write("# only a comment\n\n");
  EXPECT_FALSE(read_api_key_file(path).ok());
  std::filesystem::remove(path);
  EXPECT_FALSE(read_api_key_file(path).ok());
}

// ---------------------------------------------------------------------------------------------
// metrics

TEST(Metrics, NamesAndCounts) {
  TestServerOptions options;
  options.model.after_forward = [](size_t) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  };
  TestServer server(options);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(
        server
            .post("/v1/completions", {{"prompt", "abcd"}, {"max_tokens", 10}, {"ignore_eos", true}})
            .status,
        200);
  }
  EXPECT_EQ(server.get("/nothing").status, 404);
  EXPECT_TRUE(server.wait_idle());
  // An answer is counted when it has been handed over: its client may be faster.
  Response metrics = server.get("/metrics");
  const std::string counted = "floe_http_responses_total{route=\"/v1/completions\",code=\"200\"} 3";
  for (int i = 0; i < 1000 && metrics.body.find(counted) == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    metrics = server.get("/metrics");
  }
  EXPECT_EQ(metrics.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const auto value = [&](const std::string& name) {
    const size_t at = metrics.body.find("\n" + name + " ");
    EXPECT_NE(at, std::string::npos) << name;
    return at == std::string::npos ? -1.0 : std::atof(metrics.body.c_str() + at + name.size() + 2);
  };
  EXPECT_EQ(value("llamacpp:prompt_tokens_total"), 12);
  EXPECT_EQ(value("llamacpp:tokens_predicted_total"), 30);
  EXPECT_GT(value("llamacpp:tokens_predicted_seconds_total"), 0);
  EXPECT_EQ(value("llamacpp:n_tokens_max"), 4 + 10 - 1);
  EXPECT_EQ(value("llamacpp:requests_processing"), 0);
  EXPECT_EQ(value("llamacpp:requests_deferred"), 0);
  EXPECT_EQ(value("vllm:generation_tokens_total{model_name=\"fake\"}"), 30);
  EXPECT_EQ(value("vllm:request_success_total{model_name=\"fake\",finished_reason=\"length\"}"), 3);
  EXPECT_EQ(value("vllm:time_to_first_token_seconds_count{model_name=\"fake\"}"), 3);
  EXPECT_EQ(value("vllm:inter_token_latency_seconds_count{model_name=\"fake\"}"), 27);
  EXPECT_EQ(value("vllm:e2e_request_latency_seconds_bucket{model_name=\"fake\",le=\"+Inf\"}"), 3);
  EXPECT_GT(value("floe_weight_bytes_read_total{kind=\"routed\"}"), 0);
  EXPECT_EQ(value("floe_weight_bytes_read_total{kind=\"mtp\"}"), 0);
  EXPECT_EQ(value("floe_experts_union_count{batch=\"1\"}"), 27);
  EXPECT_EQ(value("floe_http_responses_total{route=\"/v1/completions\",code=\"200\"}"), 3);
  EXPECT_EQ(value("floe_http_responses_total{route=\"none\",code=\"404\"}"), 1);
  EXPECT_EQ(value("floe_ready"), 1);
  for (const char* name :
       {"llamacpp:prompt_seconds_total", "llamacpp:n_decode_total",
        "llamacpp:prompt_tokens_seconds", "llamacpp:predicted_tokens_seconds",
        "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
        "vllm:prefix_cache_queries", "vllm:prefix_cache_hits", "vllm:prompt_tokens_total",
        "vllm:request_queue_time_seconds", "vllm:request_prefill_time_seconds",
        "vllm:request_decode_time_seconds", "floe_step_seconds",
        "floe_decode_bandwidth_bytes_per_second"}) {
    EXPECT_NE(metrics.body.find(std::string("# TYPE ") + name + " "), std::string::npos) << name;
  }
}

TEST(Metrics, PromtoolReadsThem) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "promtool is not installed";
  TestServerOptions options;
  options.engine.drafters = [](Model& model, KvCache& cache, const DraftLimits& limits) {
    return scripted_drafters(dynamic_cast<FakeModel&>(model),
                             {[] { return false; }, [](uint32_t n_room) { return n_room; },
                              [](uint32_t) { return 0u; }})(model, cache, limits);
  };
  TestServer server(options);
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", "abcd"}, {"max_tokens", 10}}).status, 200);
  const std::string path = ::testing::TempDir() + "floe_metrics_" + std::to_string(getpid());
  const std::string body = server.get("/metrics").body;
  EXPECT_NE(body.find("\nfloe_spec_enabled{type=\"draft\"} 1\n"), std::string::npos);
  std::ofstream(path) << body;
  const std::string out = path + ".out";
  const int status =
      std::system(("promtool check metrics <" + path + " >" + out + " 2>&1").c_str());
  std::ifstream file(out);
  const std::string said{std::istreambuf_iterator<char>(file), {}};
  // 0: clean. 3: readable, with remarks on style; the names known from elsewhere cannot be helped.
  EXPECT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3) << said;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_FALSE(line.starts_with("floe_")) << line;
  }
  std::filesystem::remove(path);
  std::filesystem::remove(out);
}

}  // namespace
}  // namespace floe

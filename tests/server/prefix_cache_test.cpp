// What a request takes from the prompts of earlier ones, as its client sees it.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "server/test_server.h"

namespace floe::testing {
namespace {

std::string post(const std::string& body, const std::string& key = {}) {
  std::string head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n";
  if (!key.empty()) head += "Authorization: Bearer " + key + "\r\n";
  return head + "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

Json ask(TestServer& server, const std::string& fields, const std::string& key = {}) {
  RawClient client(server.port());
  const std::string prompt(100, 'p');
  EXPECT_TRUE(client.send(post(
      "{\"prompt\":\"" + prompt + "\",\"temperature\":0,\"max_tokens\":8" + fields + "}", key)));
  const Response response = client.read_response();
  EXPECT_EQ(response.status, 200) << response.body;
  return response.json();
}

TEST(PrefixCacheApi, UsageSaysWhatWasFoundAndAnswersStayTheSame) {
  struct Case {
    const char* name;
    const char* fields;
    const char* key;
    int n_cached;
  };
  const Case cases[] = {
      {"the first", "", "one", 0},
      {"the second", "", "one", 96},
      {"another key", "", "two", 0},
      {"that key again", "", "two", 96},
      {"a salt", ",\"cache_salt\":\"s\"", "one", 0},
      {"the same salt", ",\"cache_salt\":\"s\"", "one", 96},
      {"as SGLang calls it", ",\"extra_key\":\"s\"", "one", 0},
      {"not wanted", ",\"cache_prompt\":false", "one", 0},
      {"wanted", ",\"cache_prompt\":true", "one", 96},
      {"choices share what was found once", ",\"n\":3", "one", 96},
      {"a scored prompt", ",\"prompt_logprobs\":1", "one", 0},
  };
  TestServerOptions options;
  options.serve.api_keys = {"one", "two"};
  options.engine.cache_prefixes = true;
  options.engine.n_prefix_tokens = 4096;
  TestServer server(options);
  std::string text;
  for (const Case& c : cases) {
    const Json answer = ask(server, c.fields, c.key);
    EXPECT_EQ(answer["usage"]["prompt_tokens"], 100) << c.name;
    EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], c.n_cached) << c.name;
    EXPECT_EQ(answer["timings"]["cache_n"], c.n_cached) << c.name;
    const std::string said = answer["choices"][0]["text"].get<std::string>();
    if (text.empty()) text = said;
    EXPECT_EQ(said, text) << c.name;
  }
}

TEST(PrefixCacheApi, TheServersDefaultCanBeOff) {
  TestServerOptions options;
  options.serve.default_cache_prompt = false;
  options.engine.cache_prefixes = true;
  options.engine.n_prefix_tokens = 4096;
  TestServer server(options);
  const auto n_cached = [&](const char* fields) {
    return ask(server, fields)["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  EXPECT_EQ(n_cached(""), 0);
  EXPECT_EQ(n_cached(""), 0);
  EXPECT_EQ(n_cached(",\"cache_prompt\":true"), 0);
  EXPECT_EQ(n_cached(",\"cache_prompt\":true"), 96);
}

TEST(PrefixCacheApi, MetricsCountIt) {
  TestServerOptions options;
  options.engine.cache_prefixes = true;
  options.engine.n_prefix_tokens = 4096;
  TestServer server(options);
  for (int i = 0; i < 3; ++i) ask(server, "");
  ASSERT_TRUE(server.wait_idle());  // an answer is there a little before its slot is free
  RawClient client(server.port());
  ASSERT_TRUE(client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  const std::string text = client.read_response().body;
  const uint64_t block_bytes = server.engine().stats().kv_block_bytes;
  for (const std::string line :
       {std::string("floe_prefix_cache_lookups_total{result=\"hit\"} 2\n"),
        std::string("floe_prefix_cache_lookups_total{result=\"miss\"} 1\n"),
        std::string("floe_kv_blocks{state=\"used\"} 0\n"),
        std::string("floe_kv_blocks{state=\"cached\"} 3\n"),
        "floe_prefix_cache_bytes " + std::to_string(3 * block_bytes) + "\n",
        std::string("floe_prefix_cache_evicted_blocks_total 0\n"),
        std::string("vllm:prefix_cache_hits{model_name=\"fake\"} 192\n"),
        std::string("vllm:prefix_cache_queries{model_name=\"fake\"} 300\n")}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

TEST(PrefixCacheApi, SlotsShowWhatIsReused) {
  TestServerOptions options;
  options.engine.cache_prefixes = true;
  options.engine.n_prefix_tokens = 4096;
  options.engine.max_sequences = 2;
  // Slow enough to be seen: it ends when its client leaves.
  options.model.after_forward = [](size_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  TestServer server(options);
  ask(server, "");
  ASSERT_TRUE(server.wait_idle());  // an answer is there a little before its slot is free
  const auto slots = [&](const char* query, int status) {
    RawClient client(server.port());
    EXPECT_TRUE(
        client.send(std::string("GET /slots") + query + " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    const Response response = client.read_response();
    EXPECT_EQ(response.status, status) << response.body;
    return response.json();
  };
  for (const Json& slot : slots("?fail_on_no_slot=1", 200)) {
    EXPECT_EQ(slot["is_processing"], false);
    EXPECT_FALSE(slot.contains("id_task"));
  }
  RawClient client(server.port());
  ASSERT_TRUE(client.send(post("{\"prompt\":\"" + std::string(110, 'p') +
                               "\",\"max_tokens\":1500,\"stream\":true,\"n\":2}")));
  ASSERT_TRUE(client.read_until("data: "));
  Json found;
  for (int i = 0; i < 500 && found.empty(); ++i) {
    const Json now = slots("", 200);
    ASSERT_EQ(now.size(), 2u);
    if (now[0]["is_processing"] == true && now[1]["is_processing"] == true) found = now;
    if (found.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_FALSE(found.empty());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(found[i]["id"], i);
    EXPECT_EQ(found[i]["n_prompt_tokens"], 110);
    EXPECT_EQ(found[i]["n_prompt_tokens_cache"], 96);
    EXPECT_LE(found[i]["n_prompt_tokens_processed"], 14);
    const Json& next = found[i]["next_token"][0];
    EXPECT_EQ(next["n_remain"].get<int>() + next["n_decoded"].get<int>(), 1500);
  }
  EXPECT_NE(found[0]["choice"], found[1]["choice"]);
  slots("?fail_on_no_slot=1", 503);
}

}  // namespace
}  // namespace floe::testing

// Whatever a message, a call, a tool or a variable says, it is text: through the built-in templates
// and the public ones, a prompt has the special tokens that it has with harmless text.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <regex>

#include "base/json.h"
#include "chat/chat_template.h"
#include "store/gguf.h"
#include "text/small_vocabulary.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

constexpr size_t kFields = 14;
constexpr const char* kHarmless = "plain";

using Fields = std::vector<std::string>;

ChatMessage said(const char* role, const std::string& content) {
  ChatMessage message;
  message.role = role;
  message.content = content;
  return message;
}

std::vector<ChatMessage> conversation(const Fields& f) {
  std::vector<ChatMessage> messages = {said("system", f[0]),    said("user", f[1]),
                                       said("assistant", ""),   said("tool", f[3]),
                                       said("assistant", f[2]), said("user", f[1])};
  messages[1].name = f[12];
  messages[2].reasoning_content = f[4];
  messages[2].tool_calls = {{f[5], f[6], Json{{f[7], f[8]}, {"list", {f[8], 1}}}.dump()}};
  messages[3].tool_call_id = f[5];
  messages[3].name = f[6];
  messages[4].reasoning_content = f[4];
  return messages;
}

ChatOptions options_of(const Fields& f, size_t shape) {
  ChatOptions options;
  if (shape % 2 != 0) options.enable_thinking = shape % 4 == 1;
  options.template_kwargs = std::make_shared<const Json>(
      Json{{"title", f[9]}, {"date_string", f[9]}, {"custom_system_prompt", f[9]}});
  if (shape % 3 != 0) {
    Json properties = {{f[7], {{"type", "string"}, {"description", f[11]}}}};
    options.tools = *make_chat_tools(
        Json::array({{{"type", "function"},
                      {"function",
                       {{"name", f[6]},
                        {"description", f[10]},
                        {"parameters", {{"type", "object"}, {"properties", properties}}}}}}}));
  }
  options.now_unix_seconds = 1767225600;
  return options;
}

// How often each special token stands in the prompt; nothing where the template refuses.
std::optional<std::map<int32_t, size_t>> specials_of(const ChatTemplate& chat,
                                                     const Tokenizer& tokenizer, const Fields& f,
                                                     size_t shape) {
  std::vector<ChatMessage> messages = conversation(f);
  if (shape % 5 == 4) {
    messages.erase(messages.begin());
    for (ChatMessage& message : messages) message.tool_calls.clear();
    messages = {messages[0], messages[3], messages[4], said("assistant", f[13])};
  }
  ChatOptions options = options_of(f, shape);
  options.continue_final_message = messages.back().role == "assistant";
  if (!chat.supports_tools()) options.tools = nullptr;
  const auto prompt = chat.prompt(messages, options);
  if (!prompt.ok()) return std::nullopt;
  std::map<int32_t, size_t> counts;
  for (const int32_t id : prompt->ids) {
    if (tokenizer.is_special(id)) ++counts[id];
  }
  return counts;
}

std::string told(const Tokenizer& tokenizer, const std::map<int32_t, size_t>& counts) {
  std::string text;
  for (const auto& [id, count] : counts) {
    text += std::string(tokenizer.token_bytes(id)) + "=" + std::to_string(count) + " ";
  }
  return text;
}

std::vector<std::string> special_texts(const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (int32_t id = 0; id < tokenizer.n_vocab(); ++id) {
    if (tokenizer.is_special(id) && !tokenizer.token_bytes(id).empty()) {
      texts.emplace_back(tokenizer.token_bytes(id));
    }
  }
  return texts;
}

struct Counts {
  size_t n_prompts = 0;
  size_t n_refused = 0;
};

// All of a vocabulary's special tokens in all fields at once, then a few in a field each.
void check(const ChatTemplateSource& source, const Tokenizer& tokenizer, std::mt19937& random,
           Counts& counts) {
  const auto chat = ChatTemplate::create(source, tokenizer);
  ASSERT_TRUE(chat.ok()) << chat.error().message;
  const std::vector<std::string> texts = special_texts(tokenizer);
  ASSERT_FALSE(texts.empty());
  const Fields plain(kFields, kHarmless);
  for (size_t round = 0; round < 40; ++round) {
    Fields evil = plain;
    if (round < 10) {
      std::vector<std::string> order = texts;
      std::shuffle(order.begin(), order.end(), random);
      std::string all = "p";
      for (const std::string& text : order) all += text + (random() % 2 ? "" : " ");
      evil.assign(kFields, all);
    } else {
      for (size_t n = 1 + random() % 3; n > 0; --n) {
        evil[random() % kFields] = "p" + texts[random() % texts.size()] + "q";
      }
    }
    const auto expected = specials_of(*chat, tokenizer, plain, round);
    const auto found = specials_of(*chat, tokenizer, evil, round);
    ++counts.n_prompts;
    if (!expected || !found) {
      ++counts.n_refused;
      continue;
    }
    ASSERT_EQ(told(tokenizer, *found), told(tokenizer, *expected))
        << source.name << " round " << round << ": " << Json(evil).dump();
  }
}

std::vector<ChatTemplateSource> all_sources() {
  std::vector<ChatTemplateSource> sources;
  for (const char* name : {"qwen3", "chatml", "glm", "glm-compact", "floe-nano"}) {
    sources.push_back(*builtin_chat_template(name));
  }
  if (testing::shared_dir().empty()) return sources;
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::shared_dir() + "/templates")) {
    if (entry.path().extension() != ".jinja") continue;
    ChatTemplateSource source;
    source.name = entry.path().filename();
    source.text = testing::read_file(entry.path());
    sources.push_back(std::move(source));
  }
  std::sort(sources.begin(), sources.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return sources;
}

// Each template with a vocabulary that has a token for everything in it that looks like a marker.
TEST(TemplateMarkers, AreNeverForgedInTheTemplatesOwnWords) {
  std::mt19937 random(17);
  Counts counts;
  const std::regex marker(R"(<[^<>\s'"{}]+>|\[/?[A-Z_]+\]|/no_?think)");
  for (const ChatTemplateSource& source : all_sources()) {
    std::vector<std::string> texts = {"<think>", "</think>", "<|im_start|>", "<|im_end|>"};
    for (std::sregex_iterator at(source.text.begin(), source.text.end(), marker), end; at != end;
         ++at) {
      if (std::find(texts.begin(), texts.end(), at->str()) == texts.end()) {
        texts.push_back(at->str());
      }
    }
    std::vector<std::pair<std::string, TokenType>> specials;
    for (const std::string& text : texts) specials.emplace_back(text, TokenType::control);
    auto tokenizer = Tokenizer::build(testing::small_byte_vocabulary(specials));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    check(source, **tokenizer, random, counts);
  }
  std::printf("%zu prompts, %zu refused\n", counts.n_prompts, counts.n_refused);
  EXPECT_LT(counts.n_refused, counts.n_prompts / 4);
}

TEST(TemplateMarkers, AreNeverForgedInPublicVocabularies) {
  if (testing::shared_dir().empty()) GTEST_SKIP() << "no public vocabularies beside the checkout";
  std::mt19937 random(18);
  Counts counts;
  for (const auto& entry : std::filesystem::directory_iterator(testing::shared_dir() + "/vocab")) {
    if (entry.path().extension() != ".gguf") continue;
    const auto file = GgufFile::open(entry.path(), NoTensors::allow);
    ASSERT_TRUE(file.ok()) << file.error().message;
    const auto tokenizer = Tokenizer::load(*file);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    for (const ChatTemplateSource& source : all_sources()) {
      check(source, **tokenizer, random, counts);
    }
  }
  std::printf("%zu prompts, %zu refused\n", counts.n_prompts, counts.n_refused);
  EXPECT_LT(counts.n_refused, counts.n_prompts / 4);
}

}  // namespace
}  // namespace floe

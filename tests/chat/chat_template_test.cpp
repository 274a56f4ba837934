#include "chat/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <tuple>

#include "base/json.h"
#include "repo_path.h"
#include "text/small_vocabulary.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

using Specials = std::vector<std::pair<std::string, TokenType>>;

Specials control(const std::vector<std::string>& texts) {
  Specials out;
  for (const std::string& text : texts) out.emplace_back(text, TokenType::control);
  return out;
}

const std::vector<std::string> kFloeTokens = {
    "<|endoftext|>", "<|system|>",  "<|user|>",     "<|assistant|>",   "<|end|>",         "<think>",
    "</think>",      "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"};
const std::vector<std::string> kChatmlTokens = {"<|im_start|>", "<|im_end|>"};
const std::vector<std::string> kQwen3Tokens = {"<|im_start|>", "<|im_end|>",  "<think>",
                                               "</think>",     "<tool_call>", "</tool_call>"};
const std::vector<std::string> kGlmTokens = {
    "[gMASK]",         "<sop>",           "<|system|>",  "<|user|>",     "<|assistant|>",
    "<|observation|>", "<think>",         "</think>",    "<tool_call>",  "</tool_call>",
    "<arg_key>",       "</arg_key>",      "<arg_value>", "</arg_value>", "/nothink",
    "<tool_response>", "</tool_response>"};

std::unique_ptr<const Tokenizer> make_tokenizer(const std::vector<std::string>& specials,
                                                const std::string& chat_template = {}) {
  Vocabulary vocabulary = testing::small_byte_vocabulary(control(specials));
  vocabulary.chat_template = chat_template;
  auto tokenizer = Tokenizer::build(std::move(vocabulary));
  EXPECT_TRUE(tokenizer.ok());
  return std::move(tokenizer).value();
}

ChatTemplate builtin(const Tokenizer& tokenizer, const char* name) {
  auto source = builtin_chat_template(name);
  EXPECT_TRUE(source.has_value()) << name;
  auto made = ChatTemplate::create(std::move(*source), tokenizer);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return *made;
}

ChatTemplate detect(const Tokenizer& tokenizer) {
  auto made = ChatTemplate::load({}, tokenizer);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return *made;
}

// Renders, and checks that the ids say the same bytes and hold no marker of the users' making.
std::string rendered(const Tokenizer& tokenizer, const ChatTemplate& chat,
                     const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  const auto text = chat.render(messages, options);
  EXPECT_TRUE(text.ok()) << text.error().message;
  const auto prompt = chat.prompt(messages, options);
  EXPECT_TRUE(prompt.ok());
  EXPECT_EQ(tokenizer.decode(prompt->ids, true), *text);
  return *text;
}

ChatOptions with_kwargs(const char* json) {
  ChatOptions options;
  options.template_kwargs = std::make_shared<const Json>(Json::parse(json));
  return options;
}

ChatTools tools_of(const std::string& json) {
  auto tools = make_chat_tools(Json::parse(json));
  EXPECT_TRUE(tools.ok()) << tools.error().message;
  return *tools;
}

ChatMessage message(const std::string& role, const std::string& content) {
  ChatMessage out;
  out.role = role;
  out.content = content;
  return out;
}

TEST(ChatTemplate, FloeNano) {
  const auto tokenizer = make_tokenizer(kFloeTokens);
  const ChatTemplate chat = detect(*tokenizer);
  EXPECT_EQ(chat.source().name, "floe-nano");
  EXPECT_FALSE(chat.traits().thinks_by_default);
  std::vector<ChatMessage> messages = {message("system", "Be brief."), message("user", "Hi"),
                                       message("assistant", "Hello."), message("user", "2+2?")};
  const std::string head =
      "<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|><think></think>Hello.<|end|>"
      "<|user|>2+2?<|end|>";
  EXPECT_EQ(rendered(*tokenizer, chat, messages, {}), head + "<|assistant|><think></think>");
  ChatOptions thinking;
  thinking.enable_thinking = true;
  EXPECT_EQ(rendered(*tokenizer, chat, messages, thinking), head + "<|assistant|><think>");
  EXPECT_TRUE(chat.prompt(messages, thinking)->inside_reasoning);
  EXPECT_FALSE(chat.prompt(messages, {})->inside_reasoning);
  messages[2].reasoning_content = "a greeting";
  ChatOptions open;
  open.add_generation_prompt = false;
  EXPECT_EQ(
      rendered(*tokenizer, chat, messages, open),
      "<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|><think>a greeting</think>Hello."
      "<|end|><|user|>2+2?<|end|>");
}

TEST(ChatTemplate, FloeNanoTools) {
  const auto tokenizer = make_tokenizer(kFloeTokens);
  const ChatTemplate chat = detect(*tokenizer);
  ChatOptions options;
  options.tools = tools_of(
      R"([{"type":"function","function":{"name":"add","description":"x","parameters":{"type":"object","properties":{"a":{"type":"integer"},"note":{}}}}}])");
  std::vector<ChatMessage> messages = {message("user", "1+2?"), message("assistant", ""),
                                       message("tool", "3"), message("tool", "4")};
  messages[1].tool_calls = {{"id", "add", R"({"a": 1})"}, {"id2", "no", ""}};
  EXPECT_EQ(
      rendered(*tokenizer, chat, messages, options),
      "<|system|>You have these tools:\n{\"name\": \"add\", \"parameters\": {\"a\": \"integer\", "
      "\"note\": \"string\"}}<|end|><|user|>1+2?<|end|><|assistant|><think></think><tool_call>"
      "{\"name\": \"add\", \"arguments\": {\"a\": 1}}</tool_call><tool_call>{\"name\": \"no\", "
      "\"arguments\": "
      "{}}</tool_call><|end|><|user|><tool_response>3</tool_response><tool_response>4"
      "</tool_response><|end|><|assistant|><think></think>");
}

// The next turn's prompt extends this one and its answer: what the prefix cache lives from.
TEST(ChatTemplate, FloeNanoPromptsExtendTheOnesBefore) {
  const auto tokenizer = make_tokenizer(kFloeTokens);
  const ChatTemplate chat = detect(*tokenizer);
  for (const bool thinking : {false, true}) {
    ChatOptions options;
    options.enable_thinking = thinking;
    std::vector<ChatMessage> messages = {message("user", "Hi")};
    const std::string before = rendered(*tokenizer, chat, messages, options);
    messages.push_back(message("assistant", "Hello."));
    if (thinking) messages.back().reasoning_content = "hm";
    messages.push_back(message("user", "More"));
    const std::string after = rendered(*tokenizer, chat, messages, options);
    const std::string said = before + (thinking ? "hm</think>" : "") + "Hello.<|end|>";
    EXPECT_EQ(after.substr(0, said.size()), said);
  }
}

TEST(ChatTemplate, Qwen3Thinking) {
  const auto tokenizer = make_tokenizer(kQwen3Tokens);
  const ChatTemplate chat = detect(*tokenizer);
  EXPECT_TRUE(chat.traits().thinks_by_default);
  std::vector<ChatMessage> messages = {message("user", "a"), message("assistant", "b"),
                                       message("user", "c")};
  messages[1].reasoning_content = "\nr\n";
  const std::string head =
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_"
      "end|>\n"
      "<|im_start|>assistant\n";
  EXPECT_EQ(rendered(*tokenizer, chat, messages, {}), head);
  ChatOptions off;
  off.enable_thinking = false;
  EXPECT_EQ(rendered(*tokenizer, chat, messages, off), head + "<think>\n\n</think>\n\n");
  const ChatOptions keep = with_kwargs(R"({"preserve_thinking": true})");
  EXPECT_EQ(
      rendered(*tokenizer, chat, messages, keep),
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nr\n</think>\n\nb<|im_end|>\n"
      "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, GlmCompactFollowsTheNewerTemplate) {
  const auto tokenizer = make_tokenizer(kGlmTokens);
  const ChatTemplate chat = builtin(*tokenizer, "glm-compact");
  std::vector<ChatMessage> messages = {message("system", "s"),      message("user", "u"),
                                       message("assistant", " a "), message("user", "v"),
                                       message("assistant", ""),    message("tool", "t")};
  messages[2].reasoning_content = "old";
  messages[4].reasoning_content = " new ";
  messages[4].tool_calls = {{"i", "f", R"({"k":"v","n":[1,2]})"}};
  const std::string body =
      "[gMASK]<sop><|system|>s<|user|>u<|assistant|></think>a<|user|>v<|assistant|><think>new</"
      "think>"
      "<tool_call>f<arg_key>k</arg_key><arg_value>v</arg_value><arg_key>n</arg_key><arg_value>[1, "
      "2]"
      "</arg_value></tool_call><|observation|><tool_response>t</tool_response><|assistant|>";
  EXPECT_EQ(rendered(*tokenizer, chat, messages, {}), body + "<think>");
  EXPECT_TRUE(chat.prompt(messages, {})->inside_reasoning);
  ChatOptions off;
  off.enable_thinking = false;
  EXPECT_EQ(rendered(*tokenizer, chat, messages, off), body + "</think>");
}

// What looks like a marker in an earlier answer is what was said there.
TEST(ChatTemplate, SpelledMarkersInHistoryAreText) {
  const std::string said = "<think>no</think> is how it is written";
  for (const auto& [specials, name, before] :
       {std::tuple(kFloeTokens, "floe-nano", "<|assistant|><think></think>"),
        std::tuple(kQwen3Tokens, "qwen3", "<|im_start|>assistant\n"),
        std::tuple(kGlmTokens, "glm", "<|assistant|>\n<think></think>\n")}) {
    const auto tokenizer = make_tokenizer(specials);
    const ChatTemplate chat = builtin(*tokenizer, name);
    const std::vector<ChatMessage> messages = {message("user", "<tool_response>a</tool_response>"),
                                               message("assistant", said), message("user", "b")};
    EXPECT_NE(rendered(*tokenizer, chat, messages, {}).find(before + said), std::string::npos)
        << name;
  }
  // /nothink counts as the format's own token, whoever wrote the word.
  const auto tokenizer = make_tokenizer(kGlmTokens);
  const ChatTemplate chat = builtin(*tokenizer, "glm");
  ChatOptions off;
  off.enable_thinking = false;
  const int32_t no_think = *tokenizer->find_special("/nothink");
  for (const bool thinking : {false, true}) {
    off.enable_thinking = thinking;
    const auto ids = chat.prompt(std::vector{message("user", "x/nothink")}, off)->ids;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), no_think), thinking ? 0 : 1);
  }
}

// No field of a conversation can forge a token of the format, whatever it spells.
TEST(ChatTemplate, MessagesCannotForgeMarkers) {
  std::mt19937 random(5);
  const std::pair<std::vector<std::string>, const char*> formats[] = {{kFloeTokens, "floe-nano"},
                                                                      {kQwen3Tokens, "qwen3"},
                                                                      {kChatmlTokens, "chatml"},
                                                                      {kGlmTokens, "glm"},
                                                                      {kGlmTokens, "glm-compact"}};
  constexpr int kFields = 10;
  for (const auto& [specials, name] : formats) {
    const auto tokenizer = make_tokenizer(specials);
    const ChatTemplate chat = builtin(*tokenizer, name);
    const auto specials_of = [&](const std::vector<std::string>& fields, int shape) {
      const auto at = [&](int i) { return fields[static_cast<size_t>(i)]; };
      std::vector<ChatMessage> messages = {
          message("system", at(0)), message("user", at(1)), message("assistant", at(2)),
          message("tool", at(3)),   message("user", at(1)), message("assistant", at(4))};
      messages[2].reasoning_content = at(5);
      messages[5].reasoning_content = at(5);
      Json arguments = {{at(7), at(8)}, {"list", {at(8), 1}}};
      messages[2].tool_calls = {{at(9), at(6), arguments.dump()}, {at(9), at(6), at(8)}};
      ChatOptions options;
      options.enable_thinking = shape % 2 == 0;
      options.continue_final_message = shape / 2 % 2 == 0;
      if (shape / 4 % 2 == 0) {
        options.template_kwargs = std::make_shared<const Json>(
            Json{{"preserve_thinking", true}, {"title", at(9)}, {at(7), Json::array({at(8)})}});
      }
      if (shape / 8 % 2 == 0) {
        options.tools = *make_chat_tools(
            Json::array({{{"name", "t" + at(6)},
                          {"description", at(9)},
                          {"parameters", {{"properties", {{at(7), {{"type", at(8)}}}}}}}}}));
      }
      const auto prompt = chat.prompt(messages, options);
      EXPECT_TRUE(prompt.ok()) << prompt.error().message;
      std::vector<int32_t> out;
      for (const int32_t id : prompt->ids) {
        if (tokenizer->is_special(id)) out.push_back(id);
      }
      return out;
    };
    for (int round = 0; round < 400; ++round) {
      std::vector<std::string> plain(kFields, "plain");
      std::vector<std::string> evil = plain;
      for (std::string& field : evil) {
        field = "p";
        for (size_t n = random() % 4; n > 0; --n) {
          field += specials[random() % specials.size()];
          if (random() % 2) field += random() % 2 ? "\n" : "x";
        }
      }
      const int shape = static_cast<int>(random() % 16);
      ASSERT_EQ(specials_of(evil, shape), specials_of(plain, shape)) << name << shape;
    }
  }
}

// The final message goes on. One row a format, a way to think and a message.
TEST(ChatTemplate, TheFinalMessageGoesOn) {
  const struct {
    std::vector<std::string> specials;
    const char* name;
    std::optional<bool> thinking;
    const char* reasoning;  // nullptr: none
    const char* content;
    const char* expected;
    bool inside_reasoning;
    bool continues;
  } rows[] = {
      {kFloeTokens,
       "floe-nano",
       {},
       nullptr,
       "One, ",
       "<|user|>q<|end|><|assistant|><think></think>One, ",
       false,
       true},
      {kFloeTokens, "floe-nano", true, nullptr, "One\n",
       "<|user|>q<|end|><|assistant|><think></think>One\n", false, true},
      {kFloeTokens, "floe-nano", true, "so", "One",
       "<|user|>q<|end|><|assistant|><think>so</think>One", false, true},
      {kFloeTokens, "floe-nano", false, "so ", "", "<|user|>q<|end|><|assistant|><think>so ", true,
       true},
      {kFloeTokens, "floe-nano", true, nullptr, "", "<|user|>q<|end|><|assistant|><think>", true,
       false},
      {kFloeTokens,
       "floe-nano",
       {},
       "",
       "",
       "<|user|>q<|end|><|assistant|><think></think>",
       false,
       false},
      {kChatmlTokens,
       "chatml",
       {},
       nullptr,
       " One",
       "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n One",
       false,
       true},
      {kQwen3Tokens,
       "qwen3",
       {},
       nullptr,
       "\nOne ",
       "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n\nOne ",
       false,
       true},
      {kQwen3Tokens,
       "qwen3",
       {},
       "so",
       "One",
       "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nso\n</think>\n\nOne",
       false,
       true},
      {kQwen3Tokens,
       "qwen3",
       {},
       "so\n",
       "",
       "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nso\n",
       true,
       true},
      {kQwen3Tokens,
       "qwen3",
       {},
       nullptr,
       "",
       "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
       false,
       false},
      {kGlmTokens,
       "glm",
       {},
       nullptr,
       "One ",
       "[gMASK]<sop><|user|>\nq<|assistant|>\n<think></think>\nOne ",
       false,
       true},
      {kGlmTokens, "glm", false, "so", "One",
       "[gMASK]<sop><|user|>\nq/nothink<|assistant|>\n<think>so</think>\nOne", false, true},
      {kGlmTokens,
       "glm",
       {},
       "so ",
       "",
       "[gMASK]<sop><|user|>\nq<|assistant|>\n<think>so ",
       true,
       true},
      {kGlmTokens,
       "glm-compact",
       {},
       nullptr,
       "One",
       "[gMASK]<sop><|user|>q<|assistant|></think>One",
       false,
       true},
      {kGlmTokens,
       "glm-compact",
       {},
       "so",
       "",
       "[gMASK]<sop><|user|>q<|assistant|><think>so",
       true,
       true},
  };
  for (const auto& row : rows) {
    const auto tokenizer = make_tokenizer(row.specials);
    const ChatTemplate chat = builtin(*tokenizer, row.name);
    std::vector<ChatMessage> messages = {message("user", "q"), message("assistant", row.content)};
    if (row.reasoning != nullptr) messages[1].reasoning_content = row.reasoning;
    ChatOptions options;
    options.enable_thinking = row.thinking;
    options.continue_final_message = true;
    for (const bool add : {false, true}) {
      options.add_generation_prompt = add;
      EXPECT_EQ(rendered(*tokenizer, chat, messages, options), row.expected) << row.name;
    }
    const auto prompt = chat.prompt(messages, options);
    EXPECT_EQ(prompt->inside_reasoning, row.inside_reasoning) << row.expected;
    EXPECT_EQ(prompt->continues, row.continues) << row.expected;
    // Alone, without a question, as well.
    messages.erase(messages.begin());
    EXPECT_TRUE(chat.render(messages, options).ok());
    messages[0].tool_calls = {{"", "f", "{}"}};
    EXPECT_EQ(chat.render(messages, options).error().kind, ErrorKind::usage);
    messages = {message("user", "q")};
    EXPECT_EQ(chat.render(messages, options).error().kind, ErrorKind::usage);
  }
}

// Calls of earlier answers, whatever some model wrote.
TEST(ChatTemplate, CallsAreReplayedAsTheyStand) {
  const struct {
    const char* arguments;
    const char* json;
    const char* glm;
  } rows[] = {
      {"", "{}", ""},
      {" \n", "{}", ""},
      {"{", "{", "{"},
      {"{\"a\": \"x", "{\"a\": \"x", "{\"a\": \"x"},
      {"[1]", "[1]", "[1]"},
      {"{\"a\":  1}", "{\"a\":  1}", "<arg_key>a</arg_key><arg_value>1</arg_value>"},
  };
  const auto nano = make_tokenizer(kFloeTokens);
  const auto glm = make_tokenizer(kGlmTokens);
  const ChatTemplate nano_chat = builtin(*nano, "floe-nano");
  const ChatTemplate glm_chat = builtin(*glm, "glm-compact");
  for (const auto& row : rows) {
    std::vector<ChatMessage> messages = {message("assistant", ""), message("user", "q")};
    messages[0].tool_calls = {{"", "get weather", row.arguments}};
    EXPECT_NE(rendered(*nano, nano_chat, messages, {})
                  .find("<tool_call>{\"name\": \"get weather\", \"arguments\": " +
                        std::string(row.json) + "}</tool_call>"),
              std::string::npos)
        << row.arguments;
    EXPECT_NE(rendered(*glm, glm_chat, messages, {})
                  .find("<tool_call>get weather" + std::string(row.glm) + "</tool_call>"),
              std::string::npos)
        << row.arguments;
  }
}

TEST(ChatTemplate, RefusesWhatItCannotFormat) {
  const auto none = make_tokenizer({"<|other|>"});
  const auto unknown = ChatTemplate::load({}, *none);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::model);
  EXPECT_NE(unknown.error().message.find("<|im_start|>"), std::string::npos);
  const auto broken = make_tokenizer(kChatmlTokens, "a\n{% include 'x' %}");
  const auto refused = ChatTemplate::load({}, *broken);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::model);
  EXPECT_NE(refused.error().message.find("tokenizer.chat_template: chat template, line 2"),
            std::string::npos)
      << refused.error().message;
  const auto tokenizer = make_tokenizer(kChatmlTokens);
  const ChatTemplate chat = detect(*tokenizer);
  EXPECT_EQ(chat.render({}, {}).error().kind, ErrorKind::usage);
  std::vector<ChatMessage> messages = {message("user", "x"), message("wizard", "y")};
  EXPECT_NE(chat.render(messages, {}).error().message.find("messages[1].role"), std::string::npos);
}

// What a user may say about the template. One row a choice.
TEST(ChatTemplate, IsChosen) {
  const struct {
    ChatTemplateChoice choice;
    const char* prompt;  // of "hi"; nullptr: refused
    const char* said;    // in the refusal
  } rows[] = {
      {{"", "", ""}, "own hi", nullptr},
      {{"auto", "", ""}, "own hi", nullptr},
      {{"chatml", "", ""}, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", nullptr},
      {{"{{ messages[0].content }}!", "", ""}, "hi!", nullptr},
      {{"{{ x }} {{ messages[0].content }}", "", R"({"x": "y"})"}, "y hi", nullptr},
      {{"alpaca", "", ""}, nullptr, "--chat-template: expected qwen3, chatml"},
      {{"qwen3", "", ""}, nullptr, "expected the special tokens <think>, </think>"},
      {{"{{", "", ""}, nullptr, "--chat-template: chat template, line 1"},
      {{"chatml", "/nowhere", ""}, nullptr, "found both"},
      {{"", "/nowhere.jinja", ""}, nullptr, "/nowhere.jinja"},
      {{"", "", "["}, nullptr, "--chat-template-kwargs"},
      {{"", "", "[]"}, nullptr, "--chat-template-kwargs: expected a JSON object"},
      {{"", "", R"({"messages": []})"}, nullptr, "messages"},
      {{"", "", R"({"enable_thinking": 1})"}, nullptr, "enable_thinking: expected true or false"},
  };
  const auto tokenizer = make_tokenizer(kChatmlTokens, "own {{ messages[0].content }}");
  for (const auto& row : rows) {
    const auto chat = ChatTemplate::load(row.choice, *tokenizer);
    if (row.prompt == nullptr) {
      ASSERT_FALSE(chat.ok()) << row.said;
      EXPECT_NE(chat.error().message.find(row.said), std::string::npos) << chat.error().message;
      EXPECT_EQ(chat.error().kind, ErrorKind::usage) << row.said;
      continue;
    }
    ASSERT_TRUE(chat.ok()) << chat.error().message;
    EXPECT_EQ(*chat->render(std::vector{message("user", "hi")}, {}), row.prompt);
  }
}

// Which variables win, and under which names they come.
TEST(ChatTemplate, VariablesOfTheRequestWin) {
  const struct {
    const char* defaults;
    const char* kwargs;  // of the request; nullptr: none
    std::optional<bool> thinking;
    const char* effort;
    const char* expected;  // enable_thinking, thinking, reasoning_effort, x
  } rows[] = {
      {"", nullptr, {}, "", "---|-"},
      {"", nullptr, true, "high", "True,True,high|-"},
      {"", R"({"x": 1})", false, "", "False,False,-|1"},
      {R"({"x": 1})", nullptr, {}, "", "---|1"},
      {R"({"x": 1})", R"({"x": 2})", {}, "", "---|2"},
      {R"({"enable_thinking": true})", nullptr, {}, "", "True,True,-|-"},
      {R"({"enable_thinking": true})", nullptr, false, "", "False,False,-|-"},
      {R"({"reasoning_effort": "low"})", nullptr, {}, "", "--low|-"},
      {R"({"reasoning_effort": "low"})", nullptr, true, "high", "True,True,high|-"},
      {"", R"({"reasoning_effort": "no_think"})", {}, "low", "--no_think|-"},
  };
  const auto tokenizer = make_tokenizer(kChatmlTokens);
  for (const auto& row : rows) {
    ChatTemplateChoice choice;
    choice.name_or_text =
        "{{ enable_thinking ~ ',' if enable_thinking is defined else '-' }}"
        "{{ thinking ~ ',' if thinking is defined else '-' }}"
        "{{ reasoning_effort | default('-') }}|{{ x | default('-') }}";
    choice.kwargs = row.defaults;
    const auto chat = ChatTemplate::load(choice, *tokenizer);
    ASSERT_TRUE(chat.ok()) << chat.error().message;
    ChatOptions options = row.kwargs == nullptr ? ChatOptions() : with_kwargs(row.kwargs);
    options.enable_thinking = row.thinking;
    options.reasoning_effort = row.effort;
    EXPECT_EQ(*chat->render(std::vector{message("user", "hi")}, options), row.expected);
  }
}

// A file beside the model's stands for a template that the model's file has not got.
TEST(ChatTemplate, FromAFileBesideTheModels) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "floe_template_beside";
  std::filesystem::create_directories(folder);
  ChatTemplateChoice choice;
  choice.folder = folder;
  const auto rendered = [&](const char* own) {
    const auto tokenizer = make_tokenizer(kChatmlTokens, own);
    const auto chat = ChatTemplate::load(choice, *tokenizer);
    return chat.ok() ? *chat->render(std::vector{message("user", "hi")}, {}) : chat.error().message;
  };
  EXPECT_TRUE(rendered("").starts_with("<|im_start|>"));
  const std::filesystem::path file = folder / "chat_template.jinja";
  std::ofstream(file) << "beside {{ messages[0].content }}";
  EXPECT_EQ(rendered(""), "beside hi");
  EXPECT_EQ(rendered("own {{ messages[0].content }}"), "own hi");
  std::ofstream(file) << "{% include 'x' %}";
  EXPECT_NE(rendered("").find("chat_template.jinja"), std::string::npos) << rendered("");
  std::filesystem::remove_all(folder);
}

// The template's own words come back, cut to a length that fits an error.
TEST(ChatTemplate, RefusesWithTheTemplatesWords) {
  const auto tokenizer = make_tokenizer(kChatmlTokens);
  ChatTemplateChoice choice;
  choice.name_or_text =
      "{% if messages[0].role == 'system' %}{{ raise_exception('No system, ' ~ "
      "messages[0].content) "
      "}}{% endif %}{{ messages[0].content }}";
  const auto chat = ChatTemplate::load(choice, *tokenizer);
  ASSERT_TRUE(chat.ok());
  EXPECT_FALSE(chat->supports_tools());
  EXPECT_FALSE(chat->traits().supports_system);
  const auto refused = chat->render(std::vector{message("system", std::string(10000, 'x'))}, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_NE(refused.error().message.find("No system, xxx"), std::string::npos);
  EXPECT_LT(refused.error().message.size(), 600u);
  ChatOptions options;
  options.tools = tools_of(R"([{"name": "f"}])");
  EXPECT_NE(chat->render(std::vector{message("user", "x")}, options).error().message.find("tools:"),
            std::string::npos);
}

TEST(ChatTemplate, EndsWithItsClient) {
  const auto tokenizer = make_tokenizer(kChatmlTokens);
  ChatTemplateChoice choice;
  choice.name_or_text =
      "{% for i in range(1000) %}{% for j in range(10000) %}{% set k = j %}{% endfor %}{% endfor "
      "%}";
  const auto chat = ChatTemplate::load(choice, *tokenizer);
  ASSERT_TRUE(chat.ok());
  size_t n_asked = 0;
  EncodeLimits limits;
  limits.cancelled = [&] { return ++n_asked > 3; };
  const auto prompt = chat->prompt(std::vector{message("user", "x")}, {}, limits);
  ASSERT_TRUE(prompt.ok());
  EXPECT_EQ(prompt->end, Encoded::End::cancelled);
  // Alone it ends all the same, at the limits of the template room.
  EXPECT_FALSE(chat->prompt(std::vector{message("user", "x")}, {}).ok());
}

// ---- Against the published templates, rendered with Jinja2.

struct OracleCase {
  std::string expected_by;  // template file
  std::vector<ChatMessage> messages;
  ChatOptions options;
};

Json to_json(const OracleCase& current, bool arguments_as_objects) {
  Json variables = Json::object();
  Json messages = Json::array();
  for (const ChatMessage& m : current.messages) {
    Json out = {{"role", m.role}, {"content", m.content}};
    if (m.reasoning_content) out["reasoning_content"] = *m.reasoning_content;
    for (const ChatToolCall& call : m.tool_calls) {
      const Json arguments = *parse_json(call.arguments_json);
      out["tool_calls"].push_back(
          {{"type", "function"},
           {"function",
            {{"name", call.name},
             {"arguments", arguments_as_objects ? arguments : Json(call.arguments_json)}}}});
    }
    messages.push_back(out);
  }
  variables["messages"] = messages;
  variables["add_generation_prompt"] = current.options.add_generation_prompt;
  if (current.options.enable_thinking) {
    variables["enable_thinking"] = *current.options.enable_thinking;
  }
  if (current.options.tools != nullptr) {
    for (const ChatTool& tool : *current.options.tools) {
      variables["tools"].push_back(*tool.definition);
    }
  }
  return {{"template", testing::shared_dir() + "/templates/" + current.expected_by},
          {"variables", variables}};
}

std::optional<std::vector<std::string>> render_with_jinja(const std::vector<OracleCase>& cases) {
  if (testing::shared_dir().empty()) return std::nullopt;
  Json input = Json::array();
  for (const OracleCase& current : cases) input.push_back(to_json(current, true));
  const auto folder =
      std::filesystem::temp_directory_path() / ("floe_chat_test_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "in.json") << input.dump();
  const std::string command = "python3 '" + repo_path("tests/chat/render_template.py") + "' < '" +
                              (folder / "in.json").string() + "' > '" +
                              (folder / "out.json").string() + "' 2> '" +
                              (folder / "err.txt").string() + "'";
  const int status = std::system(command.c_str());
  const std::string errors = testing::read_file(folder / "err.txt");
  std::optional<std::vector<std::string>> out;
  if (status == 0) {
    out = nlohmann::json::parse(testing::read_file(folder / "out.json"))
              .get<std::vector<std::string>>();
  } else if (errors.find("No module named") == std::string::npos) {
    ADD_FAILURE() << errors;
  }
  std::filesystem::remove_all(folder);
  return out;
}

const std::vector<std::string> kContents = {"Hello",          "two\nlines",    "  padded ",
                                            "ünïcode 你好 😀", "{\"json\": 1}", "ends /nothink",
                                            "a<think>b",      "x\n\n",         "1 < 2 & 3"};
const std::string kTools =
    R"([{"type": "function", "function": {"name": "add", "description": "Adds \"two\" é", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}},
    {"type": "function", "function": {"name": "say", "parameters": {"type": "object", "properties": {}}}}])";

// Conversations with several questions, tool rounds and answers. `plain`: no tools, trimmed texts.
OracleCase random_case(std::mt19937& random, const std::string& file, bool plain, bool system) {
  OracleCase out;
  out.expected_by = file;
  const auto pick = [&] {
    std::string text = kContents[random() % kContents.size()];
    if (plain) {
      text.erase(0, text.find_first_not_of(" \n"));
      text.erase(text.find_last_not_of(" \n") + 1);
    }
    return text;
  };
  if (system) out.messages.push_back(message("system", pick()));
  const size_t n_turns = 1 + random() % 3;
  for (size_t turn = 0; turn < n_turns; ++turn) {
    out.messages.push_back(message("user", pick()));
    if (!plain && random() % 2) {
      ChatMessage call = message("assistant", random() % 2 ? pick() : "");
      if (random() % 2) call.reasoning_content = " think\nhard ";
      call.tool_calls.push_back({"1", "add", R"({"a": 1, "b": [2, {"c": "d"}]})"});
      if (random() % 2) call.tool_calls.push_back({"2", "say", R"({"text": "hé, \"you\""})"});
      out.messages.push_back(call);
      for (size_t i = 0; i <= random() % 2; ++i) out.messages.push_back(message("tool", pick()));
    }
    if (turn + 1 < n_turns) {
      out.messages.push_back(message("assistant", pick()));
      if (random() % 2) out.messages.back().reasoning_content = "because";
    }
  }
  if (!plain && random() % 2) out.options.tools = tools_of(kTools);
  out.options.add_generation_prompt = random() % 4 != 0;
  if (random() % 3) out.options.enable_thinking = random() % 2 == 0;
  return out;
}

void compare_with_jinja(const std::vector<OracleCase>& cases, const Tokenizer& tokenizer,
                        const std::vector<ChatTemplate>& chats) {
  const auto expected = render_with_jinja(cases);
  if (!expected) GTEST_SKIP() << "templates or Jinja2 not at hand";
  for (const ChatTemplate& chat : chats) {
    for (size_t i = 0; i < cases.size(); ++i) {
      ASSERT_EQ(rendered(tokenizer, chat, cases[i].messages, cases[i].options), (*expected)[i])
          << chat.source().name << to_json(cases[i], true).dump(1);
    }
  }
}

TEST(ChatTemplateOracle, Glm46) {
  std::mt19937 random(46);
  std::vector<OracleCase> cases;
  for (int i = 0; i < 200; ++i) cases.push_back(random_case(random, "GLM-4.6.jinja", false, i % 2));
  const std::string source = testing::read_file(testing::shared_dir() + "/templates/GLM-4.6.jinja");
  const auto tokenizer = make_tokenizer(kGlmTokens, source);
  compare_with_jinja(cases, *tokenizer, {detect(*tokenizer), builtin(*tokenizer, "glm")});
}

TEST(ChatTemplateOracle, Qwen25) {
  std::mt19937 random(25);
  std::vector<OracleCase> cases;
  for (int i = 0; i < 200; ++i) {
    cases.push_back(random_case(random, "Qwen-Qwen2.5-7B-Instruct.jinja", false, true));
    for (ChatMessage& m : cases.back().messages) m.reasoning_content.reset();
  }
  const std::string source =
      testing::read_file(testing::shared_dir() + "/templates/Qwen-Qwen2.5-7B-Instruct.jinja");
  const auto tokenizer = make_tokenizer(kChatmlTokens, source);
  compare_with_jinja(cases, *tokenizer, {detect(*tokenizer), builtin(*tokenizer, "chatml")});
}

TEST(ChatTemplateOracle, Qwen35WithoutTools) {
  std::mt19937 random(35);
  std::vector<OracleCase> cases;
  for (int i = 0; i < 200; ++i) {
    cases.push_back(random_case(random, "Qwen3.5-4B.jinja", true, i % 2));
  }
  const std::string source =
      testing::read_file(testing::shared_dir() + "/templates/Qwen3.5-4B.jinja");
  const auto tokenizer = make_tokenizer(kQwen3Tokens, source);
  compare_with_jinja(cases, *tokenizer, {detect(*tokenizer)});
}

}  // namespace
}  // namespace floe

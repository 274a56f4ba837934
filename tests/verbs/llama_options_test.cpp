// What floe answers to the options of llama.cpp's programs.
#include "verbs/llama_options.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "verbs/verbs.h"

namespace floe {
namespace {

std::vector<std::string> split_names(const char* names) {
  std::vector<std::string> list(1);
  for (const char* c = names; *c != '\0'; ++c) {
    if (*c == ',') {
      list.emplace_back();
    } else {
      list.back() += *c;
    }
  }
  return list;
}

// The options that a verb's help lists, with the --no- forms of its switches.
std::set<std::string> options_of(const Verb& verb) {
  const std::vector<std::string> arguments = {"--help"};
  testing::internal::CaptureStdout();
  const auto code = verb.run(arguments);
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_TRUE(code.ok() && *code == 0) << verb.name;
  std::set<std::string> options;
  for (size_t at = help.find("\n  -"); at != help.npos; at = help.find("\n  -", at + 1)) {
    const std::string line = help.substr(at + 3, help.find('\n', at + 1) - at - 3);
    for (size_t begin = 0; begin < line.size();) {
      const size_t end = std::min(line.find_first_of(", ", begin), line.size());
      const std::string word = line.substr(begin, end - begin);
      if (word.starts_with("-")) options.insert(word);
      if (word.starts_with("--")) options.insert("--no-" + word.substr(2));
      begin = end + 1;
    }
  }
  return options;
}

TEST(LlamaOptions, EveryNameOccursOnceAndHasAReason) {
  std::set<std::string> seen;
  for (const ForeignOption& option : llama_options()) {
    EXPECT_NE(std::string(option.reason), "") << option.names;
    for (const std::string& name : split_names(option.names)) {
      EXPECT_TRUE(name.starts_with("-")) << name;
      EXPECT_TRUE(seen.insert(name).second) << name << " occurs twice";
    }
  }
  EXPECT_GT(seen.size(), 300u);
}

// A row that says "same" is kept: some verb has the option under each of its names.
TEST(LlamaOptions, WhatIsTheSameIsThere) {
  std::set<std::string> options;
  for (const Verb& verb : verbs()) options.merge(options_of(verb));
  ASSERT_TRUE(options.contains("--model"));
  for (const ForeignOption& option : llama_options()) {
    if (option.answer != ForeignOption::Answer::same) continue;
    for (const std::string& name : split_names(option.names)) {
      EXPECT_TRUE(options.contains(name)) << name;
    }
  }
}

struct OptionCase {
  std::vector<std::string> arguments;
  const char* note;   // what is said, or "" where it is taken in silence
  const char* error;  // or null
};

TEST(LlamaOptions, AnswersAsUsersOfLlamaCppExpect) {
  const std::vector<OptionCase> cases = {
      {{"-ngl", "99"}, "-ngl 99: ignored: ", nullptr},
      {{"--n-gpu-layers=99"}, "--n-gpu-layers 99: ignored: ", nullptr},
      {{"-ngl"}, "", "-ngl: expected N after it"},
      {{"-fa"}, "-fa: ignored: attention always", nullptr},
      {{"-fa", "on"}, "-fa on: ignored: attention always", nullptr},
      {{"-fa", "1"}, "-fa 1: ignored", nullptr},
      {{"-fa", "off"}, "", "-fa off: attention always"},
      {{"-fa", "-n", "4"}, "-fa: ignored", nullptr},
      {{"-ts", "3,1"}, "-ts 3,1: ignored: ", nullptr},
      {{"--no-mmap"}, "--no-mmap: ignored: weights are packed", nullptr},
      {{"-mmp", "0"}, "-mmp 0: ignored", nullptr},
      {{"--mlock"}, "--mlock: ignored", nullptr},
      {{"-cb"}, "-cb: ignored: continuous batching is always on", nullptr},
      {{"-nocb"}, "", "-nocb: continuous batching is always on"},
      {{"--mirostat", "0"}, "", nullptr},
      {{"--mirostat", "2"}, "", "--mirostat 2: this sampler is not there"},
      {{"--dry-multiplier", "0.0"}, "", nullptr},
      {{"--top-n-sigma", "-1"}, "", nullptr},
      {{"--top-n-sigma", "-1.0"}, "", nullptr},
      {{"--grammar", "root ::= x"}, "", "--grammar root ::= x: output constrained by a grammar"},
      {{"-hf", "a/b"}, "", "-hf a/b: floe downloads nothing"},
      {{"--ssl-key-file", "k"}, "", "--ssl-key-file k: there is no TLS"},
      {{"--metrics"}, "--metrics: ignored: /metrics is always there", nullptr},
      {{"--jinja"}, "--jinja: ignored", nullptr},
      {{"-tb", "4"}, "-tb 4: ignored: -t threads do all the work", nullptr},
      {{"-rea", "auto"}, "", nullptr},
      {{"-rea", "off"}, "", "-rea off: a request says it"},
      {{"--port", "80"}, "", "--port: an option of serve, not of demo"},
  };
  for (const OptionCase& c : cases) {
    int64_t n_predict = 0;
    OptionTable table("demo", "", "");
    table.add("-n", "N", &n_predict, 0, 100, "tokens");
    table.answer(llama_options());
    const auto parsed = table.parse(c.arguments);
    const std::string& typed = c.arguments.front();
    if (c.error != nullptr) {
      ASSERT_FALSE(parsed.ok()) << typed;
      EXPECT_EQ(parsed.error().kind, ErrorKind::usage);
      EXPECT_NE(parsed.error().message.find(c.error), std::string::npos) << parsed.error().message;
      continue;
    }
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    EXPECT_TRUE(table.positional().empty()) << typed;
    const std::string notes = table.notes().empty() ? "" : table.notes().front();
    EXPECT_EQ(notes.substr(0, std::string(c.note).size()), c.note);
    EXPECT_EQ(notes.empty(), *c.note == '\0') << typed << ": " << notes;
  }
}

// What the table of a verb has itself is not answered from here.
TEST(LlamaOptions, OwnOptionsComeFirst) {
  std::string layers;
  OptionTable table("demo", "", "");
  table.add("-ngl,--gpu-layers", "N", &layers, "layers");
  table.answer(llama_options());
  ASSERT_TRUE(table.parse(std::vector<std::string>{"-ngl", "99"}).ok());
  EXPECT_EQ(layers, "99");
  EXPECT_TRUE(table.notes().empty());
}

}  // namespace
}  // namespace floe

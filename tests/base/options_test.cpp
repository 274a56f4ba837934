#include "base/options.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace floe {
namespace {

struct Flags {
  std::string model;
  int64_t n_parallel = 4;
  double temperature = 0.8;
  bool mmap = true;
  std::vector<int64_t> rows = {1};
  std::string type = "f16";

  OptionTable table() {
    OptionTable t("demo", "-m FILE", "For the test.");
    t.add("-m,--model", "FILE", &model, "model file");
    t.add("-np,--parallel", "N", &n_parallel, 1, 64, "sequences");
    t.add("--temp", "T", &temperature, 0, 100, "temperature");
    t.add("--mmap", &mmap, "map the file");
    t.add("-v,--rows", "LIST", &rows, 1, 1024, "rows");
    t.add_choice("-ctk,--cache-type-k", {"f16", "f32"}, &type, "key type");
    return t;
  }
};

TEST(Options, ParsesEveryKind) {
  Flags f;
  OptionTable t = f.table();
  const std::vector<std::string> arguments = {"-m",         "x.gguf",    "-np", "8",
                                              "--temp=0.5", "--no-mmap", "-v",  "1-16*2,20-30+5",
                                              "-ctk",       "f32",       "rest"};
  const auto parsed = t.parse(arguments);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(f.model, "x.gguf");
  EXPECT_EQ(f.n_parallel, 8);
  EXPECT_EQ(f.temperature, 0.5);
  EXPECT_FALSE(f.mmap);
  EXPECT_EQ(f.rows, (std::vector<int64_t>{1, 2, 4, 8, 16, 20, 25, 30}));
  EXPECT_EQ(f.type, "f32");
  EXPECT_EQ(t.positional(), std::vector<std::string>{"rest"});
  EXPECT_TRUE(t.given("-np"));
}

TEST(Options, BadInputIsOneLineThatNamesTheFlag) {
  const std::vector<std::vector<std::string>> bad = {
      {"--nope"},    {"-np"},           {"-np", "0"},     {"-np", "65"},         {"-np", "1x"},
      {"-np", ""},   {"--temp", "nan"}, {"--temp", "-1"}, {"--mmap=1"},          {"-ctk", "q3"},
      {"-v", "3-1"}, {"-v", "1,,2"},    {"--no-model"},   {"-v", "1-1000000000"}};
  for (const auto& arguments : bad) {
    Flags f;
    OptionTable t = f.table();
    const auto parsed = t.parse(arguments);
    ASSERT_FALSE(parsed.ok()) << arguments[0];
    EXPECT_EQ(parsed.error().kind, ErrorKind::usage);
    EXPECT_NE(parsed.error().message.find(arguments[0].substr(0, arguments[0].find('='))),
              std::string::npos);
    EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  }
}

TEST(Options, EnvironmentComesAfterTheCommandLine) {
  setenv("FLOE_ARG_PARALLEL", "3", 1);
  setenv("LLAMA_ARG_TEMP", "0.25", 1);
  {
    Flags f;
    OptionTable t = f.table();
    ASSERT_TRUE(t.parse({}).ok());
    EXPECT_EQ(f.n_parallel, 3);
    EXPECT_EQ(f.temperature, 0.25);
  }
  {
    Flags f;
    OptionTable t = f.table();
    ASSERT_TRUE(t.parse(std::vector<std::string>{"-np", "5"}).ok());
    EXPECT_EQ(f.n_parallel, 5);
  }
  unsetenv("FLOE_ARG_PARALLEL");
  unsetenv("LLAMA_ARG_TEMP");
}

TEST(Options, HelpNamesEveryFlagWithItsDefault) {
  Flags f;
  const std::string help = f.table().help();
  for (const char* part : {"-np, --parallel N", "default: 4", "FLOE_ARG_CACHE_TYPE_K", "f16|f32"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part;
  }
}

TEST(Options, UnknownOnesNameTheMostSimilar) {
  struct Case {
    const char* typed;
    const char* meant;  // or "" for none
  };
  const Case cases[] = {
      {"--modle", "--model"},
      {"--parallell", "--parallel"},
      {"--paralel", "--parallel"},
      {"--temperature", ""},
      {"--tmep", "--temp"},
      {"--no-mmpa", "--no-mmap"},
      {"--cache-type", "--cache-type-k"},
      {"--frobnicate", ""},
      {"-ctq", "-ctk"},
      {"-x", ""},
      {"--row", "--rows"},
      {"--np", "-np"},
  };
  for (const Case& c : cases) {
    Flags f;
    OptionTable t = f.table();
    const auto parsed = t.parse(std::vector<std::string>{c.typed});
    ASSERT_FALSE(parsed.ok()) << c.typed;
    const std::string expected =
        *c.meant == '\0' ? fmt::format("unknown option {}: 'floe help demo' lists them", c.typed)
                         : fmt::format(
                               "unknown option {}: did you mean {}? 'floe help demo' lists "
                               "them",
                               c.typed, c.meant);
    EXPECT_EQ(parsed.error().message, expected);
  }
}

TEST(Options, EveryLongNameHasItsVariables) {
  for (const char* name : {"FLOE_ARG_N_PREDICT", "LLAMA_ARG_PREDICT", "LLAMA_N_PREDICT_TOO"}) {
    int64_t n = 1;
    OptionTable t("demo", "", "");
    t.add("-n,--n-predict,--predict", "N", &n, 0, 9, "tokens");
    t.read_also("-n", "LLAMA_N_PREDICT_TOO");
    setenv(name, "7", 1);
    const auto parsed = t.parse({});
    unsetenv(name);
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(n, 7) << name;
  }
}

}  // namespace
}  // namespace floe

#include <iostream>
#include <iterator>

#include "base/json.h"
#include "store/gguf.h"
#include "text/tokenizer.h"
#include "verbs/model_flags.h"
#include "verbs/text_file.h"
#include "verbs/verbs.h"

namespace floe {

Result<int> run_tokenize(std::span<const std::string> arguments) {
  std::string model_path;
  std::string prompt;
  std::string file;
  bool from_stdin = false;
  bool special = true;
  OptionTable table("tokenize", "-m FILE (-p TEXT | -f FILE | --stdin) [options]",
                    "Prints the token ids of a text. Files that hold only a vocabulary load too.");
  table.add("-m,--model", "FILE", &model_path, "GGUF model or vocabulary");
  table.add("-p,--prompt", "TEXT", &prompt, "text to tokenize");
  table.add("-f,--file", "FILE", &file, "file whose text to tokenize");
  table.add("--stdin", &from_stdin, "read the text from standard input");
  table.add("--special", &special,
            "add the tokens the model puts around a text and parse special tokens in it; "
            "--no-special does neither");
  FLOE_TRY(const bool printed_help, parse_options(table, arguments));
  if (printed_help) return 0;
  if (model_path.empty()) return usage_error("-m: expected a model file");
  if (table.given("-p") + table.given("-f") + (from_stdin ? 1 : 0) != 1) {
    return usage_error("expected exactly one of -p, -f and --stdin");
  }
  if (from_stdin) {
    prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else if (!file.empty()) {
    FLOE_TRY(prompt, read_text_file(file));
  }
  FLOE_TRY(const GgufFile gguf, GgufFile::open(model_path, NoTensors::allow));
  FLOE_TRY(const auto tokenizer, Tokenizer::load(gguf));
  Json json;
  json["ids"] = tokenizer->encode(prompt, special, special);
  fmt::print("{}\n", dump_json(json));
  return 0;
}

}  // namespace floe

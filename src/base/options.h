#pragma once
// Command-line options from one table per verb: parsing, environment names and help come from the
// same rows.
//
// Names follow llama.cpp, multi-letter single-dash shorts (-np, -ctk) included. Precedence: command
// line, then FLOE_ARG_<LONG_NAME>, then LLAMA_ARG_<LONG_NAME>, then the default. An option with
// several long names reads the variables of all of them.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace floe {

// An option of another program that people type here out of habit, and what to say to it.
struct ForeignOption {
  enum class Answer : uint8_t {
    same,     // some verb has the option under this name; reason: those verbs, "serve, run"
    ignored,  // taken without effect, with a note that gives the reason
    refused,  // a usage error that gives the reason
  };
  const char* names;  // comma-separated: "-ngl,--gpu-layers"
  // "" for a switch; in brackets, "[on|off]", where the value may be left out.
  const char* argument = "";
  Answer answer = Answer::refused;
  const char* reason = "";
  // Comma-separated values that ask for nothing that floe does not do anyway: of a refused option
  // they are taken in silence, of an ignored one all others are refused. Empty: the answer holds
  // for every value. Numbers compare as numbers.
  const char* neutral = "";
};

class OptionTable {
 public:
  // usage: the line after "floe VERB", e.g. "-m FILE [options]". summary: one sentence.
  OptionTable(std::string verb, std::string usage, std::string summary);

  // names: comma-separated, shorts first: "-m,--model". The variable holds the default and is shown
  // in the help; it must outlive parse(). Values outside [min, max] are usage errors.
  void add(std::string_view names, std::string_view argument, std::string* target,
           std::string_view help);
  void add(std::string_view names, std::string_view argument, int64_t* target, int64_t min,
           int64_t max, std::string_view help);
  void add(std::string_view names, std::string_view argument, double* target, double min,
           double max, std::string_view help);
  // A list "1,2,8", or ranges "1-8", "1-16*2", "512-2048+512".
  void add(std::string_view names, std::string_view argument, std::vector<int64_t>* target,
           int64_t min, int64_t max, std::string_view help);
  // A switch: --x sets it, --no-x clears it (long names only).
  void add(std::string_view names, bool* target, std::string_view help);
  // One of a few words.
  void add_choice(std::string_view names, std::vector<std::string> choices, std::string* target,
                  std::string_view help);

  // A further environment variable for an option of the table, looked at last: llama.cpp calls some
  // of its variables otherwise than the option.
  void read_also(std::string_view option, std::string variable);
  // Options of other programs that this verb answers; those of its own table come first. The array
  // outlives the table.
  void answer(std::span<const ForeignOption> options) { foreign_ = options; }

  // ErrorKind::usage names the flag, what was expected and what was found, and for an unknown flag
  // the most similar one. Arguments that are no option are collected in positional(); "--" ends the
  // options.
  Result<void> parse(std::span<const std::string> arguments);

  const std::vector<std::string>& positional() const { return positional_; }
  // True when the command line or the environment set the option.
  bool given(std::string_view name) const;
  bool help_requested() const { return help_requested_; }
  // One line for each option that was taken without effect: "-fa: ignored: ...".
  const std::vector<std::string>& notes() const { return notes_; }
  std::string help() const;

 private:
  struct Row {
    std::vector<std::string> names;
    std::string argument;  // empty for a switch
    std::string help;
    std::string fallback;
    std::function<Result<void>(std::string_view value)> set;
    std::function<void(bool)> toggle;  // switches only
    bool given = false;

    const std::string& long_name() const { return names.back(); }
    std::string environment_name() const;  // of the help: "ARG_CTX_SIZE"
    // Every variable that sets the option, the one that wins first.
    std::vector<std::string> environment() const;
    std::vector<std::string> further_environment;
  };

  Row& add_row(std::string_view names, std::string_view argument, std::string_view help);
  Row* find(std::string_view name);
  Result<void> apply_environment();
  // Answers arguments[at] with the foreign options. Returns how many arguments that took, 0 when
  // none knows it.
  Result<size_t> apply_foreign(std::span<const std::string> arguments, size_t at);
  Error unknown(std::string_view name) const;

  std::string verb_;
  std::string usage_;
  std::string summary_;
  std::vector<Row> rows_;
  std::span<const ForeignOption> foreign_;
  std::vector<std::string> positional_;
  std::vector<std::string> notes_;
  bool help_requested_ = false;
};

// The candidate that somebody who typed `word` most likely meant: one that begins with it, or else
// the one with the fewest typing mistakes between them. Empty when none is near.
std::string most_similar(std::string_view word, std::span<const std::string> candidates);

// Numbers from text, whole and in range or nothing. Used by option tables and by code that reads
// numbers from requests' text fields.
Result<int64_t> parse_int(std::string_view text, int64_t min, int64_t max);
Result<double> parse_double(std::string_view text, double min, double max);
Result<std::vector<int64_t>> parse_int_list(std::string_view text, int64_t min, int64_t max);

}  // namespace floe

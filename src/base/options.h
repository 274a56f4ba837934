#pragma once
// Command-line options from one table per verb: parsing, environment names and help come from the
// same rows.
//
// Names follow llama.cpp, multi-letter single-dash shorts (-np, -ctk) included. Precedence: command
// line, then FLOE_ARG_<LONG_NAME>, then LLAMA_ARG_<LONG_NAME>, then the default.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace floe {

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

  // ErrorKind::usage names the flag, what was expected and what was found. Arguments that are no
  // option are collected in positional(); "--" ends the options.
  Result<void> parse(std::span<const std::string> arguments);

  const std::vector<std::string>& positional() const { return positional_; }
  // True when the command line or the environment set the option.
  bool given(std::string_view name) const;
  bool help_requested() const { return help_requested_; }
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
    std::string environment_name() const;
  };

  Row& add_row(std::string_view names, std::string_view argument, std::string_view help);
  Row* find(std::string_view name);
  Result<void> apply_environment();

  std::string verb_;
  std::string usage_;
  std::string summary_;
  std::vector<Row> rows_;
  std::vector<std::string> positional_;
  bool help_requested_ = false;
};

// Numbers from text, whole and in range or nothing. Used by option tables and by code that reads
// numbers from requests' text fields.
Result<int64_t> parse_int(std::string_view text, int64_t min, int64_t max);
Result<double> parse_double(std::string_view text, double min, double max);
Result<std::vector<int64_t>> parse_int_list(std::string_view text, int64_t min, int64_t max);

}  // namespace floe

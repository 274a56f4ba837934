#include "base/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

namespace floe {

namespace {

constexpr size_t kMaxListItems = 4096;

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string join_numbers(const std::vector<int64_t>& numbers) {
  return fmt::format("{}", fmt::join(numbers, ","));
}

// "ARG_CTX_SIZE" for "--ctx-size".
std::string variable_of(std::string name) {
  name.erase(0, name.find_first_not_of('-'));
  for (char& c : name)
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "ARG_" + name;
}

bool is_listed(const char* list, std::string_view word) {
  for (const std::string& item : split(list, ',')) {
    if (item == word) return true;
  }
  return false;
}

// "-1" is listed in "-1.0".
bool is_neutral(const ForeignOption& option, std::string_view value) {
  if (*option.neutral == '\0') return false;
  if (is_listed(option.neutral, value)) return true;
  double number = 0;
  const auto [end, fault] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (fault != std::errc{} || end != value.data() + value.size()) return false;
  for (const std::string& item : split(option.neutral, ',')) {
    double neutral = 0;
    const auto [stop, bad] = std::from_chars(item.data(), item.data() + item.size(), neutral);
    if (bad == std::errc{} && stop == item.data() + item.size() && neutral == number) return true;
  }
  return false;
}

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
size_t typing_mistakes(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> table(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        table[i][j] = i + j;
        continue;
      }
      const size_t replaced = table[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
      }
    }
  }
  return table[a.size()][b.size()];
}

std::optional<bool> parse_bool(std::string_view text) {
  for (std::string_view word : {"1", "true", "on", "enabled"}) {
    if (text == word) return true;
  }
  for (std::string_view word : {"0", "false", "off", "disabled"}) {
    if (text == word) return false;
  }
  return std::nullopt;
}

}  // namespace

std::string most_similar(std::string_view word, std::span<const std::string> candidates) {
  constexpr size_t kLongestWord = 64;
  if (word.size() > kLongestWord) return {};
  const size_t dashes = std::min(word.find_first_not_of('-'), word.size());
  const std::string_view letters = word.substr(dashes);
  if (letters.size() < 2) return {};
  std::string best;
  // A third of the letters may be wrong; the beginning of a longer word counts as one mistake.
  size_t fewest = letters.size() / 3 + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const size_t skip = std::min(candidate.find_first_not_of('-'), candidate.size());
    const std::string_view other = std::string_view(candidate).substr(skip);
    size_t mistakes = typing_mistakes(letters, other);
    if (letters.size() >= 3 && other.starts_with(letters)) mistakes = std::min<size_t>(mistakes, 1);
    // Two letters that are both wrong are another word.
    if (mistakes >= letters.size()) continue;
    if (mistakes < fewest) {
      fewest = mistakes;
      best = candidate;
    }
  }
  return best;
}

Result<int64_t> parse_int(std::string_view text, int64_t min, int64_t max) {
  int64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size() || value < min || value > max) {
    if (max == std::numeric_limits<int64_t>::max()) {
      return usage_error("expected a whole number of at least {}, found '{}'", min, text);
    }
    return usage_error("expected a whole number from {} to {}, found '{}'", min, max, text);
  }
  return value;
}

Result<double> parse_double(std::string_view text, double min, double max) {
  double value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size() || !(value >= min && value <= max)) {
    return usage_error("expected a number from {} to {}, found '{}'", min, max, text);
  }
  return value;
}

Result<std::vector<int64_t>> parse_int_list(std::string_view text, int64_t min, int64_t max) {
  std::vector<int64_t> numbers;
  for (const std::string& item : split(text, ',')) {
    // first-last with an optional +step or *factor; a leading minus belongs to the number.
    const size_t dash = item.find('-', 1);
    if (dash == std::string::npos) {
      FLOE_TRY(const int64_t value, parse_int(item, min, max));
      numbers.push_back(value);
    } else {
      const size_t step_at = item.find_first_of("+*", dash);
      FLOE_TRY(const int64_t first, parse_int(std::string_view(item).substr(0, dash), min, max));
      FLOE_TRY(const int64_t last,
               parse_int(std::string_view(item).substr(dash + 1, step_at - dash - 1), min, max));
      int64_t step = 1;
      const bool multiply = step_at != std::string::npos && item[step_at] == '*';
      if (step_at != std::string::npos) {
        FLOE_TRY(step,
                 parse_int(std::string_view(item).substr(step_at + 1), multiply ? 2 : 1, 1 << 30));
      }
      if (first > last || (multiply && first < 1)) {
        return usage_error("expected a rising range, found '{}'", item);
      }
      for (int64_t value = first; value <= last && numbers.size() <= kMaxListItems;
           value = multiply ? value * step : value + step) {
        numbers.push_back(value);
      }
    }
    if (numbers.size() > kMaxListItems) {
      return usage_error("expected at most {} numbers, found '{}'", kMaxListItems, text);
    }
  }
  return numbers;
}

OptionTable::OptionTable(std::string verb, std::string usage, std::string summary)
    : verb_(std::move(verb)), usage_(std::move(usage)), summary_(std::move(summary)) {}

std::string OptionTable::Row::environment_name() const {
  return variable_of(long_name());
}

std::vector<std::string> OptionTable::Row::environment() const {
  std::vector<std::string> variables;
  for (const char* prefix : {"FLOE_", "LLAMA_"}) {
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      // Rows without a long name (-npp) are read under the short one, as the help says.
      if (name->starts_with("--") || *name == long_name()) {
        variables.push_back(prefix + variable_of(*name));
      }
    }
  }
  variables.insert(variables.end(), further_environment.begin(), further_environment.end());
  return variables;
}

OptionTable::Row& OptionTable::add_row(std::string_view names, std::string_view argument,
                                       std::string_view help) {
  Row row;
  row.names = split(names, ',');
  row.argument = argument;
  row.help = help;
  for (const std::string& name : row.names) FLOE_CHECK(find(name) == nullptr);
  rows_.push_back(std::move(row));
  return rows_.back();
}

OptionTable::Row* OptionTable::find(std::string_view name) {
  for (Row& row : rows_) {
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return &row;
  }
  return nullptr;
}

void OptionTable::add(std::string_view names, std::string_view argument, std::string* target,
                      std::string_view help) {
  Row& row = add_row(names, argument, help);
  row.fallback = *target;
  row.set = [target](std::string_view value) -> Result<void> {
    *target = value;
    return {};
  };
}

void OptionTable::add(std::string_view names, std::string_view argument, int64_t* target,
                      int64_t min, int64_t max, std::string_view help) {
  Row& row = add_row(names, argument, help);
  row.fallback = fmt::format("{}", *target);
  row.set = [=](std::string_view value) -> Result<void> {
    FLOE_TRY(*target, parse_int(value, min, max));
    return {};
  };
}

void OptionTable::add(std::string_view names, std::string_view argument, double* target, double min,
                      double max, std::string_view help) {
  Row& row = add_row(names, argument, help);
  row.fallback = fmt::format("{}", *target);
  row.set = [=](std::string_view value) -> Result<void> {
    FLOE_TRY(*target, parse_double(value, min, max));
    return {};
  };
}

void OptionTable::add(std::string_view names, std::string_view argument,
                      std::vector<int64_t>* target, int64_t min, int64_t max,
                      std::string_view help) {
  Row& row = add_row(names, argument, help);
  row.fallback = join_numbers(*target);
  row.set = [=](std::string_view value) -> Result<void> {
    FLOE_TRY(*target, parse_int_list(value, min, max));
    return {};
  };
}

void OptionTable::add(std::string_view names, bool* target, std::string_view help) {
  Row& row = add_row(names, "", help);
  row.fallback = *target ? "on" : "off";
  row.toggle = [target](bool value) { *target = value; };
}

void OptionTable::add_choice(std::string_view names, std::vector<std::string> choices,
                             std::string* target, std::string_view help) {
  const std::string argument = fmt::format("{}", fmt::join(choices, "|"));
  Row& row = add_row(names, argument, help);
  row.fallback = *target;
  row.set = [choices = std::move(choices), argument,
             target](std::string_view value) -> Result<void> {
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      return usage_error("expected {}, found '{}'", argument, value);
    }
    *target = value;
    return {};
  };
}

void OptionTable::read_also(std::string_view option, std::string variable) {
  Row* row = find(option);
  FLOE_CHECK(row != nullptr);
  row->further_environment.push_back(std::move(variable));
}

Result<void> OptionTable::apply_environment() {
  for (Row& row : rows_) {
    for (const std::string& name : row.environment()) {
      const char* value = std::getenv(name.c_str());
      if (value == nullptr) continue;
      row.given = true;
      if (row.toggle) {
        const std::optional<bool> on = parse_bool(value);
        if (!on) return usage_error("{}: expected on or off, found '{}'", name, value);
        row.toggle(*on);
      } else if (auto set = row.set(value); !set.ok()) {
        return usage_error("{}: {}", name, set.error().message);
      }
      break;
    }
  }
  return {};
}

Result<size_t> OptionTable::apply_foreign(std::span<const std::string> arguments, size_t at) {
  std::string_view name = arguments[at];
  std::optional<std::string_view> value;
  if (const size_t equals = name.find('='); name.starts_with("--") && equals != name.npos) {
    value = name.substr(equals + 1);
    name = name.substr(0, equals);
  }
  for (const ForeignOption& option : foreign_) {
    if (!is_listed(option.names, name)) continue;
    if (option.answer == ForeignOption::Answer::same) {
      return usage_error("{}: an option of {}, not of {}", name, option.reason, verb_);
    }
    const std::string_view argument = option.argument;
    size_t n_taken = 1;
    if (!argument.empty() && !value) {
      const bool there = at + 1 < arguments.size();
      const bool optional = argument.front() == '[';
      // A negative number is a value, any other word with a dash the next option.
      const bool is_option = there && arguments[at + 1].size() > 1 && arguments[at + 1][0] == '-' &&
                             std::isdigit(static_cast<unsigned char>(arguments[at + 1][1])) == 0;
      if (there && !(optional && is_option)) {
        value = arguments[at + 1];
        n_taken = 2;
      } else if (!optional) {
        return usage_error("{}: expected {} after it", name, argument);
      }
    }
    const bool neutral = value && is_neutral(option, *value);
    const std::string given = value ? fmt::format("{} {}", name, *value) : std::string(name);
    const bool refused = option.answer == ForeignOption::Answer::refused;
    if (refused && neutral) return n_taken;
    if (refused || (value && *option.neutral != '\0' && !neutral)) {
      return usage_error("{}: {}", given, option.reason);
    }
    notes_.push_back(fmt::format("{}: ignored: {}", given, option.reason));
    return n_taken;
  }
  return size_t{0};
}

Error OptionTable::unknown(std::string_view name) const {
  std::vector<std::string> names;
  for (const Row& row : rows_) {
    names.insert(names.end(), row.names.rbegin(), row.names.rend());
    if (!row.toggle) continue;
    for (const std::string& own : row.names) {
      if (own.starts_with("--")) names.push_back("--no-" + own.substr(2));
    }
  }
  const std::string similar = most_similar(name, names);
  return usage_error("unknown option {}: {}'floe help {}' lists them", name,
                     similar.empty() ? "" : fmt::format("did you mean {}? ", similar), verb_);
}

Result<void> OptionTable::parse(std::span<const std::string> arguments) {
  FLOE_TRY_VOID(apply_environment());
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    if (argument == "--") {
      positional_.insert(positional_.end(), arguments.begin() + static_cast<ptrdiff_t>(i) + 1,
                         arguments.end());
      return {};
    }
    if (argument == "-h" || argument == "--help") {
      help_requested_ = true;
      return {};
    }
    if (argument.size() < 2 || argument[0] != '-') {
      positional_.emplace_back(argument);
      continue;
    }
    std::optional<std::string_view> attached;
    if (const size_t equals = argument.find('=');
        argument.starts_with("--") && equals != argument.npos) {
      attached = argument.substr(equals + 1);
      argument = argument.substr(0, equals);
    }
    Row* row = find(argument);
    bool negated = false;
    if (row == nullptr && argument.starts_with("--no-")) {
      row = find(fmt::format("--{}", argument.substr(5)));
      negated = row != nullptr;
    }
    if (row == nullptr || (negated && !row->toggle)) {
      FLOE_TRY(const size_t n_taken, apply_foreign(arguments, i));
      if (n_taken == 0) return unknown(argument);
      i += n_taken - 1;
      continue;
    }
    row->given = true;
    if (row->toggle) {
      if (attached) return usage_error("{}: takes no value, found '{}'", argument, *attached);
      row->toggle(!negated);
      continue;
    }
    if (!attached) {
      if (i + 1 == arguments.size())
        return usage_error("{}: expected {} after it", argument, row->argument);
      attached = arguments[++i];
    }
    if (auto set = row->set(*attached); !set.ok()) {
      return usage_error("{}: {}", argument, set.error().message);
    }
  }
  return {};
}

bool OptionTable::given(std::string_view name) const {
  for (const Row& row : rows_) {
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return row.given;
  }
  return false;
}

std::string OptionTable::help() const {
  std::string text = fmt::format("floe {} {}\n{}\n\n", verb_, usage_, summary_);
  for (const Row& row : rows_) {
    std::string names = fmt::format("{}", fmt::join(row.names, ", "));
    if (!row.argument.empty()) names += " " + row.argument;
    text += fmt::format("  {}\n      {}", names, row.help);
    text += fmt::format(" (default: {}; environment: FLOE_{})\n",
                        row.fallback.empty() ? "none" : row.fallback, row.environment_name());
  }
  return text;
}

}  // namespace floe

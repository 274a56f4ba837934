#include "base/options.h"

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
  std::string name = long_name();
  name.erase(0, name.find_first_not_of('-'));
  for (char& c : name)
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "ARG_" + name;
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

Result<void> OptionTable::apply_environment() {
  for (Row& row : rows_) {
    for (const char* prefix : {"FLOE_", "LLAMA_"}) {
      const std::string name = prefix + row.environment_name();
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
      return usage_error("unknown option {}: 'floe help {}' lists them", argument, verb_);
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

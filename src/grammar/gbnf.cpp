#include "grammar/gbnf.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "grammar/expression.h"

namespace floe {

namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfReader {
 public:
  GbnfReader(std::string_view text, Nfa& nfa) : text_(text), nfa_(nfa) {}

  Result<Nfa::Rule> run() {
    skip_blanks(true);
    while (at_ < text_.size()) FLOE_TRY_VOID(read_rule());
    const std::string* missing = nullptr;
    for (const auto& [name, entry] : rules_) {
      if (entry.is_defined || (missing != nullptr && entry.used_at > at_)) continue;
      missing = &name;
      at_ = entry.used_at;
    }
    if (missing != nullptr) return fault("rule {} is not defined", *missing);
    const auto root = rules_.find("root");
    if (root == rules_.end()) return usage_error("there is no rule root");
    return root->second.rule;
  }

 private:
  struct Entry {
    Nfa::Rule rule = 0;
    bool is_defined = false;
    size_t used_at = 0;
  };

  template <typename... Args>
  Error fault(fmt::format_string<Args...> format, Args&&... args) const {
    size_t line = 1;
    size_t column = 1;
    for (size_t i = 0; i < at_ && i < text_.size(); ++i) {
      ++column;
      if (text_[i] == '\n') {
        ++line;
        column = 1;
      }
    }
    return usage_error("line {}, column {}: {}", line, column,
                       fmt::format(format, std::forward<Args>(args)...));
  }
  Error limit() const { return fault("{}", nfa_.work().reason()); }

  char look(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool at_end() const { return at_ >= text_.size(); }

  // Blanks and comments; line ends where the rule goes on behind them.
  void skip_blanks(bool over_lines) {
    while (!at_end()) {
      const char c = look();
      if (c == '#') {
        while (!at_end() && look() != '\n' && look() != '\r') ++at_;
      } else if (c == ' ' || c == '\t' || (over_lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  Result<std::string> read_name() {
    const size_t begin = at_;
    while (!at_end() && is_name_character(look())) ++at_;
    if (at_ == begin) return fault("expected the name of a rule");
    return std::string(text_.substr(begin, at_ - begin));
  }

  Entry& entry_of(const std::string& name) {
    const auto [found, is_new] = rules_.try_emplace(name);
    if (is_new) {
      found->second.rule = nfa_.add_rule("rule " + name);
      found->second.used_at = at_;
    }
    return found->second;
  }

  Result<void> read_rule() {
    const size_t begin = at_;
    FLOE_TRY(const std::string name, read_name());
    Entry& entry = entry_of(name);
    if (entry.is_defined) {
      at_ = begin;
      return fault("rule {} is defined twice", name);
    }
    entry.is_defined = true;
    const Nfa::RuleStates rule = nfa_.rule(entry.rule);
    skip_blanks(false);
    if (text_.substr(at_, 3) != "::=") return fault("expected ::= behind the name");
    at_ += 3;
    skip_blanks(true);
    ExpressionBuilder builder(nfa_, rule.start, rule.end);
    FLOE_TRY_VOID(read_alternatives(builder));
    builder.finish();
    if (nfa_.work().failed()) return limit();
    if (!at_end() && look() != '\n' && look() != '\r') return fault("unexpected '{}'", shown());
    skip_blanks(true);
    return {};
  }

  Result<void> read_alternatives(ExpressionBuilder& builder) {
    for (;;) {
      skip_blanks(builder.depth() > 0);
      if (!nfa_.work().spend(1)) return limit();
      if (at_end()) break;
      const char c = look();
      if (c == '|') {
        ++at_;
        builder.alternative();
        skip_blanks(true);
      } else if (c == '(') {
        if (!builder.open_group()) {
          return fault("groups are nested deeper than {}", nfa_.work().limits().max_depth);
        }
        ++at_;
      } else if (c == ')') {
        if (builder.depth() == 0) return fault("')' closes no group");
        builder.close_group();
        ++at_;
      } else if (c == '"') {
        FLOE_TRY_VOID(read_string(builder));
      } else if (c == '[') {
        FLOE_TRY(const CodePointSet set, read_class());
        if (set.empty()) return fault("the class has no character");
        builder.add_characters(set);
      } else if (c == '.') {
        builder.add_characters(CodePointSet::all());
        ++at_;
      } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        FLOE_TRY_VOID(read_repetition(builder));
      } else if (is_name_character(c)) {
        FLOE_TRY(const std::string name, read_name());
        builder.add_rule(entry_of(name).rule);
      } else if (c == '<' || c == '!') {
        return fault("tokens (<...>) are not supported in grammars");
      } else {
        break;
      }
    }
    if (builder.depth() > 0) return fault("expected ')'");
    return {};
  }

  Result<void> read_repetition(ExpressionBuilder& builder) {
    if (!builder.has_item()) return fault("nothing to repeat");
    uint32_t least = 0;
    uint32_t most = ExpressionBuilder::kUnbounded;
    const char c = look();
    const size_t begin = at_;
    ++at_;
    if (c == '+') least = 1;
    if (c == '?') most = 1;
    if (c == '{') {
      skip_blanks(false);
      FLOE_TRY(least, read_count());
      most = least;
      skip_blanks(false);
      if (look() == ',') {
        ++at_;
        skip_blanks(false);
        most = ExpressionBuilder::kUnbounded;
        if (look() != '}') {
          FLOE_TRY(most, read_count());
          skip_blanks(false);
        }
      }
      if (look() != '}') return fault("expected '}}'");
      ++at_;
    }
    const size_t end = at_;
    at_ = begin;
    if (most < least) return fault("the most is below the least");
    if (!builder.repeat(least, most)) return limit();
    at_ = end;
    return {};
  }

  Result<uint32_t> read_count() {
    uint64_t count = 0;
    const size_t begin = at_;
    while (look() >= '0' && look() <= '9') {
      count = std::min<uint64_t>(count * 10 + static_cast<uint64_t>(look() - '0'), UINT32_MAX - 1);
      ++at_;
    }
    if (at_ == begin) return fault("expected a number");
    return static_cast<uint32_t>(count);
  }

  Result<void> read_string(ExpressionBuilder& builder) {
    ++at_;
    if (!builder.open_group()) {
      return fault("groups are nested deeper than {}", nfa_.work().limits().max_depth);
    }
    while (look() != '"') {
      if (at_end() || look() == '\n') return fault("expected '\"'");
      FLOE_TRY(const uint32_t code_point, read_character());
      builder.add_characters(CodePointSet::one(code_point));
      if (nfa_.work().failed()) return limit();
    }
    ++at_;
    builder.close_group();
    return {};
  }

  Result<CodePointSet> read_class() {
    ++at_;
    bool is_negated = false;
    if (look() == '^') {
      is_negated = true;
      ++at_;
    }
    std::vector<CodePointRange> ranges;
    while (look() != ']') {
      if (at_end()) return fault("expected ']'");
      FLOE_TRY(const uint32_t first, read_character());
      uint32_t last = first;
      if (look() == '-' && look(1) != ']' && at_ + 1 < text_.size()) {
        ++at_;
        FLOE_TRY(last, read_character());
        if (last < first) return fault("the range of the class is empty");
      }
      ranges.push_back({first, last});
      if (!nfa_.work().spend(1)) return limit();
    }
    ++at_;
    const CodePointSet set(std::move(ranges));
    return is_negated ? set.complement() : set;
  }

  Result<uint32_t> read_character() {
    uint32_t code_point = 0;
    const size_t begin = at_;
    if (look() != '\\') {
      if (!next_code_point(text_, at_, code_point)) return fault("expected UTF-8");
      return code_point;
    }
    ++at_;
    const char c = look();
    ++at_;
    size_t n_digits = 0;
    switch (c) {
      case 'n':
        return uint32_t{'\n'};
      case 'r':
        return uint32_t{'\r'};
      case 't':
        return uint32_t{'\t'};
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<uint32_t>(c);
      case 'x':
        n_digits = 2;
        break;
      case 'u':
        n_digits = 4;
        break;
      case 'U':
        n_digits = 8;
        break;
      default:
        at_ = begin;
        return fault("unknown escape");
    }
    for (size_t i = 0; i < n_digits; ++i) {
      const char digit = look();
      const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                        : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                        : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                       : -1;
      if (value < 0) return fault("expected a hexadecimal digit");
      code_point = code_point << 4 | static_cast<uint32_t>(value);
      ++at_;
    }
    if (CodePointSet::one(code_point).empty()) {
      at_ = begin;
      return fault("the escape is no character");
    }
    return code_point;
  }

  std::string shown() const {
    size_t end = at_;
    uint32_t code_point = 0;
    if (!next_code_point(text_, end, code_point) || code_point < 0x20) return "?";
    return std::string(text_.substr(at_, end - at_));
  }

  std::string_view text_;
  Nfa& nfa_;
  size_t at_ = 0;
  std::unordered_map<std::string, Entry> rules_;
};

}  // namespace

Result<Nfa::Rule> read_gbnf(std::string_view text, Nfa& nfa) {
  return GbnfReader(text, nfa).run();
}

}  // namespace floe

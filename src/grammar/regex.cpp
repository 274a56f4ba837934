#include "grammar/regex.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "grammar/expression.h"

namespace floe {

namespace {

CodePointSet digits() {
  return CodePointSet({{'0', '9'}});
}
CodePointSet word_characters() {
  return CodePointSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
}
// As ECMA 262 has them.
CodePointSet blanks() {
  return CodePointSet({{'\t', '\r'},
                       {' ', ' '},
                       {0xa0, 0xa0},
                       {0x1680, 0x1680},
                       {0x2000, 0x200a},
                       {0x2028, 0x2029},
                       {0x202f, 0x202f},
                       {0x205f, 0x205f},
                       {0x3000, 0x3000},
                       {0xfeff, 0xfeff}});
}

class RegexReader {
 public:
  RegexReader(std::string_view text, RegexMatch match, Nfa& nfa, Nfa::State from, Nfa::State to)
      : text_(text), match_(match), nfa_(nfa), builder_(nfa, from, to) {}

  Result<void> run() {
    FLOE_TRY_VOID(begin_alternative());
    while (at_ < text_.size()) {
      if (!nfa_.work().spend(1)) return fault("{}", nfa_.work().reason());
      FLOE_TRY_VOID(read_item());
      if (nfa_.work().failed()) return fault("{}", nfa_.work().reason());
    }
    if (builder_.depth() > 0) return fault("expected ')'");
    FLOE_TRY_VOID(end_alternative());
    builder_.finish();
    if (nfa_.work().failed()) return fault("{}", nfa_.work().reason());
    return {};
  }

 private:
  template <typename... Args>
  Error fault(fmt::format_string<Args...> format, Args&&... args) const {
    return usage_error("offset {}: {}", at_, fmt::format(format, std::forward<Args>(args)...));
  }

  char look(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool begins(std::string_view what) const { return text_.substr(at_, what.size()) == what; }

  // Of the whole expression. Behind it the anchor, if there is one, has been read.
  Result<void> begin_alternative() {
    bool is_anchored = false;
    for (; look() == '^' || begins("\\A"); is_anchored = true) at_ += look() == '^' ? 1 : 2;
    if (match_ == RegexMatch::whole || is_anchored) return {};
    return add_anything();
  }
  Result<void> end_alternative() {
    const bool is_anchored = std::exchange(ends_here_, false);
    if (match_ == RegexMatch::whole || is_anchored) return {};
    return add_anything();
  }
  Result<void> add_anything() {
    builder_.add_characters(CodePointSet::all());
    if (!builder_.repeat(0, ExpressionBuilder::kUnbounded)) {
      return fault("{}", nfa_.work().reason());
    }
    can_repeat_ = false;
    return {};
  }

  Result<void> read_item() {
    const char c = look();
    if (c == '|') {
      if (builder_.depth() == 0) FLOE_TRY_VOID(end_alternative());
      ++at_;
      builder_.alternative();
      can_repeat_ = false;
      return builder_.depth() == 0 ? begin_alternative() : Result<void>();
    }
    if (ends_here_) return fault("text behind the anchor $");
    switch (c) {
      case '(':
        return open_group();
      case ')':
        if (builder_.depth() == 0) return fault("')' closes no group");
        builder_.close_group();
        can_repeat_ = true;
        ++at_;
        return {};
      case '*':
      case '+':
      case '?':
        return read_repetition();
      case '{':
        if (is_count()) return read_repetition();
        break;
      case '^':
        return fault("the anchor ^ is not at the beginning of the expression");
      case '$':
        if (builder_.depth() > 0) return fault("the anchor $ is not at the end of the expression");
        ends_here_ = true;
        ++at_;
        return {};
      case '.':
        ++at_;
        add(CodePointSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).complement());
        return {};
      case '[': {
        FLOE_TRY(const CodePointSet set, read_class());
        if (set.empty()) return fault("the class has no character");
        add(set);
        return {};
      }
      case '\\': {
        if (begins("\\Z") || begins("\\z")) {
          if (builder_.depth() > 0) return fault("the anchor is not at the end of the expression");
          ends_here_ = true;
          at_ += 2;
          return {};
        }
        FLOE_TRY(const CodePointSet set, read_escape(false));
        add(set);
        return {};
      }
      default:
        break;
    }
    uint32_t code_point = 0;
    if (!next_code_point(text_, at_, code_point)) return fault("expected UTF-8");
    add(CodePointSet::one(code_point));
    return {};
  }

  void add(const CodePointSet& set) {
    builder_.add_characters(set);
    can_repeat_ = true;
  }

  Result<void> open_group() {
    size_t n_bytes = 1;
    if (begins("(?:")) {
      n_bytes = 3;
    } else if (begins("(?P<") || (begins("(?<") && look(3) != '=' && look(3) != '!')) {
      const size_t end = text_.find('>', at_);
      if (end == std::string_view::npos) return fault("expected '>' behind the group's name");
      n_bytes = end + 1 - at_;
    } else if (begins("(?")) {
      return fault("the group {}... is not supported", text_.substr(at_, begins("(?<") ? 4 : 3));
    }
    if (!builder_.open_group()) {
      return fault("groups are nested deeper than {}", nfa_.work().limits().max_depth);
    }
    at_ += n_bytes;
    can_repeat_ = false;
    return {};
  }

  // Whether a count stands here: elsewhere a brace is a character.
  bool is_count() const {
    size_t i = at_ + 1;
    const auto skip_digits = [&] {
      const size_t begin = i;
      while (i < text_.size() && text_[i] >= '0' && text_[i] <= '9') ++i;
      return i > begin;
    };
    if (!skip_digits()) return false;
    if (i < text_.size() && text_[i] == ',') {
      ++i;
      skip_digits();
    }
    return i < text_.size() && text_[i] == '}';
  }

  Result<void> read_repetition() {
    if (!can_repeat_) return fault("nothing to repeat");
    const size_t begin = at_;
    uint32_t least = 0;
    uint32_t most = ExpressionBuilder::kUnbounded;
    const char c = look();
    ++at_;
    if (c == '+') least = 1;
    if (c == '?') most = 1;
    if (c == '{') {
      most = least = read_count();
      if (look() == ',') {
        ++at_;
        most = look() == '}' ? ExpressionBuilder::kUnbounded : read_count();
      }
      ++at_;
    }
    if (look() == '+' || look() == '*') return fault("a repetition is repeated");
    if (look() == '?') ++at_;  // as few as possible: the same texts
    const size_t end = std::exchange(at_, begin);
    if (most < least) return fault("the most is below the least");
    if (!builder_.repeat(least, most)) return fault("{}", nfa_.work().reason());
    at_ = end;
    can_repeat_ = false;
    return {};
  }

  uint32_t read_count() {
    uint64_t count = 0;
    for (; look() >= '0' && look() <= '9'; ++at_) {
      count = std::min<uint64_t>(count * 10 + static_cast<uint64_t>(look() - '0'), UINT32_MAX - 1);
    }
    return static_cast<uint32_t>(count);
  }

  Result<CodePointSet> read_class() {
    ++at_;
    const bool is_negated = look() == '^';
    if (is_negated) ++at_;
    CodePointSet all;
    std::vector<CodePointRange> ranges;
    while (look() != ']') {
      if (at_ >= text_.size()) return fault("expected ']'");
      if (!nfa_.work().spend(1)) return fault("{}", nfa_.work().reason());
      if (begins("[:") || begins("[.") || begins("[=")) {
        return fault("POSIX classes are not supported");
      }
      FLOE_TRY(const CodePointSet first, read_class_item());
      const bool is_one = is_character(first);
      if (!is_one) {
        for (const CodePointRange& range : first.ranges()) ranges.push_back(range);
        continue;
      }
      CodePointRange range = first.ranges().front();
      if (look() == '-' && look(1) != ']' && at_ + 1 < text_.size()) {
        const size_t dash = at_;
        ++at_;
        FLOE_TRY(const CodePointSet last, read_class_item());
        if (!is_character(last) || last.ranges().front().first < range.first) {
          at_ = dash;
          return fault("the range of the class is empty");
        }
        range.last = last.ranges().front().first;
      }
      ranges.push_back(range);
    }
    ++at_;
    const CodePointSet set(std::move(ranges));
    return is_negated ? set.complement() : set;
  }

  static bool is_character(const CodePointSet& set) {
    return set.ranges().size() == 1 && set.ranges().front().first == set.ranges().front().last;
  }

  Result<CodePointSet> read_class_item() {
    if (look() == '\\') return read_escape(true);
    uint32_t code_point = 0;
    if (!next_code_point(text_, at_, code_point)) return fault("expected UTF-8");
    return CodePointSet::one(code_point);
  }

  Result<CodePointSet> read_escape(bool in_class) {
    const char c = look(1);
    const size_t begin = at_;
    at_ += 2;
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return digits().complement();
      case 'w':
        return word_characters();
      case 'W':
        return word_characters().complement();
      case 's':
        return blanks();
      case 'S':
        return blanks().complement();
      case 'n':
        return CodePointSet::one('\n');
      case 'r':
        return CodePointSet::one('\r');
      case 't':
        return CodePointSet::one('\t');
      case 'f':
        return CodePointSet::one('\f');
      case 'v':
        return CodePointSet::one('\v');
      case 'x':
        return read_hexadecimal(2, begin);
      case 'u':
        return read_hexadecimal(4, begin);
      case 'b':
        if (in_class) return CodePointSet::one('\b');
        break;
      case '0':
        if (look() < '0' || look() > '9') return CodePointSet::one(0);
        break;
      default:
        break;
    }
    if (c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') &&
        !(c >= 'A' && c <= 'Z')) {
      return CodePointSet::one(static_cast<uint32_t>(c));
    }
    at_ = begin;
    if (at_ + 1 >= text_.size()) return fault("'\\' ends the expression");
    if (c <= ' ' || c >= 0x7f) return fault("unknown escape");
    return fault("the escape \\{} is not supported", c);
  }

  Result<CodePointSet> read_hexadecimal(size_t n_digits, size_t begin) {
    uint32_t code_point = 0;
    for (size_t i = 0; i < n_digits; ++i, ++at_) {
      const char digit = look();
      const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                        : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                        : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                       : -1;
      if (value < 0) return fault("expected a hexadecimal digit");
      code_point = code_point << 4 | static_cast<uint32_t>(value);
    }
    const CodePointSet set = CodePointSet::one(code_point);
    if (set.empty()) {
      at_ = begin;
      return fault("the escape is half of a surrogate pair");
    }
    return set;
  }

  std::string_view text_;
  RegexMatch match_;
  Nfa& nfa_;
  ExpressionBuilder builder_;
  size_t at_ = 0;
  bool can_repeat_ = false;
  bool ends_here_ = false;  // an anchor says that the alternative has ended
};

}  // namespace

Result<void> read_regex(std::string_view text, RegexMatch match, Nfa& nfa, Nfa::State from,
                        Nfa::State to) {
  return RegexReader(text, match, nfa, from, to).run();
}

}  // namespace floe

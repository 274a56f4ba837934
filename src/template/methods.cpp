// value.method(arguments), as Python's str, list and dict have them.
#include <algorithm>
#include <array>
#include <span>

#include "template/characters.h"
#include "template/operations.h"
#include "template/text_operations.h"
#include "template/value_text.h"

namespace floe::jinja {

namespace {

// --- strings

Result<Value> strip_sides(Interpreter& interpreter, const Value& self, const Call& call, bool left,
                          bool right) {
  const Arguments arguments(interpreter, "strip", call, {"chars"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const MarkedText* characters, arguments.text(0));
  FLOE_TRY_VOID(interpreter.spend(self.text()->size() / 16));
  return interpreter.text(stripped(*self.text(), characters, left, right));
}
Result<Value> strip(Interpreter& interpreter, const Value& self, const Call& call) {
  return strip_sides(interpreter, self, call, true, true);
}
Result<Value> strip_left(Interpreter& interpreter, const Value& self, const Call& call) {
  return strip_sides(interpreter, self, call, true, false);
}
Result<Value> strip_right(Interpreter& interpreter, const Value& self, const Call& call) {
  return strip_sides(interpreter, self, call, false, true);
}

Result<Value> list_of(Interpreter& interpreter, std::span<const MarkedText> parts) {
  FLOE_TRY_VOID(interpreter.hold(parts.size()));
  List& list = interpreter.make_list();
  for (const MarkedText& part : parts) {
    FLOE_TRY(Value value, interpreter.text(part));
    list.items.push_back(std::move(value));
  }
  return Value(&list);
}

// Parts between white space, as str.split() without a separator gives them.
std::vector<MarkedText> words_of(const MarkedText& text, Integer max_splits) {
  const std::string_view bytes = text.bytes();
  std::vector<MarkedText> words;
  size_t at = 0;
  const auto skip = [&](bool space) {
    while (at < bytes.size() && is_space(character_at(bytes, at).codepoint) == space) {
      at += character_at(bytes, at).length_bytes;
    }
  };
  while (true) {
    skip(true);
    if (at == bytes.size()) return words;
    const size_t begin = at;
    if (max_splits >= 0 && static_cast<Integer>(words.size()) == max_splits) {
      words.push_back(text.part(begin, bytes.size()));
      return words;
    }
    skip(false);
    words.push_back(text.part(begin, at));
  }
}

Result<Value> split(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "split", call, {"sep", "maxsplit"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const MarkedText* separator, arguments.text(0));
  FLOE_TRY(const Integer max_splits, arguments.integer(1, -1));
  const MarkedText& text = *self.text();
  FLOE_TRY_VOID(interpreter.spend(text.size() / 4));
  if (separator == nullptr) return list_of(interpreter, words_of(text, max_splits));
  if (separator->empty()) return interpreter.fault("split: empty separator");
  std::vector<MarkedText> parts;
  size_t at = 0;
  while (max_splits < 0 || static_cast<Integer>(parts.size()) < max_splits) {
    const size_t found = text.bytes().find(separator->bytes(), at);
    if (found == std::string_view::npos) break;
    parts.push_back(text.part(at, found));
    at = found + separator->size();
  }
  parts.push_back(text.part(at, text.size()));
  return list_of(interpreter, parts);
}

Result<Value> split_from_right(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "rsplit", call, {"sep", "maxsplit"});
  FLOE_TRY_VOID(arguments.check(0));
  FLOE_TRY(const MarkedText* separator, arguments.text(0));
  FLOE_TRY(const Integer max_splits, arguments.integer(1, -1));
  const MarkedText& text = *self.text();
  FLOE_TRY_VOID(interpreter.spend(text.size() / 4));
  if (separator == nullptr) {
    if (max_splits >= 0) {
      return interpreter.fault("rsplit: a number of splits without a separator is not supported");
    }
    return list_of(interpreter, words_of(text, -1));
  }
  if (separator->empty()) return interpreter.fault("rsplit: empty separator");
  std::vector<MarkedText> parts;
  size_t end = text.size();
  while (max_splits < 0 || static_cast<Integer>(parts.size()) < max_splits) {
    if (end < separator->size()) break;
    const size_t found = text.bytes().rfind(separator->bytes(), end - separator->size());
    if (found == std::string_view::npos) break;
    parts.push_back(text.part(found + separator->size(), end));
    end = found;
  }
  parts.push_back(text.part(0, end));
  std::reverse(parts.begin(), parts.end());
  return list_of(interpreter, parts);
}

Result<Value> split_lines(Interpreter& interpreter, const Value& self, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "splitlines", call, {}).check(0));
  FLOE_TRY_VOID(interpreter.spend(self.text()->size() / 4));
  return list_of(interpreter, lines_of(*self.text()));
}

// A tuple of what stands before the separator, it, and what follows.
Result<Value> partition(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "partition", call, {"sep"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const MarkedText* separator, arguments.text(0));
  if (separator == nullptr || separator->empty()) {
    return interpreter.fault("partition: empty separator");
  }
  const MarkedText& text = *self.text();
  const size_t found = std::min(text.bytes().find(separator->bytes()), text.size());
  const size_t behind = std::min(found + separator->size(), text.size());
  const std::array<MarkedText, 3> parts = {text.part(0, found), text.part(found, behind),
                                           text.part(behind, text.size())};
  FLOE_TRY(const Value list, list_of(interpreter, parts));
  list.list()->is_tuple = true;
  return list;
}

// startswith and endswith: of one string, or any of a tuple.
template <bool kAtEnd>
Result<Value> has_affix(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, kAtEnd ? "endswith" : "startswith", call, {"prefix"});
  FLOE_TRY_VOID(arguments.check(1));
  const Value& wanted = *arguments.read(0);
  const std::vector<Value> one = {wanted};
  const std::vector<Value>& candidates = wanted.list() != nullptr ? wanted.list()->items : one;
  const std::string_view text = self.text()->bytes();
  for (const Value& candidate : candidates) {
    FLOE_TRY_VOID(interpreter.spend(1));
    if (candidate.text() == nullptr) return interpreter.fault("expected strings to compare with");
    const std::string_view affix = candidate.text()->bytes();
    if (kAtEnd ? text.ends_with(affix) : text.starts_with(affix)) return Value(true);
  }
  return Value(false);
}

template <bool kAtEnd>
Result<Value> remove_affix(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, kAtEnd ? "removesuffix" : "removeprefix", call,
                            {"prefix"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const MarkedText* affix, arguments.text(0));
  if (affix == nullptr) return interpreter.fault("expected a string to remove");
  const MarkedText& text = *self.text();
  const bool found =
      kAtEnd ? text.bytes().ends_with(affix->bytes()) : text.bytes().starts_with(affix->bytes());
  if (!found) return self;
  return interpreter.text(kAtEnd ? text.part(0, text.size() - affix->size())
                                 : text.part(affix->size(), text.size()));
}

template <Case kStyle>
Result<Value> change_case(Interpreter& interpreter, const Value& self, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "method", call, {}).check(0));
  FLOE_TRY_VOID(interpreter.spend(self.text()->size()));
  return interpreter.text(with_case(*self.text(), kStyle));
}

Result<Value> replace(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "replace", call, {"old", "new", "count"});
  FLOE_TRY_VOID(arguments.check(2));
  FLOE_TRY(const MarkedText* pattern, arguments.text(0));
  FLOE_TRY(const MarkedText* by, arguments.text(1));
  FLOE_TRY(const Integer count, arguments.integer(2, -1));
  if (pattern == nullptr || by == nullptr) return interpreter.fault("replace: expected strings");
  FLOE_TRY(MarkedText out, replaced(interpreter, *self.text(), pattern->bytes(), *by, count));
  return interpreter.text(std::move(out));
}

Result<Value> join(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "join", call, {"iterable"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const std::vector<Value> parts, items_of(interpreter, *arguments.read(0)));
  return joined(interpreter, parts, *self.text(), false);
}

Result<Value> find_from(Interpreter& interpreter, const Value& self, const Call& call,
                        bool from_right) {
  const Arguments arguments(interpreter, "find", call, {"sub"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const MarkedText* part, arguments.text(0));
  if (part == nullptr) return interpreter.fault("find: expected a string");
  const std::string_view text = self.text()->bytes();
  FLOE_TRY_VOID(interpreter.spend(text.size() / 16));
  const size_t found = from_right ? text.rfind(part->bytes()) : text.find(part->bytes());
  if (found == std::string_view::npos) return Value(Integer{-1});
  return Value(static_cast<Integer>(count_characters(text.substr(0, found))));
}
Result<Value> find(Interpreter& interpreter, const Value& self, const Call& call) {
  return find_from(interpreter, self, call, false);
}
Result<Value> find_last(Interpreter& interpreter, const Value& self, const Call& call) {
  return find_from(interpreter, self, call, true);
}

Result<Value> count_text(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "count", call, {"sub"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const MarkedText* part, arguments.text(0));
  if (part == nullptr) return interpreter.fault("count: expected a string");
  const std::string_view text = self.text()->bytes();
  FLOE_TRY_VOID(interpreter.spend(text.size() / 16));
  if (part->empty()) return Value(static_cast<Integer>(count_characters(text) + 1));
  Integer count = 0;
  for (size_t at = text.find(part->bytes()); at != std::string_view::npos;
       at = text.find(part->bytes(), at + part->size())) {
    ++count;
  }
  return Value(count);
}

// Whether there are characters, all of this kind.
template <bool (*kHolds)(uint32_t)>
Result<Value> all_are(Interpreter& interpreter, const Value& self, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "method", call, {}).check(0));
  const std::string_view text = self.text()->bytes();
  FLOE_TRY_VOID(interpreter.spend(text.size() / 16));
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (!kHolds(character.codepoint)) return Value(false);
    at += character.length_bytes;
  }
  return Value(!text.empty());
}
bool is_letter_or_digit(uint32_t codepoint) {
  return is_letter(codepoint) || is_digit(codepoint);
}

// "{} of {1} for {name}". Of format specifications, those of width and of numbers that templates
// use: {:02d}, {:.2f}, {:>8}.
class BraceFormat {
 public:
  BraceFormat(Interpreter& interpreter, const MarkedText& format, const Call& call)
      : interpreter_(interpreter), format_(format), call_(call) {}

  Result<Value> run() {
    const std::string_view bytes = format_.bytes();
    MarkedText out;
    for (size_t at = 0; at < bytes.size();) {
      FLOE_TRY_VOID(interpreter_.spend(1));
      const size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
      out.append_part(format_, at, brace);
      if (brace == bytes.size()) break;
      if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
        out.append_part(format_, brace, brace + 1);
        at = brace + 2;
        continue;
      }
      const size_t close = bytes.find('}', brace);
      if (bytes[brace] == '}' || close == std::string_view::npos) {
        return interpreter_.fault("format: a single brace");
      }
      FLOE_TRY_VOID(field(bytes.substr(brace + 1, close - brace - 1), out));
      at = close + 1;
    }
    return interpreter_.text(std::move(out));
  }

 private:
  Result<Value> argument(std::string_view name) {
    if (name.empty() || (name[0] >= '0' && name[0] <= '9')) {
      size_t index = next_;
      if (name.empty()) {
        ++next_;
      } else {
        if (name.size() > 4) return interpreter_.fault("format: no such argument");
        index = static_cast<size_t>(std::stoi(std::string(name)));
      }
      if (index >= call_.positional.size())
        return interpreter_.fault("format: not enough arguments");
      return call_.positional[index];
    }
    if (name.find_first_of(".[") != std::string_view::npos) {
      return interpreter_.fault("format: fields of values are not supported");
    }
    const Value* value = call_.find_named(name);
    if (value == nullptr) {
      return interpreter_.fault("format: no argument '" + std::string(name) + "'");
    }
    return *value;
  }

  Result<void> field(std::string_view field, MarkedText& out) {
    const size_t colon = field.find(':');
    const std::string_view name = field.substr(0, std::min(colon, field.find('!')));
    if (field.find('!') != std::string_view::npos) {
      return interpreter_.fault("format: conversions (!r) are not supported");
    }
    FLOE_TRY(const Value value, argument(name));
    std::string_view spec = colon == std::string_view::npos ? "" : field.substr(colon + 1);
    if (spec.empty()) {
      FLOE_TRY(const MarkedText text, printed(interpreter_, value));
      out.append(text);
      return {};
    }
    // As the same field of a % format; numbers stand to the right there too, text to the left here.
    std::string percent = "%";
    bool left = value.text() != nullptr;
    if (spec[0] == '<' || spec[0] == '>') {
      left = spec[0] == '<';
      spec.remove_prefix(1);
    }
    if (left) percent += '-';
    const char last = spec.empty() ? '\0' : spec.back();
    const bool has_kind =
        std::string_view("sdfgeExX").find(last) != std::string_view::npos && last != '\0';
    const std::string_view digits = has_kind ? spec.substr(0, spec.size() - 1) : spec;
    if (digits.find_first_not_of("0123456789.+ ") != std::string_view::npos) {
      return interpreter_.fault("format: the specification '" + std::string(spec) +
                                "' is not supported");
    }
    percent += digits;
    percent += has_kind ? last : 's';
    FLOE_TRY(const Value text,
             percent_format(interpreter_, MarkedText(percent, Origin::author), {value}, nullptr));
    out.append(*text.text());
    return {};
  }

  Interpreter& interpreter_;
  const MarkedText& format_;
  const Call& call_;
  size_t next_ = 0;
};

Result<Value> format(Interpreter& interpreter, const Value& self, const Call& call) {
  return BraceFormat(interpreter, *self.text(), call).run();
}

// --- lists

Result<Value> append(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "append", call, {"object"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY_VOID(interpreter.hold(1));
  self.list()->items.push_back(*arguments.read(0));
  return Value(None{});
}

Result<Value> extend(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "extend", call, {"iterable"});
  FLOE_TRY_VOID(arguments.check(1));
  FLOE_TRY(const std::vector<Value> items, items_of(interpreter, *arguments.read(0)));
  FLOE_TRY_VOID(interpreter.hold(items.size()));
  auto& all = self.list()->items;
  all.insert(all.end(), items.begin(), items.end());
  return Value(None{});
}

Result<Value> insert(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "insert", call, {"index", "object"});
  FLOE_TRY_VOID(arguments.check(2));
  FLOE_TRY(Integer at, arguments.integer(0, 0));
  FLOE_TRY_VOID(interpreter.hold(1 + self.list()->items.size() / 16));
  auto& items = self.list()->items;
  const Integer n = static_cast<Integer>(items.size());
  if (at < 0) at += n;
  at = std::clamp(at, Integer{0}, n);
  items.insert(items.begin() + static_cast<ptrdiff_t>(at), *arguments.read(1));
  return Value(None{});
}

Result<Value> pop_item(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "pop", call, {"index"});
  FLOE_TRY_VOID(arguments.check(0));
  auto& items = self.list()->items;
  const Integer n = static_cast<Integer>(items.size());
  FLOE_TRY(Integer at, arguments.integer(0, -1));
  if (at < 0) at += n;
  if (at < 0 || at >= n) return interpreter.fault("pop: no such item");
  FLOE_TRY_VOID(interpreter.spend(items.size() / 16));
  Value item = items[static_cast<size_t>(at)];
  items.erase(items.begin() + static_cast<ptrdiff_t>(at));
  return item;
}

Result<Value> index_of(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "index", call, {"value"});
  FLOE_TRY_VOID(arguments.check(1));
  const auto& items = self.list()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    FLOE_TRY(const bool same, equal(interpreter, items[i], *arguments.read(0)));
    if (same) return Value(static_cast<Integer>(i));
  }
  return interpreter.fault("index: the value is not in the list");
}

Result<Value> count_items(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "count", call, {"value"});
  FLOE_TRY_VOID(arguments.check(1));
  Integer count = 0;
  for (const Value& item : self.list()->items) {
    FLOE_TRY(const bool same, equal(interpreter, item, *arguments.read(0)));
    count += same ? 1 : 0;
  }
  return Value(count);
}

Result<Value> reverse_list(Interpreter& interpreter, const Value& self, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "reverse", call, {}).check(0));
  auto& items = self.list()->items;
  FLOE_TRY_VOID(interpreter.spend(items.size()));
  std::reverse(items.begin(), items.end());
  return Value(None{});
}

Result<Value> copy_list(Interpreter& interpreter, const Value& self, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "copy", call, {}).check(0));
  FLOE_TRY_VOID(interpreter.hold(self.list()->items.size()));
  List& list = interpreter.make_list();
  list.items = self.list()->items;
  return Value(&list);
}

// --- dicts

enum class Part : uint8_t { keys, values, items };

template <Part kPart>
Result<Value> parts(Interpreter& interpreter, const Value& self, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "method", call, {}).check(0));
  const Dict& dict = *self.dict();
  FLOE_TRY_VOID(interpreter.hold((kPart == Part::items ? 3 : 1) * dict.size()));
  List& list = interpreter.make_list();
  list.items.reserve(dict.size());
  for (const auto& [key, value] : dict.members()) {
    if (kPart == Part::items) {
      List& pair = interpreter.make_list(true);
      pair.items = {key, value};
      list.items.push_back(Value(&pair));
    } else {
      list.items.push_back(kPart == Part::keys ? key : value);
    }
  }
  return Value(&list);
}

Result<Value> get(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "get", call, {"key", "default"});
  FLOE_TRY_VOID(arguments.check(1));
  if (const Value* member = self.dict()->find(*arguments.read(0))) return *member;
  return arguments.read(1) != nullptr ? *arguments.read(1) : Value(None{});
}

Result<Value> pop_member(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "pop", call, {"key", "default"});
  FLOE_TRY_VOID(arguments.check(1));
  Dict& dict = *self.dict();
  const Value* member = dict.find(*arguments.read(0));
  if (member == nullptr) {
    if (arguments.read(1) != nullptr) return *arguments.read(1);
    return interpreter.fault("pop: no such key");
  }
  FLOE_TRY_VOID(interpreter.spend(dict.size()));
  Value value = *member;
  dict.erase(*arguments.read(0));
  return value;
}

Result<Value> set_default(Interpreter& interpreter, const Value& self, const Call& call) {
  const Arguments arguments(interpreter, "setdefault", call, {"key", "default"});
  FLOE_TRY_VOID(arguments.check(1));
  const Value& key = *arguments.read(0);
  if (const Value* member = self.dict()->find(key)) return *member;
  if (!hash_key(key)) return interpreter.fault("setdefault: lists and dicts cannot be keys");
  FLOE_TRY_VOID(interpreter.hold(4));
  const Value value = arguments.read(1) != nullptr ? *arguments.read(1) : Value(None{});
  self.dict()->set(key, value);
  return value;
}

Result<Value> update(Interpreter& interpreter, const Value& self, const Call& call) {
  Dict& dict = *self.dict();
  for (const Value& from : call.positional) {
    if (from.dict() == nullptr || from.dict()->is_namespace) {
      return interpreter.fault("update: expected a dict");
    }
    const auto members = from.dict()->members();
    FLOE_TRY_VOID(interpreter.hold(4 * members.size()));
    for (const auto& [key, value] : members) dict.set(key, value);
  }
  for (const auto& [name, value] : call.named) {
    FLOE_TRY_VOID(interpreter.hold(4));
    FLOE_TRY(const Value key, interpreter.text(std::string(name), Origin::author));
    dict.set(key, value);
  }
  return Value(None{});
}

Result<Value> copy_dict(Interpreter& interpreter, const Value& self, const Call& call) {
  FLOE_TRY_VOID(Arguments(interpreter, "copy", call, {}).check(0));
  FLOE_TRY_VOID(interpreter.hold(4 * self.dict()->size()));
  Dict& dict = interpreter.make_dict();
  dict = *self.dict();
  return Value(&dict);
}

// --- tables

// A method without a function is one that Python has and templates have not been seen to use: it is
// an error, since the name must not be taken for a member of the dict.
struct Row {
  std::string_view name;
  Function::Native native;
};

constexpr Row kTextMethods[] = {
    {"capitalize", change_case<Case::capital>},
    {"casefold", nullptr},
    {"center", nullptr},
    {"encode", nullptr},
    {"expandtabs", nullptr},
    {"format_map", nullptr},
    {"index", nullptr},
    {"isascii", nullptr},
    {"isidentifier", nullptr},
    {"islower", nullptr},
    {"isprintable", nullptr},
    {"istitle", nullptr},
    {"isupper", nullptr},
    {"ljust", nullptr},
    {"maketrans", nullptr},
    {"rindex", nullptr},
    {"rjust", nullptr},
    {"rpartition", nullptr},
    {"swapcase", nullptr},
    {"translate", nullptr},
    {"zfill", nullptr},
    {"count", count_text},
    {"endswith", has_affix<true>},
    {"find", find},
    {"format", format},
    {"isalnum", all_are<is_letter_or_digit>},
    {"isalpha", all_are<is_letter>},
    {"isdecimal", all_are<is_digit>},
    {"isdigit", all_are<is_digit>},
    {"isnumeric", all_are<is_digit>},
    {"isspace", all_are<is_space>},
    {"join", join},
    {"lower", change_case<Case::lower>},
    {"lstrip", strip_left},
    {"partition", partition},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace},
    {"rfind", find_last},
    {"rsplit", split_from_right},
    {"rstrip", strip_right},
    {"split", split},
    {"splitlines", split_lines},
    {"startswith", has_affix<false>},
    {"strip", strip},
    {"title", change_case<Case::title_words>},
    {"upper", change_case<Case::upper>},
};

constexpr Row kListMethods[] = {
    {"append", append},        {"copy", copy_list}, {"count", count_items}, {"extend", extend},
    {"index", index_of},       {"insert", insert},  {"pop", pop_item},      {"remove", nullptr},
    {"reverse", reverse_list}, {"sort", nullptr},   {"clear", nullptr},
};

constexpr Row kTupleMethods[] = {{"count", count_items}, {"index", index_of}};

constexpr Row kDictMethods[] = {
    {"clear", nullptr},
    {"copy", copy_dict},
    {"fromkeys", nullptr},
    {"get", get},
    {"items", parts<Part::items>},
    {"keys", parts<Part::keys>},
    {"pop", pop_member},
    {"popitem", nullptr},
    {"setdefault", set_default},
    {"update", update},
    {"values", parts<Part::values>},
};

std::span<const Row> methods_of(const Value& value) {
  if (value.text() != nullptr) return kTextMethods;
  if (const List* list = value.list()) {
    if (list->is_tuple) return kTupleMethods;
    return kListMethods;
  }
  if (value.dict() != nullptr) return kDictMethods;
  return {};
}

}  // namespace

Result<Value> find_method(Interpreter& interpreter, const Value& value, std::string_view name) {
  for (const Row& row : methods_of(value)) {
    if (row.name != name) continue;
    if (row.native == nullptr) {
      return interpreter.fault("the method '" + std::string(name) + "' is not supported");
    }
    return interpreter.method(row.name, row.native, value);
  }
  return Value();
}

}  // namespace floe::jinja

#include "base/json.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>
#include <vector>

namespace floe {

namespace {

// Length of the valid UTF-8 sequence at text[i], 0 when there is none.
size_t utf8_sequence(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[i + k]); };
  const auto tail = [&](size_t k) { return i + k < text.size() && (byte(k) & 0xc0) == 0x80; };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
    if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogate
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (lead == 0xf0 && byte(1) < 0x90) return 0;  // overlong
    if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // past U+10FFFF
    return 4;
  }
  return 0;
}

// Nesting depth without parsing: brackets outside strings.
size_t nesting_depth(std::string_view text, size_t limit) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return depth;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return 0;
}

// Builds the document from the parser's events. The library's own builder looks for every new
// member among all members that came before: a body of a million names would take hours.
class DocumentBuilder final : public nlohmann::json_sax<Json> {
 public:
  DocumentBuilder(Json& document, size_t max_values) : document_(document), n_left_(max_values) {}
  const Error& error() const { return error_; }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // not in text
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Frame& frame = stack_.back();
    auto& members = frame.container->get_ref<Json::object_t&>();
    size_t position = members.size();
    if (position < kFewMembers) {
      for (size_t i = 0; i < members.size(); ++i) {
        if (members.begin()[i].first == name) position = i;
      }
    } else {
      if (frame.positions.empty()) {
        for (size_t i = 0; i < members.size(); ++i) {
          frame.positions.emplace(members.begin()[i].first, i);
        }
      }
      position = frame.positions.emplace(name, position).first->second;
    }
    if (position == members.size()) members.emplace_back(std::move(name), nullptr);
    frame.member = position;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception& fault) override {
    error_ = fault.id == kNumberOutOfRange ? usage_error("JSON holds a number out of range")
                                           : usage_error("JSON is invalid at byte {}", position);
    return false;
  }

 private:
  static constexpr size_t kFewMembers = 16;
  static constexpr int kNumberOutOfRange = 406;

  struct Frame {
    Json* container;
    size_t member = 0;                                  // of an object: where the next value goes
    std::unordered_map<std::string, size_t> positions;  // of an object with many members
  };

  // Where the next value goes; nullptr when there have been too many.
  Json* place(Json&& value) {
    if (n_left_ == 0) {
      error_ = usage_error("JSON holds too many values");
      return nullptr;
    }
    --n_left_;
    if (stack_.empty()) {
      document_ = std::move(value);
      return &document_;
    }
    Frame& frame = stack_.back();
    if (frame.container->is_array()) {
      auto& values = frame.container->get_ref<Json::array_t&>();
      values.push_back(std::move(value));
      return &values.back();
    }
    Json& member = frame.container->get_ref<Json::object_t&>().begin()[frame.member].second;
    member = std::move(value);
    return &member;
  }
  bool add(Json&& value) { return place(std::move(value)) != nullptr; }
  bool open(Json&& value) {
    // The place stays where it is while the frame is open: nothing is added beside it meanwhile.
    Json* container = place(std::move(value));
    if (container == nullptr) return false;
    stack_.push_back({container, 0, {}});
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  Json& document_;
  size_t n_left_;
  std::vector<Frame> stack_;
  Error error_;
};

// Hands the text to the parser and looks up every kStepBytes.
class TextReader {
 public:
  // can_drop: the pages that were read hold nothing that is read again.
  TextReader(std::string_view text, bool can_drop, const std::function<bool()>& cancelled)
      : begin_(text.data()),
        end_(begin_ + text.size()),
        can_drop_(can_drop),
        cancelled_(cancelled) {
    next_stop_ = begin_ + std::min(kStepBytes, text.size());
  }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    Iterator(TextReader& reader, const char* at) : reader_(&reader), at_(at) {}
    reference operator*() const { return *at_; }
    Iterator& operator++() {
      if (++at_ == reader_->next_stop_) at_ = reader_->stop(at_);
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    TextReader* reader_;
    const char* at_;
  };

  Iterator begin() { return {*this, begin_}; }
  Iterator end() { return {*this, end_}; }
  bool was_cancelled() const { return was_cancelled_; }

 private:
  static constexpr size_t kStepBytes = size_t{256} << 10;
  static constexpr uintptr_t kPageBytes = 4096;

  // Where to go on reading.
  const char* stop(const char* at) {
    if (can_drop_) drop_before(at);
    next_stop_ = at + std::min(kStepBytes, static_cast<size_t>(end_ - at));
    was_cancelled_ = was_cancelled_ || (cancelled_ && cancelled_());
    return was_cancelled_ ? end_ : at;
  }

  // The pages that lie in the text as a whole. What the system gives back there is zeros.
  void drop_before(const char* at) {
    const auto first = (reinterpret_cast<uintptr_t>(begin_) + kPageBytes - 1) & ~(kPageBytes - 1);
    const auto last = reinterpret_cast<uintptr_t>(at) & ~(kPageBytes - 1);
    const uintptr_t from = std::max(first, dropped_to_);
    if (from >= last) return;
    madvise(reinterpret_cast<void*>(from), last - from, MADV_DONTNEED);
    dropped_to_ = last;
  }

  const char* begin_;
  const char* end_;
  const char* next_stop_;
  uintptr_t dropped_to_ = 0;
  const bool can_drop_;
  bool was_cancelled_ = false;
  const std::function<bool()>& cancelled_;
};

Result<Json> parse(std::string_view text, bool can_drop, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return usage_error("JSON of {} bytes is over the limit of {}", text.size(), limits.max_bytes);
  }
  if (nesting_depth(text, limits.max_depth) != 0) {
    return usage_error("JSON is nested deeper than {} levels", limits.max_depth);
  }
  // The library takes a zero byte for the end of the text.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return usage_error("JSON is invalid at byte {}", zero + 1);
  }
  Json document;
  DocumentBuilder builder(document, limits.max_values);
  TextReader reader(text, can_drop, limits.cancelled);
  const bool is_whole = Json::sax_parse(reader.begin(), reader.end(), &builder);
  if (reader.was_cancelled()) return usage_error("nobody waits for this JSON any more");
  if (is_whole) return document;
  return builder.error();
}

}  // namespace

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  return parse(text, false, limits);
}

Result<Json> consume_json(std::string text, const JsonLimits& limits) {
  return parse(text, true, limits);
}

std::string dump_json(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_json_escaped(std::string_view text, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (size_t i = 0; i < text.size();) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
      ++i;
    } else if (c < 0x20) {
      if (c == '\n') {
        out += "\\n";
      } else if (c == '\t') {
        out += "\\t";
      } else if (c == '\r') {
        out += "\\r";
      } else {
        out += "\\u00";
        out += kHex[c >> 4];
        out += kHex[c & 15];
      }
      ++i;
    } else if (c < 0x80) {
      out += static_cast<char>(c);
      ++i;
    } else if (const size_t length = utf8_sequence(text, i); length != 0) {
      out.append(text, i, length);
      i += length;
    } else {
      out += "\xef\xbf\xbd";
      ++i;
    }
  }
}

}  // namespace floe

// The headers of safetensors files, read event by event: no document is built, so memory is what
// the tensors themselves need.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/json.h"
#include "base/terminal_text.h"
#include "store/checked_int.h"
#include "store/checked_reader.h"
#include "store/safetensors.h"

namespace floe {

namespace {

struct ElementTraits {
  ElementType type;
  const char* name;
  uint64_t size_bytes;
};
constexpr ElementTraits kElements[] = {
    {ElementType::F64, "F64", 8},         {ElementType::F32, "F32", 4},
    {ElementType::F16, "F16", 2},         {ElementType::BF16, "BF16", 2},
    {ElementType::I64, "I64", 8},         {ElementType::I32, "I32", 4},
    {ElementType::I16, "I16", 2},         {ElementType::I8, "I8", 1},
    {ElementType::U64, "U64", 8},         {ElementType::U32, "U32", 4},
    {ElementType::U16, "U16", 2},         {ElementType::U8, "U8", 1},
    {ElementType::BOOL, "BOOL", 1},       {ElementType::F8_E4M3, "F8_E4M3", 1},
    {ElementType::F8_E5M2, "F8_E5M2", 1},
};

const ElementTraits& traits(ElementType type) {
  return kElements[static_cast<size_t>(type)];
}

std::string shown(std::string_view name) {
  return escape_for_terminal(name, 128);
}

// Events of a JSON text that a subclass knows the grammar of: whatever it does not override is an
// error.
class StrictEvents : public nlohmann::json_sax<Json> {
 public:
  explicit StrictEvents(std::string_view source) : source_(source) {}

  Result<void> read(std::string_view text) {
    // The library takes a zero byte for the end of the text.
    if (text.find('\0') != std::string_view::npos) {
      return model_error("{}: expected JSON, found a zero byte", source_);
    }
    if (Json::sax_parse(text, this)) return {};
    return error_;
  }

  bool null() override { return unexpected(); }
  bool boolean(bool) override { return unexpected(); }
  bool number_integer(number_integer_t) override { return unexpected(); }
  bool number_unsigned(number_unsigned_t) override { return unexpected(); }
  bool number_float(number_float_t, const string_t&) override { return unexpected(); }
  bool string(string_t&) override { return unexpected(); }
  bool binary(binary_t&) override { return unexpected(); }
  bool start_object(size_t) override { return unexpected(); }
  bool key(string_t&) override { return unexpected(); }
  bool end_object() override { return unexpected(); }
  bool start_array(size_t) override { return unexpected(); }
  bool end_array() override { return unexpected(); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    error_ = model_error("{}: the JSON is invalid at byte {}", source_, position);
    return false;
  }

 protected:
  bool fail(Error error) {
    error_ = std::move(error);
    return false;
  }
  bool unexpected() { return fail(model_error("{}: {}", source_, what_is_expected())); }
  virtual std::string what_is_expected() const = 0;

  std::string_view source_;

 private:
  Error error_;
};

// {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...,
//  "__metadata__": {"KEY": "VALUE", ...}}
class HeaderEvents final : public StrictEvents {
 public:
  using StrictEvents::StrictEvents;
  std::vector<SafetensorsTensor> take() { return std::move(tensors_); }

  bool start_object(size_t) override {
    switch (state_) {
      case State::begin:
        state_ = State::names;
        return true;
      case State::tensor:
        state_ = State::fields;
        seen_ = {};
        return true;
      case State::metadata:
        state_ = State::metadata_keys;
        return true;
      default:
        return unexpected();
    }
  }

  bool key(string_t& name) override {
    switch (state_) {
      case State::names:
        return begin_tensor(name);
      case State::metadata_keys:
        state_ = State::metadata_value;
        return true;
      case State::fields:
        return begin_field(name);
      default:
        return unexpected();
    }
  }

  bool string(string_t& value) override {
    if (state_ == State::metadata_value) {
      state_ = State::metadata_keys;
      return true;
    }
    if (state_ != State::dtype) return unexpected();
    for (const ElementTraits& element : kElements) {
      if (value != element.name) continue;
      tensors_.back().type = element.type;
      state_ = State::fields;
      return true;
    }
    return fail(model_error("{}: tensor {}: expected a known dtype, found {}", source_,
                            shown(tensors_.back().name), shown(value)));
  }

  bool start_array(size_t) override {
    if (state_ != State::shape && state_ != State::offsets) return unexpected();
    state_ = state_ == State::shape ? State::sizes : State::bounds;
    n_numbers_ = 0;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::sizes && state_ != State::bounds) return unexpected();
    if (n_numbers_ == (state_ == State::sizes ? kMaxTensorDims : 2)) return unexpected();
    numbers_[n_numbers_++] = value;
    return true;
  }

  bool end_array() override {
    SafetensorsTensor& tensor = tensors_.back();
    if (state_ == State::sizes) {
      TensorDims dims;
      for (size_t i = n_numbers_; i-- > 0;) dims.push_back(numbers_[i]);
      if (n_numbers_ == 0) dims.push_back(1);
      tensor.dims = dims;
    } else if (n_numbers_ == 2) {
      tensor.file_offset = numbers_[0];
      tensor.size_bytes = numbers_[1];  // its end, until check_bytes()
    } else {
      return unexpected();
    }
    state_ = State::fields;
    return true;
  }

  bool end_object() override {
    switch (state_) {
      case State::metadata_keys:
        state_ = State::names;
        return true;
      case State::fields:
        if (seen_ != std::array{true, true, true}) return unexpected();
        state_ = State::names;
        return true;
      case State::names:
        state_ = State::end;
        return true;
      default:
        return unexpected();
    }
  }

 private:
  enum class State : uint8_t {
    begin,
    names,
    metadata,
    metadata_keys,
    metadata_value,
    tensor,
    fields,
    dtype,
    shape,
    sizes,
    offsets,
    bounds,
    end,
  };

  bool begin_tensor(string_t& name) {
    if (name == "__metadata__") {
      state_ = State::metadata;
      return true;
    }
    if (name.empty() || name.size() > kMaxSafetensorsNameBytes) {
      return fail(model_error("{}: expected tensor names of 1 to {} bytes, found one of {}",
                              source_, kMaxSafetensorsNameBytes, name.size()));
    }
    tensors_.emplace_back().name = name;
    state_ = State::tensor;
    return true;
  }

  bool begin_field(const string_t& name) {
    static constexpr std::pair<const char*, State> kFields[] = {
        {"dtype", State::dtype}, {"shape", State::shape}, {"data_offsets", State::offsets}};
    for (size_t i = 0; i < seen_.size(); ++i) {
      if (name != kFields[i].first) continue;
      if (seen_[i]) return unexpected();
      seen_[i] = true;
      state_ = kFields[i].second;
      return true;
    }
    return unexpected();
  }

  std::string what_is_expected() const override {
    if (tensors_.empty() || state_ < State::tensor) {
      return "expected a header of tensors {\"NAME\": {...}} and text metadata";
    }
    return fmt::format(
        "tensor {}: expected one dtype, one shape of at most {} sizes and two data_offsets",
        shown(tensors_.back().name), kMaxTensorDims);
  }

  State state_ = State::begin;
  std::array<bool, 3> seen_{};  // dtype, shape, data_offsets
  std::array<uint64_t, kMaxTensorDims> numbers_{};
  size_t n_numbers_ = 0;
  std::vector<SafetensorsTensor> tensors_;
};

// {"metadata": {"total_size": 123}, "weight_map": {"NAME": "FILE", ...}}
class IndexEvents final : public StrictEvents {
 public:
  explicit IndexEvents(std::string_view source, size_t most_places)
      : StrictEvents(source), most_places_(most_places) {}
  bool found_map() const { return found_map_; }
  std::vector<SafetensorsPlace> take() { return std::move(places_); }

  bool start_object(size_t) override {
    if (depth_ <= 1) {
      ++depth_;
      return true;
    }
    return unexpected();
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) {
      at_map_ = name == "weight_map";
      if (!at_map_) return true;
      if (std::exchange(found_map_, true)) return unexpected();
      places_.reserve(most_places_);
    } else if (in_map()) {
      if (name.empty() || name.size() > kMaxSafetensorsNameBytes) return unexpected();
      places_.emplace_back().tensor = name;
    }
    return true;
  }
  bool string(string_t& value) override {
    if (!in_map()) return beside_map();
    const bool plain = !value.empty() && value.size() <= 255 && value.front() != '.' &&
                       value.find('/') == string_t::npos;
    if (!plain) {
      return fail(
          model_error("{}: tensor {}: expected the name of a file beside the index, found {}",
                      source_, shown(places_.back().tensor), shown(value)));
    }
    places_.back().file = value;
    return true;
  }
  bool null() override { return beside_map(); }
  bool boolean(bool) override { return beside_map(); }
  bool number_integer(number_integer_t) override { return beside_map(); }
  bool number_unsigned(number_unsigned_t) override { return beside_map(); }
  bool number_float(number_float_t, const string_t&) override { return beside_map(); }

 private:
  bool in_map() const { return depth_ == 2 && at_map_; }
  bool beside_map() { return depth_ != 0 && !at_map_ ? true : unexpected(); }
  std::string what_is_expected() const override {
    return "expected an index {\"weight_map\": {\"NAME\": \"FILE\", ...}}";
  }

  int depth_ = 0;
  bool found_map_ = false;
  bool at_map_ = false;  // the root's last key
  size_t most_places_;
  std::vector<SafetensorsPlace> places_;
};

// Turns ends into sizes and offsets behind the header into offsets in the file.
Result<void> check_bytes(std::vector<SafetensorsTensor>& tensors, uint64_t data_begin,
                         uint64_t file_size_bytes, std::string_view source) {
  const uint64_t data_bytes = file_size_bytes - data_begin;
  for (SafetensorsTensor& tensor : tensors) {
    const uint64_t begin = tensor.file_offset;
    const uint64_t end = tensor.size_bytes;
    if (begin > end || end > data_bytes) {
      return model_error("{}: tensor {}: expected data_offsets within {} bytes, found [{}, {}]",
                         source, shown(tensor.name), data_bytes, begin, end);
    }
    uint64_t n_bytes = traits(tensor.type).size_bytes;
    for (const uint64_t size : tensor.dims) {
      if (size == 0 || !checked_mul(n_bytes, size, n_bytes)) {
        return model_error("{}: tensor {}: expected a shape of sizes from 1 on, found {}", source,
                           shown(tensor.name), tensor.dims.text());
      }
    }
    if (n_bytes != end - begin) {
      return model_error("{}: tensor {}: expected {} bytes for {} of {}, found {}", source,
                         shown(tensor.name), n_bytes, tensor.dims.text(), to_string(tensor.type),
                         end - begin);
    }
    tensor.size_bytes = n_bytes;
  }
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.file_offset != b.file_offset ? a.file_offset < b.file_offset : a.name < b.name;
  });
  uint64_t end = 0;
  for (SafetensorsTensor& tensor : tensors) {
    if (tensor.file_offset != end) {
      return model_error("{}: tensor {}: expected its bytes to begin at {}, found {}", source,
                         shown(tensor.name), end, tensor.file_offset);
    }
    end += tensor.size_bytes;  // within data_bytes
    tensor.file_offset += data_begin;
  }
  if (end != data_bytes) {
    return model_error("{}: expected the file to end at {}, found {} bytes", source,
                       data_begin + end, file_size_bytes);
  }
  return {};
}

template <typename Item, typename Name>
Result<void> refuse_twice(const std::vector<Item>& items, std::string_view source, Name name) {
  std::vector<std::string_view> names;
  names.reserve(items.size());
  for (const Item& item : items) names.push_back(name(item));
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return model_error("{}: tensor {}: expected once, found twice", source, shown(*twice));
}

}  // namespace

const char* to_string(ElementType type) {
  return traits(type).name;
}

uint64_t element_bytes(ElementType type) {
  return traits(type).size_bytes;
}

std::optional<QuantType> float_format(ElementType type) {
  switch (type) {
    case ElementType::F32:
      return QuantType::F32;
    case ElementType::F16:
      return QuantType::F16;
    case ElementType::BF16:
      return QuantType::BF16;
    default:
      return std::nullopt;
  }
}

Result<std::vector<SafetensorsTensor>> parse_safetensors_header(std::string_view header,
                                                                uint64_t file_size_bytes,
                                                                std::string_view source) {
  uint64_t data_begin = 0;
  if (!checked_add(sizeof(uint64_t), header.size(), data_begin) || data_begin > file_size_bytes) {
    return model_error("{}: expected a header within {} bytes, found one of {}", source,
                       file_size_bytes, header.size());
  }
  HeaderEvents events(source);
  FLOE_TRY_VOID(events.read(header));
  std::vector<SafetensorsTensor> tensors = events.take();
  FLOE_TRY_VOID(refuse_twice(tensors, source,
                             [](const auto& tensor) { return std::string_view(tensor.name); }));
  FLOE_TRY_VOID(check_bytes(tensors, data_begin, file_size_bytes, source));
  return tensors;
}

Result<std::vector<SafetensorsTensor>> parse_safetensors(std::span<const std::byte> bytes,
                                                         std::string_view source) {
  ByteReader reader(bytes);
  uint64_t header_bytes = 0;
  std::string_view header;
  if (!reader.read(header_bytes) || header_bytes > kMaxSafetensorsHeaderBytes ||
      !reader.read_text(header_bytes, header)) {
    return model_error("{}: expected a header of at most {} bytes within the file's {}, found {}",
                       source, kMaxSafetensorsHeaderBytes, bytes.size(), header_bytes);
  }
  return parse_safetensors_header(header, bytes.size(), source);
}

Result<std::vector<SafetensorsPlace>> parse_safetensors_index(std::string_view text,
                                                              std::string_view source) {
  // A place takes four quotes and, "a":"b", at the least, eight bytes of text; asked for at once,
  // the places cannot outgrow the text by doubling.
  const auto n_quotes = static_cast<size_t>(std::count(text.begin(), text.end(), '"'));
  IndexEvents events(source, std::min(n_quotes / 4, text.size() / 8));
  FLOE_TRY_VOID(events.read(text));
  std::vector<SafetensorsPlace> places = events.take();
  if (!events.found_map() || places.empty()) {
    return model_error("{}: expected an index with a weight_map of tensors, found none", source);
  }
  FLOE_TRY_VOID(refuse_twice(places, source,
                             [](const auto& place) { return std::string_view(place.tensor); }));
  return places;
}

}  // namespace floe

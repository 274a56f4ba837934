#include "template/value.h"

#include <cmath>

#include "template/value_text.h"

namespace floe::jinja {

std::optional<Integer> Value::integer() const {
  if (const Integer* integer = as<Integer>()) return *integer;
  if (const bool* boolean = as<bool>()) return Integer{*boolean};
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* floating = as<double>()) return *floating;
  if (const auto exact = integer()) return static_cast<double>(*exact);
  return std::nullopt;
}

const Value* Call::find_named(std::string_view name) const {
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::optional<std::string> hash_key(const Value& value) {
  if (const MarkedText* text = value.text()) {
    std::string key = "s";
    key.append(text->bytes());
    return key;
  }
  if (const auto exact = value.integer()) return "i" + integer_text(*exact);
  if (const double* floating = value.as<double>()) {
    const double whole = std::trunc(*floating);
    if (whole == *floating && std::abs(whole) < 1e30) {
      return "i" + integer_text(static_cast<Integer>(whole));
    }
    return "f" + float_text(*floating);
  }
  if (value.is_none()) return "n";
  if (const List* list = value.list(); list != nullptr && list->is_tuple) {
    // Tuples of tuples are not taken as keys: no template does, and it keeps this without
    // recursion.
    std::string key = "t";
    for (const Value& item : list->items) {
      if (item.list() != nullptr) return std::nullopt;
      const auto part = hash_key(item);
      if (!part) return std::nullopt;
      key += std::to_string(part->size()) + ":" + *part;
    }
    return key;
  }
  return std::nullopt;
}

const Value* Dict::find_hashed(const std::string& hash) const {
  const auto found = index_.find(hash);
  return found == index_.end() ? nullptr : &members_[found->second].second;
}

const Value* Dict::find(const Value& key) const {
  const auto hash = hash_key(key);
  return hash ? find_hashed(*hash) : nullptr;
}

const Value* Dict::find(std::string_view text) const {
  std::string hash = "s";
  hash.append(text);
  return find_hashed(hash);
}

bool Dict::set(const Value& key, Value value) {
  auto hash = hash_key(key);
  FLOE_CHECK(hash.has_value());
  const auto [at, is_new] = index_.try_emplace(std::move(*hash), members_.size());
  if (is_new) {
    members_.emplace_back(key, std::move(value));
  } else {
    members_[at->second].second = std::move(value);
  }
  return is_new;
}

bool Dict::erase(const Value& key) {
  const auto hash = hash_key(key);
  if (!hash) return false;
  const auto found = index_.find(*hash);
  if (found == index_.end()) return false;
  const size_t at = found->second;
  index_.erase(found);
  members_.erase(members_.begin() + static_cast<ptrdiff_t>(at));
  for (auto& [unused, position] : index_) position -= position > at ? 1 : 0;
  return true;
}

void Dict::clear() {
  members_.clear();
  index_.clear();
}

std::string_view type_name(const Value& value) {
  if (value.is_undefined()) return "undefined";
  if (value.is_none()) return "NoneType";
  if (value.as<bool>() != nullptr) return "bool";
  if (value.as<Integer>() != nullptr) return "int";
  if (value.as<double>() != nullptr) return "float";
  if (value.text() != nullptr) return "str";
  if (const List* list = value.list()) return list->is_tuple ? "tuple" : "list";
  if (const Dict* dict = value.dict()) return dict->is_namespace ? "namespace" : "dict";
  return "function";
}

bool is_true(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const double* floating = value.as<double>()) return *floating != 0.0;
  if (const auto exact = value.integer()) return *exact != 0;
  if (const MarkedText* text = value.text()) return !text->empty();
  if (const List* list = value.list()) return !list->items.empty();
  if (const Dict* dict = value.dict()) return dict->is_namespace || dict->size() != 0;
  return true;
}

}  // namespace floe::jinja

#include "fuzz/safetensors_properties.h"

#include <fmt/format.h>

#include <set>

#include "fuzz/allocation_count.h"
#include "store/safetensors.h"

namespace floe {

namespace {

std::string check_tensors(std::span<const SafetensorsTensor> tensors, uint64_t n_input_bytes) {
  std::set<std::string_view> names;
  uint64_t end = tensors.empty() ? n_input_bytes : tensors.front().file_offset;
  if (end < 8) return "a tensor begins in the length";
  for (const SafetensorsTensor& tensor : tensors) {
    if (!names.insert(tensor.name).second) return "two tensors of one name";
    if (tensor.file_offset != end) return fmt::format("a gap at {}", end);
    if (tensor.size_bytes == 0 || tensor.size_bytes % tensor.dims.n_elems() != 0) {
      return fmt::format("{} bytes of {}", tensor.size_bytes, tensor.dims.text());
    }
    end += tensor.size_bytes;
  }
  return !tensors.empty() && end != n_input_bytes ? fmt::format("the last ends at {}", end) : "";
}

template <typename Parsed>
std::string check_error(const Parsed& parsed) {
  if (parsed.error().kind != ErrorKind::model) return "an error of another kind";
  return parsed.error().message.find('\n') != std::string::npos ? "an error of two lines" : "";
}

}  // namespace

std::string check_safetensors_properties(std::span<const std::byte> input) {
  const size_t allowed_bytes = 64 * 1024 + 16 * input.size();
  size_t allocated_bytes = 0;
  const auto tensors = [&] {
    const AllocationCount count;
    auto parsed = parse_safetensors(input, "input");
    allocated_bytes = count.bytes();
    return parsed;
  }();
  if (allocated_bytes > allowed_bytes) {
    return fmt::format("a file allocated {} bytes for {}", allocated_bytes, input.size());
  }
  const std::string broken =
      tensors.ok() ? check_tensors(*tensors, input.size()) : check_error(tensors);
  if (!broken.empty()) return broken;
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const auto places = [&] {
    const AllocationCount count;
    auto parsed = parse_safetensors_index(text, "input");
    allocated_bytes = count.bytes();
    return parsed;
  }();
  if (allocated_bytes > allowed_bytes) {
    return fmt::format("an index allocated {} bytes for {}", allocated_bytes, input.size());
  }
  if (!places.ok()) return check_error(places);
  for (const SafetensorsPlace& place : *places) {
    if (place.file.empty() || place.file.find('/') != std::string::npos) return "a path as a file";
  }
  return "";
}

}  // namespace floe

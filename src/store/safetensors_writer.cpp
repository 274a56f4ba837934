// Writing safetensors files.
#include <algorithm>

#include "base/json.h"
#include "store/checked_int.h"
#include "store/safetensors.h"

namespace floe {

Result<OutputFile> create_safetensors(const std::string& path,
                                      std::span<const SafetensorsTensor> tensors) {
  Json header = Json::object();
  uint64_t end = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    std::vector<uint64_t> shape(tensor.dims.begin(), tensor.dims.end());
    std::reverse(shape.begin(), shape.end());
    const uint64_t begin = end;
    uint64_t n_bytes = 0;
    if (!checked_mul(tensor.dims.n_elems(), element_bytes(tensor.type), n_bytes) ||
        !checked_add(begin, n_bytes, end)) {
      return usage_error("tensor {}: {} is more than a file can hold", tensor.name,
                         tensor.dims.text());
    }
    header[tensor.name] = {
        {"dtype", to_string(tensor.type)}, {"shape", shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = dump_json(header);
  // Spaces behind it, so that the data begins at a multiple of 8 bytes.
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t n_text = text.size();
  uint64_t file_bytes = 0;
  if (!checked_add(end, sizeof n_text + n_text, file_bytes)) file_bytes = UINT64_MAX;
  if (const auto parsed = parse_safetensors_header(text, file_bytes, "safetensors header");
      !parsed.ok()) {
    return usage_error("{}", parsed.error().message);
  }
  FLOE_TRY(OutputFile file, OutputFile::create(path, file_bytes));
  FLOE_TRY_VOID(file.append(std::as_bytes(std::span(&n_text, 1))));
  FLOE_TRY_VOID(file.append(std::as_bytes(std::span(text))));
  return file;
}

}  // namespace floe

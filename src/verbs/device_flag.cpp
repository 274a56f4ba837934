#include "verbs/device_flag.h"

#include <spdlog/spdlog.h>

#include <charconv>
#include <optional>

#if defined(FLOE_HAVE_CUDA)
#include "cuda/cards.h"
#endif

namespace floe {

namespace {

// N of a card's name; nothing where the name is another.
std::optional<uint32_t> card_index(std::string_view device) {
  if (device == "cuda") return 0;
  const std::string_view prefix = device.starts_with("CUDA") ? "CUDA" : "cuda:";
  if (!device.starts_with(prefix)) return std::nullopt;
  device.remove_prefix(prefix.size());
  uint32_t index = 0;
  const auto [end, error] = std::from_chars(device.data(), device.data() + device.size(), index);
  if (error != std::errc() || end != device.data() + device.size()) return std::nullopt;
  return index;
}

}  // namespace

void add_device_flag(OptionTable& table, std::string* device) {
  table.add("-dev,--device", "auto|cpu|cuda:N", device,
            "where the model and its cache are: the processor, or an NVIDIA card by its number; "
            "auto: the first card that has room for the weights, else the processor. The bits are "
            "the same. EAGLE-3 heads run on the processor");
}

Result<std::unique_ptr<Model>> load_model_on(const std::string& device, const std::string& path,
                                             const ModelOptions& options, ThreadPool& pool) {
  const std::optional<uint32_t> index = card_index(device);
  if (!index && device != "auto" && device != "cpu" && device != "none") {
    return usage_error("--device: expected auto, cpu or cuda:N, found '{}'", device);
  }
#if defined(FLOE_HAVE_CUDA)
  if (index) return load_card_model(path, options, pool, *index);
  if (device == "auto") {
    for (const CardInfo& card : list_cards()) {
      Result<std::unique_ptr<Model>> model = load_card_model(path, options, pool, card.index);
      if (model.ok()) {
        spdlog::info("device: cuda:{} ({})", card.index, card.name);
        return model;
      }
      if (model.error().kind != ErrorKind::memory) return model;
      spdlog::warn("device: not cuda:{}: {}", card.index, model.error().message);
    }
  }
#else
  if (index) {
    return usage_error(
        "--device {}: this build has no kernels for cards: it was made without a CUDA toolkit",
        device);
  }
#endif
  return load_model(path, options, pool);
}

uint64_t free_card_bytes([[maybe_unused]] const std::string& device,
                         [[maybe_unused]] uint64_t weight_bytes) {
#if defined(FLOE_HAVE_CUDA)
  const std::optional<uint32_t> index = card_index(device);
  for (const CardInfo& card : list_cards()) {
    if (index ? card.index == *index : device == "auto" && card.free_bytes >= weight_bytes) {
      return card.free_bytes;
    }
  }
#endif
  return 0;
}

}  // namespace floe

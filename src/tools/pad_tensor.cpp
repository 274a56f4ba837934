#include "tools/pad_tensor.h"

#include <algorithm>
#include <cstring>

#include "quant/blocks.h"

namespace floe {

namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;

class Padder {
 public:
  Padder(const TensorPlan& plan, float norm_factor, const ReadTensor& read,
         const WriteTensor& write)
      : plan_(plan),
        norm_factor_(norm_factor),
        read_(read),
        write_(write),
        zero_(zero_block(plan.type)),
        source_row_bytes_(row_bytes(plan.type, n_source(plan.cols))),
        n_source_rows_(plan.n_planes * n_source(plan.rows)),
        row_bytes_(row_bytes(plan.type, plan.dims.n_cols())) {}

  Result<void> pad() {
    uint64_t first = 0;  // source row of the run
    for (uint64_t plane = 0; plane < plan_.n_planes; ++plane) {
      for (const Run& run : plan_.rows) {
        for (uint64_t i = 0; i < run.n_padded; ++i) {
          if (i >= run.n && run.padding == Padding::zeros) {
            FLOE_TRY_VOID(add_zero_row());
          } else {
            FLOE_TRY(const std::byte* row, source_row(first + i % run.n));
            FLOE_TRY_VOID(add_row(row));
          }
        }
        first += run.n;
      }
    }
    return flush();
  }

 private:
  static uint64_t n_source(const std::vector<Run>& runs) {
    uint64_t n = 0;
    for (const Run& run : runs) n += run.n;
    return n;
  }

  // The row, out of a piece that is read when the row is not in it.
  Result<const std::byte*> source_row(uint64_t row) {
    if (row < first_read_row_ || row >= first_read_row_ + n_read_rows_) {
      n_read_rows_ = std::clamp<uint64_t>(kPieceBytes / source_row_bytes_, 1, n_source_rows_ - row);
      first_read_row_ = row;
      in_.resize(n_read_rows_ * source_row_bytes_);
      FLOE_TRY_VOID(read_(row * source_row_bytes_, in_));
    }
    return in_.data() + (row - first_read_row_) * source_row_bytes_;
  }

  Result<void> make_room() {
    if (!out_.empty() && out_.size() + row_bytes_ > kPieceBytes) return flush();
    return {};
  }

  Result<void> add_row(const std::byte* row) {
    FLOE_TRY_VOID(make_room());
    for (const Run& run : plan_.cols) {
      const size_t n_bytes = row_bytes(plan_.type, run.n);
      const size_t begin = out_.size();
      out_.insert(out_.end(), row, row + n_bytes);
      if (plan_.is_norm && norm_factor_ != 1.0f) scale({out_.data() + begin, n_bytes});
      uint64_t n_left = run.n_padded - run.n;
      if (run.padding == Padding::copies) {
        for (; n_left > 0; n_left -= run.n) out_.insert(out_.end(), row, row + n_bytes);
      }
      add_zeros(row_bytes(plan_.type, n_left));
      row += n_bytes;
    }
    return {};
  }

  Result<void> add_zero_row() {
    FLOE_TRY_VOID(make_room());
    add_zeros(row_bytes_);
    return {};
  }

  void add_zeros(size_t n_bytes) {
    const size_t begin = out_.size();
    out_.resize(begin + n_bytes);  // zero bytes
    if (std::none_of(zero_.begin(), zero_.end(), [](std::byte b) { return b != std::byte{0}; })) {
      return;
    }
    for (size_t at = begin; at < out_.size(); at += zero_.size()) {
      std::memcpy(out_.data() + at, zero_.data(), zero_.size());
    }
  }

  void scale(std::span<std::byte> values) const {
    for (size_t at = 0; at < values.size(); at += sizeof(float)) {
      float value;
      std::memcpy(&value, values.data() + at, sizeof value);
      value *= norm_factor_;
      std::memcpy(values.data() + at, &value, sizeof value);
    }
  }

  Result<void> flush() {
    FLOE_TRY_VOID(write_(out_));
    out_.clear();
    return {};
  }

  const TensorPlan& plan_;
  const float norm_factor_;
  const ReadTensor& read_;
  const WriteTensor& write_;
  const std::vector<std::byte> zero_;
  const uint64_t source_row_bytes_;
  const uint64_t n_source_rows_;
  const uint64_t row_bytes_;
  std::vector<std::byte> in_;
  uint64_t first_read_row_ = 0;
  uint64_t n_read_rows_ = 0;
  std::vector<std::byte> out_;
};

}  // namespace

std::vector<std::byte> zero_block(QuantType type) {
  std::vector<std::byte> block(format_traits(type).block_bytes, std::byte{0});
  // Zero values under an ordinary scale: the exponent 0 is a subnormal number, which slows some
  // machines down. Scales of other formats are half-precision numbers, and 0 is one.
  if (type == QuantType::MXFP4) block[offsetof(BlockMXFP4, e)] = std::byte{127};
  return block;
}

Result<void> pad_tensor(const TensorPlan& plan, float norm_factor, const ReadTensor& read,
                        const WriteTensor& write) {
  return Padder(plan, norm_factor, read, write).pad();
}

}  // namespace floe

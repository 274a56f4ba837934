#include "text/score_merge.h"

#include <algorithm>

#include "text/unicode.h"

namespace floe {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// A space right behind another character.
bool has_inner_space(std::string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == ' ' && text[i - 1] != ' ') return true;
  }
  return false;
}

}  // namespace

std::optional<uint8_t> parse_byte_token(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return std::nullopt;
  const int high = hex_digit(text[3]);
  const int low = hex_digit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

std::string unescape_spaces(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i, kSpaceMark.size()) == kSpaceMark) {
      out.push_back(' ');
      i += kSpaceMark.size();
    } else {
      out.push_back(text[i++]);
    }
  }
  return out;
}

Result<std::unique_ptr<const ScoreEncoder>> ScoreEncoder::create(
    const Vocabulary& vocabulary, const std::vector<bool>& producible) {
  if (vocabulary.scores.empty()) {
    return model_error("{}: tokenizer.ggml.scores: expected {} scores, found none",
                       vocabulary.source, vocabulary.tokens.size());
  }
  std::unique_ptr<ScoreEncoder> encoder(new ScoreEncoder());
  encoder->unknown_id_ = vocabulary.unknown_id;
  encoder->byte_token_.fill(-1);

  std::vector<float> scores(vocabulary.scores);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());

  struct Entry {
    size_t offset;
    size_t n_bytes;
    Piece piece;
  };
  std::vector<Entry> entries;
  size_t n_byte_tokens = 0;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& stored = vocabulary.tokens[id];
    const bool typed = !vocabulary.types.empty();
    if (!typed || vocabulary.types[id] == TokenType::byte) {
      if (const auto byte = parse_byte_token(stored)) {
        int32_t& slot = encoder->byte_token_[*byte];
        if (slot < 0) {
          slot = static_cast<int32_t>(id);
          ++n_byte_tokens;
        }
        continue;
      }
    }
    // A literal space in the stored text can never match: spaces are stored as U+2581.
    if (!producible[id] || stored.empty() || stored.find(' ') != std::string::npos) continue;
    const std::string text = unescape_spaces(stored);
    if (text.size() > kMaxPieceBytes) continue;
    const auto rank =
        std::lower_bound(scores.begin(), scores.end(), vocabulary.scores[id], std::greater<>());
    entries.push_back({encoder->arena_.size(),
                       text.size(),
                       {static_cast<int32_t>(id), static_cast<uint32_t>(rank - scores.begin())}});
    encoder->arena_ += text;
    encoder->longest_piece_bytes_ = std::max(encoder->longest_piece_bytes_, text.size());
    if (has_inner_space(text)) encoder->words_end_at_space_ = false;
  }
  if (n_byte_tokens < 256 && vocabulary.unknown_id < 0) {
    return model_error(
        "{}: tokenizer.ggml.tokens: expected 256 byte tokens or an unknown token, found {} byte "
        "tokens and no unknown_token_id",
        vocabulary.source, n_byte_tokens);
  }
  encoder->pieces_.reserve(entries.size());
  for (const Entry& entry : entries) {
    const std::string_view text(encoder->arena_.data() + entry.offset, entry.n_bytes);
    encoder->pieces_.emplace(text, entry.piece);  // of equal texts the first token stays
  }
  for (size_t c = 0; c < encoder->ascii_id_.size(); ++c) {
    const char text = static_cast<char>(c);
    const auto found = encoder->pieces_.find(std::string_view(&text, 1));
    encoder->ascii_id_[c] = found == encoder->pieces_.end() ? -1 : found->second.id;
  }
  return std::unique_ptr<const ScoreEncoder>(std::move(encoder));
}

void ScoreEncoder::encode_piece(std::string_view piece, MergeScratch& scratch, uint64_t& n_looks,
                                std::vector<int32_t>& out) const {
  merge_in_windows(
      piece, scratch,
      [&](std::string_view window) {
        for (size_t i = 0; i < window.size();) {
          ++n_looks;
          if (const auto byte = static_cast<uint8_t>(window[i]); byte < ascii_id_.size()) {
            scratch.append(static_cast<uint32_t>(i++), 1, ascii_id_[byte]);
            continue;
          }
          const size_t length = decode_utf8(window, i).length_bytes;
          const auto found = pieces_.find(window.substr(i, length));
          scratch.append(static_cast<uint32_t>(i), static_cast<uint32_t>(length),
                         found == pieces_.end() ? -1 : found->second.id);
          i += length;
        }
      },
      [&](std::string_view window) {
        merge_nodes(scratch, [&](const MergeNode& left, const MergeNode& right, uint32_t& rank,
                                 int32_t& symbol) {
          const size_t n_bytes = left.n_bytes + right.n_bytes;
          if (n_bytes > longest_piece_bytes_) return false;
          // Two symbols that are tokens spell one text: long words ask for the same few again and
          // again.
          PairMemory* memory = nullptr;
          if (left.symbol >= 0 && right.symbol >= 0) {
            const uint64_t pair =
                static_cast<uint64_t>(left.symbol) << 32 | static_cast<uint32_t>(right.symbol);
            memory = &scratch.pair_memory[(pair * 0x9E3779B97F4A7C15ull) >> 52];
            if (memory->pair == pair) {
              rank = memory->rank;
              symbol = memory->symbol;
              return rank != kNoRank;
            }
            *memory = {pair, kNoRank, -1};
          }
          const auto found = pieces_.find(window.substr(left.start, n_bytes));
          if (found == pieces_.end()) return false;
          rank = found->second.rank;
          symbol = found->second.id;
          if (memory != nullptr) *memory = {memory->pair, rank, symbol};
          return true;
        });
      },
      [&](std::string_view window, const MergeNode& node) {
        if (node.symbol >= 0) {
          out.push_back(node.symbol);
          return;
        }
        const std::string_view bytes = window.substr(node.start, node.n_bytes);
        const bool spelled = std::all_of(bytes.begin(), bytes.end(), [this](char byte) {
          return byte_token_[static_cast<uint8_t>(byte)] >= 0;
        });
        if (!spelled) {
          if (unknown_id_ >= 0) out.push_back(unknown_id_);
          return;
        }
        for (const char byte : bytes) out.push_back(byte_token_[static_cast<uint8_t>(byte)]);
      });
}

void ScoreEncoder::encode(std::string_view text, bool space_prefix, MergeScratch& scratch,
                          uint64_t& n_looks, std::vector<int32_t>& out) const {
  scratch.pair_memory.resize(kPairMemory);
  std::string plain;
  plain.reserve(text.size() + 1);
  if (space_prefix) plain.push_back(' ');
  plain += unescape_spaces(text);
  if (!words_end_at_space_) {
    encode_piece(plain, scratch, n_looks, out);
    return;
  }
  // No merge can reach across a space that follows another character: the pieces between are
  // independent.
  const std::string_view all = plain;
  size_t begin = 0;
  uint32_t n_words = 0;
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i] == ' ' && all[i - 1] != ' ') {
      if ((++n_words & 0xFF) == 0) scratch.check();
      encode_piece(all.substr(begin, i - begin), scratch, n_looks, out);
      begin = i;
    }
  }
  if (begin < all.size()) encode_piece(all.substr(begin), scratch, n_looks, out);
}

}  // namespace floe

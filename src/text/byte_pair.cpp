#include "text/byte_pair.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "text/unicode.h"

namespace floe {
namespace {

// The codepoint that stands for each byte: itself where it prints, else 256 upwards in order.
std::array<uint32_t, 256> make_byte_alphabet() {
  std::array<uint32_t, 256> alphabet{};
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    alphabet[byte] = prints ? byte : next++;
  }
  return alphabet;
}

const std::array<uint32_t, 256>& byte_alphabet() {
  static const std::array<uint32_t, 256> alphabet = make_byte_alphabet();
  return alphabet;
}

// The inverse: 0..255, or -1. The alphabet ends below 512.
const std::array<int16_t, 512>& byte_of_codepoint() {
  static const std::array<int16_t, 512> table = [] {
    std::array<int16_t, 512> inverse{};
    inverse.fill(-1);
    for (size_t byte = 0; byte < 256; ++byte) {
      inverse[byte_alphabet()[byte]] = static_cast<int16_t>(byte);
    }
    return inverse;
  }();
  return table;
}

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t pair_slot(uint64_t key, size_t mask) {
  // Multiplicative hashing; the high bits are the good ones.
  return static_cast<size_t>((key * 0x9E3779B97F4A7C15ull) >> 24) & mask;
}

}  // namespace

std::string decode_byte_level_text(std::string_view stored) {
  const auto& inverse = byte_of_codepoint();
  std::string bytes;
  bytes.reserve(stored.size());
  for (size_t i = 0; i < stored.size();) {
    const DecodedCharacter character = decode_utf8(stored, i);
    if (character.valid && character.codepoint < inverse.size() &&
        inverse[character.codepoint] >= 0) {
      bytes.push_back(static_cast<char>(inverse[character.codepoint]));
    } else {
      bytes.append(stored.substr(i, character.length_bytes));
    }
    i += character.length_bytes;
  }
  return bytes;
}

Result<std::unique_ptr<const BytePairEncoder>> BytePairEncoder::create(
    const Vocabulary& vocabulary, const std::vector<bool>& producible, const PreTokenizer& rules) {
  std::unique_ptr<BytePairEncoder> encoder(new BytePairEncoder());
  encoder->rules_ = rules;
  encoder->n_vocab_ = static_cast<int32_t>(vocabulary.tokens.size());
  encoder->unknown_id_ = vocabulary.unknown_id;

  // Symbols are numbered like the tokens they are; texts that only merges know get numbers behind
  // those.
  std::unordered_map<std::string_view, int32_t> symbols;
  symbols.reserve(vocabulary.tokens.size() * 2);
  for (int32_t id = 0; id < encoder->n_vocab_; ++id) {
    const std::string& text = vocabulary.tokens[id];
    if (producible[id] && !text.empty()) symbols.emplace(text, id);
  }
  std::vector<std::unique_ptr<std::string>> extra_texts;
  const auto symbol_of = [&](std::string text) {
    const auto found = symbols.find(text);
    if (found != symbols.end()) return found->second;
    const int32_t symbol = encoder->n_vocab_ + static_cast<int32_t>(extra_texts.size());
    extra_texts.push_back(std::make_unique<std::string>(std::move(text)));
    symbols.emplace(*extra_texts.back(), symbol);
    return symbol;
  };

  for (size_t byte = 0; byte < 256; ++byte) {
    std::string text;
    append_utf8(text, byte_alphabet()[byte]);
    // Bytes without a token still need a symbol: a merge may start from them.
    encoder->byte_symbol_[byte] = symbol_of(std::move(text));
  }

  const size_t n_slots = std::bit_ceil(std::max<size_t>(16, vocabulary.merges.size() * 2));
  encoder->pairs_.resize(n_slots);
  for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const std::string& merge = vocabulary.merges[rank];
    const size_t separator = merge.find(' ', 1);
    if (separator == std::string::npos || separator + 1 == merge.size()) {
      return model_error(
          "{}: tokenizer.ggml.merges[{}]: expected two parts with a space between, found {} bytes "
          "without",
          vocabulary.source, rank, merge.size());
    }
    std::string left = merge.substr(0, separator);
    std::string right = merge.substr(separator + 1);
    std::string joined = left + right;
    const uint64_t key = pair_key(symbol_of(std::move(left)), symbol_of(std::move(right)));
    size_t slot = pair_slot(key, n_slots - 1);
    while (encoder->pairs_[slot].pair != kEmptyPair && encoder->pairs_[slot].pair != key) {
      slot = (slot + 1) & (n_slots - 1);
    }
    if (encoder->pairs_[slot].pair == key) continue;  // named before: the better rank stays
    encoder->pairs_[slot] = {key, static_cast<uint32_t>(rank), symbol_of(std::move(joined))};
  }

  if (rules.whole_word_first) {
    encoder->whole_words_.reserve(vocabulary.tokens.size());
    for (int32_t id = 0; id < encoder->n_vocab_; ++id) {
      if (producible[id] && !vocabulary.tokens[id].empty()) {
        encoder->whole_words_.emplace_back(decode_byte_level_text(vocabulary.tokens[id]), id);
      }
    }
    std::sort(encoder->whole_words_.begin(), encoder->whole_words_.end());
  }

  const std::string_view replacement = "\xEF\xBF\xBD";
  const bool spelled = std::all_of(replacement.begin(), replacement.end(), [&](char byte) {
    return encoder->byte_symbol_[static_cast<uint8_t>(byte)] < encoder->n_vocab_;
  });
  if (spelled) {
    MergeScratch scratch;
    std::vector<int32_t> ids;
    encoder->encode_word(replacement, scratch, ids);
    encoder->replacement_ = std::move(ids);
  }
  const bool complete = std::all_of(encoder->byte_symbol_.begin(), encoder->byte_symbol_.end(),
                                    [&](int32_t symbol) { return symbol < encoder->n_vocab_; });
  encoder->drops_bytes_ = !complete && encoder->replacement_.empty() && encoder->unknown_id_ < 0;
  return std::unique_ptr<const BytePairEncoder>(std::move(encoder));
}

const BytePairEncoder::Slot* BytePairEncoder::find_pair(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  const size_t mask = pairs_.size() - 1;
  for (size_t slot = pair_slot(key, mask);; slot = (slot + 1) & mask) {
    if (pairs_[slot].pair == key) return &pairs_[slot];
    if (pairs_[slot].pair == kEmptyPair) return nullptr;
  }
}

void BytePairEncoder::emit(std::string_view bytes, int32_t symbol,
                           std::vector<int32_t>& out) const {
  if (symbol < n_vocab_) {
    out.push_back(symbol);
    return;
  }
  for (const char byte : bytes) {
    const int32_t token = byte_symbol_[static_cast<uint8_t>(byte)];
    if (token < n_vocab_) {
      out.push_back(token);
    } else if (!replacement_.empty()) {
      out.insert(out.end(), replacement_.begin(), replacement_.end());
    } else if (unknown_id_ >= 0) {
      out.push_back(unknown_id_);
    }
  }
}

void BytePairEncoder::encode_word(std::string_view word, MergeScratch& scratch,
                                  std::vector<int32_t>& out) const {
  if (rules_.whole_word_first) {
    const auto found = std::lower_bound(
        whole_words_.begin(), whole_words_.end(), word,
        [](const auto& entry, std::string_view value) { return entry.first < value; });
    if (found != whole_words_.end() && found->first == word) {
      out.push_back(found->second);
      return;
    }
  }
  merge_in_windows(
      word, scratch,
      [&](std::string_view window) {
        for (uint32_t i = 0; i < window.size(); ++i) {
          scratch.append(i, 1, byte_symbol_[static_cast<uint8_t>(window[i])]);
        }
      },
      [&](std::string_view) {
        merge_nodes(scratch, [this](const MergeNode& left, const MergeNode& right, uint32_t& rank,
                                    int32_t& symbol) {
          const Slot* slot = find_pair(left.symbol, right.symbol);
          if (slot == nullptr) return false;
          rank = slot->rank;
          symbol = slot->symbol;
          return true;
        });
      },
      [&](std::string_view window, const MergeNode& node) {
        emit(window.substr(node.start, node.n_bytes), node.symbol, out);
      });
}

class BytePairEncoder::Words : public WordSink {
 public:
  Words(const BytePairEncoder& encoder, MergeScratch& scratch, std::vector<int32_t>& out)
      : encoder_(encoder), scratch_(scratch), out_(out) {}
  void word(std::string_view word) override {
    if ((++n_words_ & 0xFF) == 0) scratch_.check();
    encoder_.encode_word(word, scratch_, out_);
  }

 private:
  const BytePairEncoder& encoder_;
  MergeScratch& scratch_;
  std::vector<int32_t>& out_;
  uint32_t n_words_ = 0;
};

void BytePairEncoder::encode(std::string_view text, MergeScratch& scratch, uint64_t& n_looks,
                             std::vector<int32_t>& out) const {
  Words words(*this, scratch, out);
  n_looks += split_words(rules_.splitter, text, words);
}

}  // namespace floe

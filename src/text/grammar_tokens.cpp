#include "text/grammar_tokens.h"

#include <string_view>
#include <vector>

namespace floe {

std::shared_ptr<const TokenTrie> make_token_trie(const Tokenizer& tokenizer) {
  std::vector<std::string_view> bytes;
  std::vector<uint8_t> is_special;
  for (int32_t id = 0; id < tokenizer.n_vocab(); ++id) {
    bytes.push_back(tokenizer.token_bytes(id));
    is_special.push_back(tokenizer.is_special(id) ? 1 : 0);
  }
  return std::make_shared<const TokenTrie>(bytes, is_special);
}

}  // namespace floe

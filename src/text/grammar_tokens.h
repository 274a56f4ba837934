#pragma once
// A vocabulary as grammars look at it.
#include <memory>

#include "grammar/token_trie.h"
#include "text/tokenizer.h"

namespace floe {

// The bytes of every token; special tokens, <think> and the like among them, are no text: a grammar
// lets one be chosen only where it names that very token.
std::shared_ptr<const TokenTrie> make_token_trie(const Tokenizer& tokenizer);

}  // namespace floe

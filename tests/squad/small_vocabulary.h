#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace bertrand::test {

/// Ids from 0: five special tokens, then these.
inline constexpr const char* kSmallVocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
    "the\nfox\njump\n##s\n##ed\n"  // 5..9
    "over\ndog\nwho\n?\n.\n"       // 10..14
    "(\n-\n)\n1895\n1943\n";       // 15..19

inline Tokenizer small_tokenizer() {
  TokenizerOptions options;
  options.behaviour = TokenizerOptions::Behaviour::reference;
  return {std::make_shared<const Vocabulary>(Vocabulary::parse(kSmallVocabulary, "small")),
          options};
}

}  // namespace bertrand::test

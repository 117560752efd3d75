#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace bertrand::test {

/// A vocabulary made for tests: enough pieces for every rule to show.
inline std::shared_ptr<const Vocabulary> small_vocabulary() {
  static const auto vocabulary = std::make_shared<const Vocabulary>(
      Vocabulary::parse("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
                        "the\ncat\nsat\nmat\n##s\n##ting\n##t\nun\n##want\n##able\nwant\n"
                        "Cat\nThe\na\nb\nc\n##a\n##b\n##c\ne\n##e\ni\n##i\nk\n"
                        ".\n,\n!\n'\n-\n[\n]\n$\n`\n¿\n“\n"
                        "é\ncafé\ncafe\nÉ\n##é\nα\nσ\n##σ\nς\n##ς\nß\n中\n国\nか\n##な\n"
                        "ᄀ\n##ᅡ\n##ᆨ\nsep\nmask\n",
                        "small vocabulary"));
  return vocabulary;
}

inline Tokenizer small_tokenizer(TokenizerOptions options = {}) {
  return Tokenizer(small_vocabulary(), options);
}

struct Piece {
  std::string text;
  uint32_t begin;
  uint32_t end;

  bool operator==(const Piece&) const = default;
};

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest looks for this name
inline void PrintTo(const Piece& piece, std::ostream* out) {
  *out << '"' << piece.text << "\" [" << piece.begin << ", " << piece.end << ")";
}

/// The pieces of a text with the bytes they stand for.
inline std::vector<Piece> pieces(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<Token> tokens;
  tokenizer.tokenize(text, tokens);
  std::vector<Piece> result;
  for (const Token& token : tokens) {
    result.push_back({std::string(tokenizer.vocabulary().piece(token.id)), token.begin, token.end});
  }
  return result;
}

/// The same with one space between two pieces, without the bytes.
inline std::string joined(const Tokenizer& tokenizer, std::string_view text) {
  std::string result;
  for (const Piece& piece : pieces(tokenizer, text)) {
    result += (result.empty() ? "" : " ") + piece.text;
  }
  return result;
}

}  // namespace bertrand::test

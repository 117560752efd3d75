#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace bertrand {

/// Part of a context. The text has one space between words, whatever the context has there.
struct AnswerText {
  std::string text;
  uint32_t begin = 0;  ///< where it stands in the context, in code points: [begin, end)
  uint32_t end = 0;
};

/// Where an answer stands, as letters (code points of words) of a context: [begin, end).
struct LetterSpan {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const LetterSpan&) const = default;
};

/// A context, laid out to find the original text of what was predicted as word pieces. Each word is
/// held twice: as written, and as the basic tokenizer gives it (lower-cased, split at punctuation).
/// Where both have as many letters, they are taken to stand one to one.
/// Source: Devlin et al.'s run_squad.py, get_final_text.
class AnswerContext {
 public:
  AnswerContext(std::string_view context, const Tokenizer& tokenizer);

  /// The letters of the words first_word to last_word (both included) that `predicted` stands for:
  /// the first place where their tokens hold it, or all of them where it cannot be told.
  LetterSpan find(std::u32string_view predicted, size_t first_word, size_t last_word) const;

  AnswerText text(const LetterSpan& span) const;

 private:
  /// One word of the context; where it begins in letters_, tokens_ and the context.
  struct Word {
    size_t letters = 0;
    uint32_t place = 0;  ///< in the context, in code points
    size_t tokens_begin = 0, tokens_end = 0;
    size_t token_letters = 0;  ///< letters of tokens_ before this word
  };

  size_t word_of(size_t letter) const;

  std::u32string letters_;   ///< of all words, without what is between
  std::u32string tokens_;    ///< basic tokens of all words, a space between two
  std::vector<Word> words_;  ///< and one more that marks the end
};

/// What pieces of a vocabulary stand for: "##" joins, one space between words.
std::u32string join_pieces(const Vocabulary& vocabulary, std::span<const int32_t> pieces);

}  // namespace bertrand

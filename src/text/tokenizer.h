#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace bertrand {

struct TokenizerOptions {
  bool lower_case = true;            ///< uncased: lower-case and strip accents
  size_t max_word_characters = 100;  ///< longer words become [UNK]
  /// Whose edge cases: special tokens inside text kept whole, Unicode tables, and so on.
  /// `hugging_face`: transformers' BertTokenizer. `reference`: the tokenizer of the reference
  /// system, which the windows of SQuAD are made with. They differ in four things:
  /// - [UNK], [SEP], [PAD], [CLS], [MASK] are kept whole wherever they stand in the text
  ///   (hugging_face), or only between spaces (reference).
  /// - Uncased, a capital sigma becomes a final sigma at the end of a word (reference) or never.
  /// - Unassigned code points are dropped (reference) or part of a word.
  /// - U+2B820 to U+2B91F are Chinese characters (reference) or parts of a word.
  enum class Behaviour { hugging_face, reference } behaviour = Behaviour::hugging_face;
};

/// A word piece and the bytes of the original text it stands for: [begin, end).
struct Token {
  int32_t id;
  uint32_t begin;
  uint32_t end;
};

/// Clean-up, splitting at spaces and punctuation, then greedy longest-match WordPiece.
/// Source: Devlin et al., arXiv:1810.04805; google-research/bert tokenization.py. Thread-safe.
class Tokenizer {
 public:
  Tokenizer(std::shared_ptr<const Vocabulary> vocabulary, TokenizerOptions options);

  /// Appends the tokens of `text` (any bytes; invalid UTF-8 counts as U+FFFD) to `tokens`. Throws
  /// Error (bad_input) for a text of 4 GB or more.
  void tokenize(std::string_view text, std::vector<Token>& tokens) const;

  const Vocabulary& vocabulary() const { return *vocabulary_; }
  const TokenizerOptions& options() const { return options_; }

 private:
  std::shared_ptr<const Vocabulary> vocabulary_;
  TokenizerOptions options_;
};

}  // namespace bertrand

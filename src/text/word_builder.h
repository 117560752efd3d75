#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace bertrand {

/// Bytes [begin, end) of the original text.
struct Origin {
  uint32_t begin;
  uint32_t end;
};

/// The second half of the tokenizer: takes the characters of words as they stand in the text, puts
/// them in normal form (uncased: canonical decomposition, accents dropped, lower case), makes
/// punctuation a word of its own and appends the pieces of each word to `tokens`.
class WordBuilder {
 public:
  /// What it needs beside the tokens; kept from one text to the next for its memory.
  struct Scratch;
  static Scratch& scratch_of_this_thread();

  WordBuilder(const Vocabulary& vocabulary, const TokenizerOptions& options, Scratch& scratch,
              std::vector<Token>& tokens);

  /// ASCII letters and digits that begin at byte `begin` of the text; with `ends`, nothing more
  /// belongs to their word.
  void add_ascii(std::string_view bytes, uint32_t begin, bool ends);

  /// Any other character: of a word, punctuation, or (between two calls of end_word) Chinese.
  void add(char32_t code_point, Origin origin);

  void end_word();

 private:
  void add_decomposed(char32_t code_point, Origin origin);
  void add_marks();
  void append(char32_t code_point, Origin origin);
  void append_to_word(std::string_view bytes, Origin origin);
  void clear_word();
  void unknown(Origin whole);
  template <typename Begin, typename End>
  void pieces(std::string_view word, Origin whole, const Begin& begin, const End& end);

  const Vocabulary& vocabulary_;
  const TokenizerOptions& options_;
  Scratch& scratch_;
  std::vector<Token>& tokens_;
  size_t characters_ = 0;        // of the word so far
  Origin whole_ = {0, 0};        // of the word so far
  Origin last_origin_ = {0, 0};  // of the last character put in canonical order
};

}  // namespace bertrand

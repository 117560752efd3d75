#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

/// One accepted answer.
struct Answer {
  std::string text;
  int64_t start = 0;  ///< where it begins in the context, in code points
};

/// One question about a paragraph.
struct Example {
  std::string id;
  std::string question;
  uint32_t paragraph = 0;  ///< index into Dataset::paragraphs
  std::vector<Answer> answers;
  bool is_impossible = false;  ///< SQuAD v2.0: marked as having no answer
};

/// A SQuAD file, v1.1 or v2.0, in the file's order: the questions of a paragraph stand together.
/// Source: Rajpurkar et al., arXiv:1606.05250 and arXiv:1806.03822.
struct Dataset {
  std::string version;
  std::vector<std::string> paragraphs;  ///< contexts
  std::vector<Example> examples;
  std::string where{};                     ///< the file's name, for messages; may be empty
  std::vector<uint32_t> article_begins{};  ///< first paragraph of each article; may be empty

  std::string_view context(const Example& example) const { return paragraphs[example.paragraph]; }

  /// True where any question is marked is_impossible (or the version says v2.0).
  bool has_impossible = false;

  /// Throws Error (bad_input): malformed JSON with byte and line, a missing or mistyped field with
  /// its path (data[3].paragraphs[2].qas[0].id), a repeated id.
  /// `answers` may be missing, as in a file made for prediction. "-" reads standard input.
  static Dataset load(const std::filesystem::path& path);
  static Dataset parse(std::string_view json, const std::string& where);

  /// Where examples[index] stands, for messages: data[3].paragraphs[2].qas[0], after the file's
  /// name. Of a data set not read from a file: which question it is.
  std::string place(size_t index) const;
};

/// A whitespace-separated word of a context, in bytes: [begin, end).
struct Word {
  uint32_t begin;
  uint32_t end;
};

/// Splits where the reference does: space, tab, carriage return, line feed, U+202F.
std::vector<Word> split_words(std::string_view context);

}  // namespace bertrand

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

/// A SQuAD file, v1.1 or v2.0, in the file's order.
struct Dataset {
  std::string version;
  std::vector<std::string> paragraphs;  ///< contexts
  std::vector<Example> examples;

  std::string_view context(const Example& example) const { return paragraphs[example.paragraph]; }

  /// True where any question is marked is_impossible (or the version says v2.0).
  bool has_impossible = false;

  /// Throws Error (bad_input): malformed JSON with byte and line, a missing or mistyped field with
  /// its path (data[3].paragraphs[2].qas[0].id), a repeated id.
  static Dataset load(const std::filesystem::path& path);
  static Dataset parse(std::string_view json, const std::string& where);
};

/// A whitespace-separated word of a context, in bytes: [begin, end).
struct Word {
  uint32_t begin;
  uint32_t end;
};

/// Splits where the reference does: space, tab, carriage return, line feed, U+202F.
std::vector<Word> split_words(std::string_view context);

}  // namespace bertrand

#include "squad/answer_span.h"

#include <algorithm>
#include <string>

#include "text/python_text.h"

namespace bertrand {
namespace {

bool begins_code_point(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

/// The byte where code point `count` after the one at byte `from` begins; nothing beyond the end.
std::optional<size_t> skip_code_points(std::string_view text, size_t from, int64_t count) {
  for (; from < text.size(); ++from) {
    if (begins_code_point(text[from]) && count-- == 0) return from;
  }
  return std::nullopt;
}

/// The word that a byte is of; white space counts to the word before it.
uint32_t word_at(std::span<const Word> words, size_t byte) {
  const auto after = std::upper_bound(words.begin(), words.end(), byte,
                                      [](size_t at, const Word& word) { return at < word.begin; });
  return after == words.begin() ? 0 : static_cast<uint32_t>(after - words.begin() - 1);
}

/// The words of a text with single spaces between them; words as Python's str.split() sees them.
std::string with_single_spaces(std::string_view text) {
  std::u32string cleaned;
  bool inside = false;
  for (const char32_t c : code_points(text)) {
    if (is_space(c)) {
      inside = false;
      continue;
    }
    if (!inside && !cleaned.empty()) cleaned += U' ';
    inside = true;
    cleaned += c;
  }
  return to_utf8(cleaned);
}

}  // namespace

std::optional<Span> find_answer_words(std::string_view context, std::span<const Word> words,
                                      const Answer& answer) {
  const auto length = static_cast<int64_t>(count_code_points(answer.text));
  if (words.empty() || length == 0 || answer.start < 0) return std::nullopt;
  const std::optional<size_t> begin = skip_code_points(context, 0, answer.start);
  if (!begin) return std::nullopt;
  const std::optional<size_t> last = skip_code_points(context, *begin, length - 1);
  if (!last) return std::nullopt;
  const Span span = {word_at(words, *begin), word_at(words, *last)};

  const std::string wanted = with_single_spaces(answer.text);
  std::string found;
  for (uint32_t i = span.first; i <= span.last; ++i) {
    if (i > span.first) found += ' ';
    found += context.substr(words[i].begin, words[i].end - words[i].begin);
  }
  if (wanted.empty() || found.find(wanted) == std::string::npos) return std::nullopt;
  return span;
}

Span narrow_to_answer(std::span<const int32_t> document, Span words,
                      std::span<const int32_t> answer) {
  if (answer.empty()) return words;
  const auto begin = document.begin() + words.first;
  const auto end = document.begin() + words.last + 1;
  const auto found = std::search(begin, end, answer.begin(), answer.end());
  if (found == end) return words;
  const auto first = static_cast<uint32_t>(found - document.begin());
  return {first, first + static_cast<uint32_t>(answer.size()) - 1};
}

}  // namespace bertrand

#include "squad/answer_text.h"

#include <algorithm>

#include "squad/dataset.h"
#include "text/basic_text.h"
#include "text/python_text.h"

namespace bertrand {
namespace {

size_t count_letters(std::u32string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char32_t c) { return c != U' '; }));
}

std::string without(std::string text, std::string_view part) {
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos;) {
    text.erase(at, part.size());
  }
  return text;
}

}  // namespace

AnswerContext::AnswerContext(std::string_view context, const Tokenizer& tokenizer) {
  uint32_t place = 0;
  size_t done = 0;
  size_t token_letters = 0;
  for (const bertrand::Word& written : split_words(context)) {
    const std::string_view text = context.substr(written.begin, written.end - written.begin);
    const std::u32string tokens = basic_text(text, tokenizer.options().lower_case);
    place += static_cast<uint32_t>(count_code_points(context.substr(done, written.begin - done)));
    if (!tokens.empty() && !tokens_.empty()) tokens_.push_back(U' ');
    Word& word = words_.emplace_back();
    word.letters = letters_.size();
    word.place = place;
    word.tokens_begin = tokens_.size();
    word.token_letters = token_letters;
    letters_ += code_points(text);
    tokens_ += tokens;
    word.tokens_end = tokens_.size();
    token_letters += count_letters(tokens);
    place += static_cast<uint32_t>(letters_.size() - word.letters);
    done = written.end;
  }
  Word& end = words_.emplace_back();
  end.letters = letters_.size();
  end.tokens_begin = end.tokens_end = tokens_.size();
  end.token_letters = token_letters;
}

LetterSpan AnswerContext::find(std::u32string_view predicted, size_t first_word,
                               size_t last_word) const {
  const Word& first = words_[first_word];
  const Word& after = words_[last_word + 1];
  const LetterSpan whole = {first.letters, after.letters};
  if (after.letters - first.letters != after.token_letters - first.token_letters) return whole;

  std::u32string_view tokens = tokens_;
  tokens = tokens.substr(first.tokens_begin, words_[last_word].tokens_end - first.tokens_begin);
  const size_t found = predicted.empty() ? tokens.npos : tokens.find(predicted);
  if (found == tokens.npos) return whole;
  const size_t begin = whole.begin + count_letters(tokens.substr(0, found));
  return {begin, begin + count_letters(predicted)};
}

size_t AnswerContext::word_of(size_t letter) const {
  const auto after =
      std::upper_bound(words_.begin(), words_.end(), letter,
                       [](size_t value, const Word& word) { return value < word.letters; });
  return static_cast<size_t>(after - words_.begin()) - 1;
}

AnswerText AnswerContext::text(const LetterSpan& span) const {
  const std::u32string_view letters = letters_;
  const size_t first = word_of(span.begin);
  const size_t last = word_of(span.end - 1);
  AnswerText answer;
  for (size_t word = first; word <= last; ++word) {
    const size_t begin = std::max(span.begin, words_[word].letters);
    const size_t end = std::min(span.end, words_[word + 1].letters);
    if (word != first) answer.text += ' ';
    answer.text += to_utf8(letters.substr(begin, end - begin));
  }
  answer.begin = words_[first].place + static_cast<uint32_t>(span.begin - words_[first].letters);
  answer.end = words_[last].place + static_cast<uint32_t>(span.end - words_[last].letters);
  return answer;
}

std::u32string join_pieces(const Vocabulary& vocabulary, std::span<const int32_t> pieces) {
  std::string joined;
  for (const int32_t id : pieces) {
    if (!joined.empty()) joined += ' ';
    joined += vocabulary.piece(id);
  }
  const std::u32string text = code_points(without(without(std::move(joined), " ##"), "##"));
  std::u32string words;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool space = is_space(text[i]);
    if (!space) {
      words.push_back(text[i]);
    } else if (!words.empty() && words.back() != U' ') {
      words.push_back(U' ');
    }
  }
  if (!words.empty() && words.back() == U' ') words.pop_back();
  return words;
}

}  // namespace bertrand

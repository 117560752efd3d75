#include "text/word_builder.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace bertrand {

namespace {

/// A combining mark that waits for its place in canonical order.
struct Mark {
  int combining_class;
  char32_t value;
  bool inserted;  // it came out of the decomposition of a character, after the first
};

constexpr char lower_ascii(char byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
}

}  // namespace

struct WordBuilder::Scratch {
  std::string word;             // normal form of the word so far, UTF-8
  std::vector<Origin> origins;  // of each byte of `word`
  std::string lower;
  std::vector<Mark> marks;           // since the last starter
  std::vector<Origin> mark_origins;  // of those marks that were not inserted
};

WordBuilder::Scratch& WordBuilder::scratch_of_this_thread() {
  thread_local Scratch scratch;
  return scratch;
}

WordBuilder::WordBuilder(const Vocabulary& vocabulary, const TokenizerOptions& options,
                         Scratch& scratch, std::vector<Token>& tokens)
    : vocabulary_(vocabulary), options_(options), scratch_(scratch), tokens_(tokens) {
  // The text before may have ended by an exception.
  clear_word();
  scratch_.marks.clear();
  scratch_.mark_origins.clear();
}

// Nearly all words are ASCII as a whole: they are looked up as they stand.
void WordBuilder::add_ascii(std::string_view bytes, uint32_t begin, bool ends) {
  const auto end = static_cast<uint32_t>(begin + bytes.size());
  const bool too_long = bytes.size() > options_.max_word_characters;
  if (options_.lower_case && !too_long) {
    scratch_.lower.resize(bytes.size());
    std::transform(bytes.begin(), bytes.end(), scratch_.lower.begin(), lower_ascii);
    bytes = scratch_.lower;
  }
  if (ends && characters_ == 0 && scratch_.marks.empty()) {
    if (too_long) return unknown({begin, end});
    pieces(
        bytes, {begin, end}, [&](size_t i) { return static_cast<uint32_t>(begin + i); },
        [&](size_t i) { return static_cast<uint32_t>(begin + i + 1); });
    return;
  }
  add_marks();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto place = static_cast<uint32_t>(begin + i);
    append_to_word(bytes.substr(i, 1), {place, place + 1});
  }
  last_origin_ = {end - 1, end};
}

void WordBuilder::add(char32_t code_point, Origin origin) {
  if (options_.lower_case) {
    add_decomposed(code_point, origin);
  } else {
    append(code_point, origin);
  }
}

void WordBuilder::add_decomposed(char32_t code_point, Origin origin) {
  DecompositionRoom room;
  bool inserted = false;
  for (const int32_t part : decompose(code_point, room)) {
    const auto value = static_cast<char32_t>(part);
    if (const int order = combining_class(value); order != 0) {
      scratch_.marks.push_back({order, value, inserted});
      if (!inserted) scratch_.mark_origins.push_back(origin);
    } else {
      add_marks();
      last_origin_ = origin;
      if (!is_nonspacing_mark(value)) append(lower_case(value), origin);
    }
    inserted = true;
  }
}

// The marks since the last starter, in canonical order. Those that are not accents (a few Hangul,
// Chinese and musical signs) stay. Peculiar to Hugging Face's tokenizer, and so here: marks that
// change places take the origins in the order of the text.
void WordBuilder::add_marks() {
  if (scratch_.marks.empty()) return;
  std::stable_sort(scratch_.marks.begin(), scratch_.marks.end(),
                   [](const Mark& left, const Mark& right) {
                     return left.combining_class < right.combining_class;
                   });
  size_t next = 0;
  for (const Mark& mark : scratch_.marks) {
    if (!mark.inserted) last_origin_ = scratch_.mark_origins[next++];
    if (!is_nonspacing_mark(mark.value)) append(lower_case(mark.value), last_origin_);
  }
  scratch_.marks.clear();
  scratch_.mark_origins.clear();
}

void WordBuilder::append(char32_t code_point, Origin origin) {
  char bytes[4];
  const std::string_view encoded(bytes, encode_utf8(code_point, bytes));
  if (character_kind(code_point) != CharacterKind::punctuation) {
    append_to_word(encoded, origin);
    return;
  }
  end_word();
  append_to_word(encoded, origin);
  end_word();
}

void WordBuilder::append_to_word(std::string_view bytes, Origin origin) {
  if (characters_ == 0) whole_ = origin;
  whole_.end = origin.end;
  // Of a word too long nothing is looked up.
  if (++characters_ > options_.max_word_characters) return;
  scratch_.word += bytes;
  scratch_.origins.insert(scratch_.origins.end(), bytes.size(), origin);
}

void WordBuilder::end_word() {
  add_marks();
  if (characters_ > options_.max_word_characters) {
    unknown(whole_);
  } else if (characters_ > 0) {
    pieces(
        scratch_.word, whole_, [&](size_t i) { return scratch_.origins[i].begin; },
        [&](size_t i) { return scratch_.origins[i].end; });
  }
  clear_word();
}

void WordBuilder::clear_word() {
  scratch_.word.clear();
  scratch_.origins.clear();
  characters_ = 0;
}

void WordBuilder::unknown(Origin whole) {
  tokens_.push_back({vocabulary_.unknown_id(), whole.begin, whole.end});
}

/// Greedy longest match; begin(i) and end(i) tell the origin of byte i.
template <typename Begin, typename End>
void WordBuilder::pieces(std::string_view word, Origin whole, const Begin& begin, const End& end) {
  const size_t first = tokens_.size();
  for (size_t at = 0; at < word.size();) {
    const Vocabulary::Match match = vocabulary_.find_longest(word.substr(at), /*inside=*/at > 0);
    if (match.id < 0) {
      tokens_.resize(first);
      return unknown(whole);
    }
    tokens_.push_back({match.id, begin(at), end(at + match.length - 1)});
    at += match.length;
  }
}

}  // namespace bertrand

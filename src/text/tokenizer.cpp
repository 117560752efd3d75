#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace bertrand {

namespace {

using Behaviour = TokenizerOptions::Behaviour;

constexpr char32_t kCapitalSigma = 0x03A3;
constexpr char32_t kSmallSigma = 0x03C3;
constexpr char32_t kFinalSigma = 0x03C2;

// Hugging Face's tokenizers begins the block of CJK Extension E at U+2B920, 256 too late.
constexpr struct { char32_t first, last; } kNotChineseToPeer = {0x2B820, 0x2B91F};

/// Bytes [begin, end) of the original text.
struct Origin {
  uint32_t begin;
  uint32_t end;
};

/// A word as it will be looked up, with the origin of each of its bytes.
struct Word {
  std::string bytes;
  std::vector<Origin> origins;
  size_t characters = 0;
  Origin whole = {0, 0};
};

/// A combining mark that waits for its place in canonical order.
struct Mark {
  int combining_class;
  char32_t value;
  bool inserted;  // it came out of the decomposition of a character, after the first
};

/// What a call needs beside its tokens; kept between the calls of a thread for its memory.
struct Scratch {
  Word word;
  std::string lower;
  std::vector<Mark> marks;
  std::vector<Origin> mark_origins;
};

/// What a byte means where it stands; beyond: part of a longer UTF-8 sequence.
enum class ByteKind : uint8_t { word, space, removed, punctuation, beyond };

constexpr std::array<ByteKind, 256> kByteKinds = [] {
  std::array<ByteKind, 256> kinds{};
  for (size_t byte = 0; byte < 256; ++byte) {
    if (byte >= 0x80) {
      kinds[byte] = ByteKind::beyond;
    } else if (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r') {
      kinds[byte] = ByteKind::space;
    } else if (byte < 0x20 || byte == 0x7F) {
      kinds[byte] = ByteKind::removed;
    } else if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
               (byte >= 'a' && byte <= 'z')) {
      kinds[byte] = ByteKind::word;
    } else {
      kinds[byte] = ByteKind::punctuation;
    }
  }
  return kinds;
}();

constexpr char lower_ascii(char byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
}

/// One call of tokenize.
class Pass {
 public:
  Pass(const Vocabulary& vocabulary, const TokenizerOptions& options, std::string_view text,
       std::vector<Token>& tokens, Scratch& scratch)
      : vocabulary_(vocabulary),
        options_(options),
        text_(text),
        tokens_(tokens),
        word_(scratch.word),
        lower_(scratch.lower),
        marks_(scratch.marks),
        mark_origins_(scratch.mark_origins) {}

  void run();

 private:
  ByteKind kind_at(size_t position) const {
    return kByteKinds[static_cast<unsigned char>(text_[position])];
  }
  bool reference() const { return options_.behaviour == Behaviour::reference; }
  CharacterKind kind_of(char32_t code_point) const;

  size_t ascii_word(size_t begin);
  size_t punctuation(size_t position);
  size_t beyond_ascii(size_t position);
  size_t special_token(size_t position);
  size_t special_token_between_spaces(size_t position, int32_t& id) const;
  bool is_final_sigma(size_t position) const;

  void add(char32_t code_point, Origin origin);
  void add_decomposed(char32_t code_point, Origin origin);
  void add_marks();
  void append(char32_t code_point, Origin origin);
  void append_to_word(std::string_view bytes, Origin origin);
  void end_word();
  template <typename Begin, typename End>
  void pieces(std::string_view word, Origin whole, const Begin& begin, const End& end);

  const Vocabulary& vocabulary_;
  const TokenizerOptions& options_;
  std::string_view text_;
  std::vector<Token>& tokens_;
  Word& word_;
  std::string& lower_;
  std::vector<Mark>& marks_;
  std::vector<Origin>& mark_origins_;
  Origin last_origin_ = {0, 0};
  bool after_space_ = true;  // nothing kept since the last space
};

CharacterKind Pass::kind_of(char32_t code_point) const {
  const CharacterKind kind = character_kind(code_point);
  if (reference()) return kind == CharacterKind::unassigned ? CharacterKind::removed : kind;
  if (kind == CharacterKind::unassigned) return CharacterKind::word;
  if (code_point >= kNotChineseToPeer.first && code_point <= kNotChineseToPeer.last) {
    return CharacterKind::word;
  }
  return kind;
}

void Pass::run() {
  for (size_t at = 0; at < text_.size();) {
    switch (kind_at(at)) {
      case ByteKind::word:
        at = ascii_word(at);
        after_space_ = false;
        break;
      case ByteKind::space:
        end_word();
        after_space_ = true;
        ++at;
        break;
      case ByteKind::removed:
        ++at;
        break;
      case ByteKind::punctuation:
        at = punctuation(at);
        break;
      case ByteKind::beyond:
        at = beyond_ascii(at);
        break;
    }
  }
  end_word();
}

// Letters and digits up to the next other byte. Nearly all words are made of nothing else: they go
// straight to the pieces.
size_t Pass::ascii_word(size_t begin) {
  size_t end = begin + 1;
  while (end < text_.size() && kind_at(end) == ByteKind::word) ++end;
  std::string_view bytes = text_.substr(begin, end - begin);
  if (options_.lower_case) {
    lower_.resize(bytes.size());
    std::transform(bytes.begin(), bytes.end(), lower_.begin(), lower_ascii);
    bytes = lower_;
  }
  const bool ends = end == text_.size() || kind_at(end) == ByteKind::space ||
                    kind_at(end) == ByteKind::punctuation;
  if (ends && word_.characters == 0 && marks_.empty()) {
    const Origin whole = {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
    if (bytes.size() > options_.max_word_characters) {
      tokens_.push_back({vocabulary_.unknown_id(), whole.begin, whole.end});
    } else {
      pieces(
          bytes, whole, [&](size_t i) { return static_cast<uint32_t>(begin + i); },
          [&](size_t i) { return static_cast<uint32_t>(begin + i + 1); });
    }
    return end;
  }
  add_marks();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto place = static_cast<uint32_t>(begin + i);
    append_to_word(bytes.substr(i, 1), {place, place + 1});
  }
  last_origin_ = {static_cast<uint32_t>(end - 1), static_cast<uint32_t>(end)};
  return end;
}

size_t Pass::punctuation(size_t position) {
  end_word();
  if (text_[position] == '[') {
    if (const size_t end = special_token(position); end > position) return end;
  }
  const auto place = static_cast<uint32_t>(position);
  append_to_word(text_.substr(position, 1), {place, place + 1});
  last_origin_ = {place, place + 1};
  end_word();
  after_space_ = false;
  return position + 1;
}

/// Where a special token that begins here ends, and its token appended; `position` if none does.
size_t Pass::special_token(size_t position) {
  int32_t found = -1;
  size_t end = position;
  if (reference()) {
    if (after_space_) end = special_token_between_spaces(position, found);
  } else {
    for (const int32_t id : {vocabulary_.unknown_id(), vocabulary_.sep_id(), vocabulary_.pad_id(),
                             vocabulary_.cls_id(), vocabulary_.mask_id()}) {
      if (text_.substr(position).starts_with(vocabulary_.piece(id))) {
        found = id;
        end = position + vocabulary_.piece(id).size();
      }
    }
  }
  if (found < 0) return position;
  tokens_.push_back({found, static_cast<uint32_t>(position), static_cast<uint32_t>(end)});
  after_space_ = false;
  return end;
}

// The reference compares what lies between two spaces, after its clean-up.
size_t Pass::special_token_between_spaces(size_t position, int32_t& id) const {
  constexpr size_t kLongest = 6;  // [MASK]
  std::string spelled;
  size_t end = position;
  for (size_t at = position; at < text_.size();) {
    const CodePoint next = decode_utf8(text_, at);
    const CharacterKind kind = kind_of(next.value);
    if (kind == CharacterKind::space || kind == CharacterKind::chinese) break;
    at += next.length;
    if (kind == CharacterKind::removed) continue;
    if (next.value >= 0x80 || spelled.size() == kLongest) return position;
    spelled += static_cast<char>(next.value);
    end = at;
  }
  for (const int32_t special :
       {vocabulary_.unknown_id(), vocabulary_.sep_id(), vocabulary_.pad_id(), vocabulary_.cls_id(),
        vocabulary_.mask_id()}) {
    if (spelled == vocabulary_.piece(special)) {
      id = special;
      return end;
    }
  }
  return position;
}

size_t Pass::beyond_ascii(size_t position) {
  const CodePoint next = decode_utf8(text_, position);
  const size_t end = position + next.length;
  const Origin origin = {static_cast<uint32_t>(position), static_cast<uint32_t>(end)};
  switch (kind_of(next.value)) {
    case CharacterKind::removed:
    case CharacterKind::unassigned:
      break;
    case CharacterKind::space:
      end_word();
      after_space_ = true;
      break;
    case CharacterKind::chinese:
      end_word();
      add(next.value, origin);
      end_word();
      after_space_ = true;
      break;
    case CharacterKind::punctuation:
    case CharacterKind::word:
      if (next.value == kCapitalSigma && options_.lower_case && reference()) {
        add(is_final_sigma(position) ? kFinalSigma : kSmallSigma, origin);
      } else {
        add(next.value, origin);
      }
      after_space_ = false;
      break;
  }
  return end;
}

// Final_Sigma of SpecialCasing.txt: a cased character before and none after, case-ignorable ones
// not counted. What the clean-up removes is not there; spaces and Chinese characters, where the
// word ends, are neither cased nor ignorable.
bool Pass::is_final_sigma(size_t position) const {
  const auto skipped = [this](char32_t c) {
    return is_case_ignorable(c) || kind_of(c) == CharacterKind::removed;
  };
  bool cased_before = false;
  for (size_t at = position; at > 0;) {
    const CodePoint before = decode_utf8_before(text_, at);
    at -= before.length;
    if (skipped(before.value)) continue;
    cased_before = is_cased(before.value);
    break;
  }
  if (!cased_before) return false;
  for (size_t at = position + 2; at < text_.size();) {
    const CodePoint after = decode_utf8(text_, at);
    at += after.length;
    if (!skipped(after.value)) return !is_cased(after.value);
  }
  return true;
}

void Pass::add(char32_t code_point, Origin origin) {
  if (options_.lower_case) {
    add_decomposed(code_point, origin);
  } else {
    append(code_point, origin);
  }
}

void Pass::add_decomposed(char32_t code_point, Origin origin) {
  DecompositionRoom room;
  bool inserted = false;
  for (const int32_t part : decompose(code_point, room)) {
    const auto value = static_cast<char32_t>(part);
    if (const int order = combining_class(value); order != 0) {
      marks_.push_back({order, value, inserted});
      if (!inserted) mark_origins_.push_back(origin);
    } else {
      add_marks();
      last_origin_ = origin;
      if (!is_nonspacing_mark(value)) append(lower_case(value), origin);
    }
    inserted = true;
  }
}

// The marks since the last starter, put into canonical order; those that are not accents (a few
// Indic and musical signs) stay. Peculiar to the peer, and so here: the reordered marks take the
// origins in the order of the text.
void Pass::add_marks() {
  if (marks_.empty()) return;
  std::stable_sort(marks_.begin(), marks_.end(), [](const Mark& left, const Mark& right) {
    return left.combining_class < right.combining_class;
  });
  size_t next = 0;
  for (const Mark& mark : marks_) {
    if (!mark.inserted) last_origin_ = mark_origins_[next++];
    if (!is_nonspacing_mark(mark.value)) append(lower_case(mark.value), last_origin_);
  }
  marks_.clear();
  mark_origins_.clear();
}

void Pass::append(char32_t code_point, Origin origin) {
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

void Pass::append_to_word(std::string_view bytes, Origin origin) {
  if (word_.characters == 0) word_.whole = origin;
  word_.whole.end = origin.end;
  // Of a word too long nothing is looked up.
  if (++word_.characters > options_.max_word_characters) return;
  word_.bytes += bytes;
  word_.origins.insert(word_.origins.end(), bytes.size(), origin);
}

void Pass::end_word() {
  add_marks();
  if (word_.characters == 0) return;
  if (word_.characters > options_.max_word_characters) {
    tokens_.push_back({vocabulary_.unknown_id(), word_.whole.begin, word_.whole.end});
  } else {
    pieces(
        word_.bytes, word_.whole, [&](size_t i) { return word_.origins[i].begin; },
        [&](size_t i) { return word_.origins[i].end; });
  }
  word_.bytes.clear();
  word_.origins.clear();
  word_.characters = 0;
}

/// Greedy longest match; begin(i) and end(i) tell the origin of byte i.
template <typename Begin, typename End>
void Pass::pieces(std::string_view word, Origin whole, const Begin& begin, const End& end) {
  const size_t first = tokens_.size();
  for (size_t at = 0; at < word.size();) {
    const Vocabulary::Match match = vocabulary_.find_longest(word.substr(at), /*inside=*/at > 0);
    if (match.id < 0) {
      tokens_.resize(first);
      tokens_.push_back({vocabulary_.unknown_id(), whole.begin, whole.end});
      return;
    }
    tokens_.push_back({match.id, begin(at), end(at + match.length - 1)});
    at += match.length;
  }
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Vocabulary> vocabulary, TokenizerOptions options)
    : vocabulary_(std::move(vocabulary)), options_(options) {}

void Tokenizer::tokenize(std::string_view text, std::vector<Token>& tokens) const {
  if (text.size() > UINT32_MAX) {
    throw Error(ErrorCode::bad_input, "A text of 4 GB or more cannot be tokenized; split it up.");
  }
  thread_local Scratch scratch;
  Pass(*vocabulary_, options_, text, tokens, scratch).run();
}

}  // namespace bertrand

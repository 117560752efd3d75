#include "text/tokenizer.h"

#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "text/word_builder.h"

namespace bertrand {

namespace {

constexpr char32_t kCapitalSigma = 0x03A3;
constexpr char32_t kSmallSigma = 0x03C3;
constexpr char32_t kFinalSigma = 0x03C2;

// Hugging Face's tokenizers begins the block of CJK Extension E at U+2B920, 256 too late.
constexpr char32_t kNotChineseToPeerFirst = 0x2B820;
constexpr char32_t kNotChineseToPeerLast = 0x2B91F;

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

/// The first half of the tokenizer: cleans one text up and cuts it at spaces, punctuation, Chinese
/// characters and special tokens.
class Scanner {
 public:
  Scanner(const Vocabulary& vocabulary, const TokenizerOptions& options, std::string_view text,
          std::vector<Token>& tokens)
      : special_ids_{vocabulary.unknown_id(), vocabulary.sep_id(), vocabulary.pad_id(),
                     vocabulary.cls_id(), vocabulary.mask_id()},
        vocabulary_(vocabulary),
        lower_case_(options.lower_case),
        reference_(options.behaviour == TokenizerOptions::Behaviour::reference),
        text_(text),
        tokens_(tokens),
        words_(vocabulary, options, WordBuilder::scratch_of_this_thread(), tokens) {}

  void run();

 private:
  ByteKind byte_kind(size_t position) const {
    return kByteKinds[static_cast<unsigned char>(text_[position])];
  }
  CharacterKind kind_of(char32_t code_point) const;

  // Each takes what stands at `position` and returns where the rest begins.
  size_t ascii_word(size_t position);
  size_t punctuation(size_t position);
  size_t special_token(size_t position);
  size_t beyond_ascii(size_t position);

  Token special_token_anywhere(size_t position) const;
  Token special_token_between_spaces(size_t position) const;
  bool is_final_sigma(size_t position) const;

  const std::array<int32_t, 5> special_ids_;
  const Vocabulary& vocabulary_;
  const bool lower_case_;
  const bool reference_;
  const std::string_view text_;
  std::vector<Token>& tokens_;
  WordBuilder words_;
  bool after_space_ = true;  // nothing kept since the last space or Chinese character
};

void Scanner::run() {
  for (size_t at = 0; at < text_.size();) {
    switch (byte_kind(at)) {
      case ByteKind::word:
        at = ascii_word(at);
        break;
      case ByteKind::space:
        words_.end_word();
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
  words_.end_word();
}

CharacterKind Scanner::kind_of(char32_t code_point) const {
  const CharacterKind kind = character_kind(code_point);
  if (kind == CharacterKind::unassigned) {
    return reference_ ? CharacterKind::removed : CharacterKind::word;
  }
  if (!reference_ && code_point >= kNotChineseToPeerFirst && code_point <= kNotChineseToPeerLast) {
    return CharacterKind::word;
  }
  return kind;
}

size_t Scanner::ascii_word(size_t position) {
  size_t end = position + 1;
  while (end < text_.size() && byte_kind(end) == ByteKind::word) ++end;
  const bool ends = end == text_.size() || byte_kind(end) == ByteKind::space ||
                    byte_kind(end) == ByteKind::punctuation;
  words_.add_ascii(text_.substr(position, end - position), static_cast<uint32_t>(position), ends);
  after_space_ = false;
  return end;
}

size_t Scanner::punctuation(size_t position) {
  words_.end_word();
  if (text_[position] == '[') {
    if (const size_t end = special_token(position); end > position) return end;
  }
  const auto place = static_cast<uint32_t>(position);
  words_.add(static_cast<unsigned char>(text_[position]), {place, place + 1});
  after_space_ = false;
  return position + 1;
}

size_t Scanner::special_token(size_t position) {
  Token found = {-1, 0, 0};
  if (!reference_) {
    found = special_token_anywhere(position);
  } else if (after_space_) {
    found = special_token_between_spaces(position);
  }
  if (found.id < 0) return position;
  tokens_.push_back(found);
  after_space_ = false;
  return found.end;
}

Token Scanner::special_token_anywhere(size_t position) const {
  const auto begin = static_cast<uint32_t>(position);
  for (const int32_t id : special_ids_) {
    const std::string_view piece = vocabulary_.piece(id);
    if (text_.substr(position).starts_with(piece)) {
      return {id, begin, begin + static_cast<uint32_t>(piece.size())};
    }
  }
  return {-1, 0, 0};
}

// The reference compares what lies between two spaces, after its clean-up.
Token Scanner::special_token_between_spaces(size_t position) const {
  constexpr size_t kLongest = 6;  // [MASK]
  std::string spelled;
  size_t end = position;
  for (size_t at = position; at < text_.size();) {
    const CodePoint next = decode_utf8(text_, at);
    const CharacterKind kind = kind_of(next.value);
    if (kind == CharacterKind::space || kind == CharacterKind::chinese) break;
    at += next.length;
    if (kind == CharacterKind::removed) continue;
    if (next.value >= 0x80 || spelled.size() == kLongest) return {-1, 0, 0};
    spelled += static_cast<char>(next.value);
    end = at;
  }
  for (const int32_t id : special_ids_) {
    if (spelled == vocabulary_.piece(id)) {
      return {id, static_cast<uint32_t>(position), static_cast<uint32_t>(end)};
    }
  }
  return {-1, 0, 0};
}

size_t Scanner::beyond_ascii(size_t position) {
  const CodePoint next = decode_utf8(text_, position);
  const size_t end = position + next.length;
  const Origin origin = {static_cast<uint32_t>(position), static_cast<uint32_t>(end)};
  switch (kind_of(next.value)) {
    case CharacterKind::removed:
    case CharacterKind::unassigned:
      break;
    case CharacterKind::space:
      words_.end_word();
      after_space_ = true;
      break;
    case CharacterKind::chinese:
      words_.end_word();
      words_.add(next.value, origin);
      words_.end_word();
      after_space_ = true;
      break;
    case CharacterKind::punctuation:
    case CharacterKind::word:
      if (next.value == kCapitalSigma && lower_case_ && reference_) {
        words_.add(is_final_sigma(position) ? kFinalSigma : kSmallSigma, origin);
      } else {
        words_.add(next.value, origin);
      }
      after_space_ = false;
      break;
  }
  return end;
}

// Final_Sigma of SpecialCasing.txt: a cased character before and none after, case-ignorable ones
// not counted. What the clean-up removes is not there; spaces and Chinese characters, where the
// word ends, are neither cased nor ignorable.
bool Scanner::is_final_sigma(size_t position) const {
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
  constexpr size_t kSigmaLength = 2;
  for (size_t at = position + kSigmaLength; at < text_.size();) {
    const CodePoint after = decode_utf8(text_, at);
    at += after.length;
    if (!skipped(after.value)) return !is_cased(after.value);
  }
  return true;
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Vocabulary> vocabulary, TokenizerOptions options)
    : vocabulary_(std::move(vocabulary)), options_(options) {}

void Tokenizer::tokenize(std::string_view text, std::vector<Token>& tokens) const {
  if (text.size() > UINT32_MAX) {
    throw Error(ErrorCode::bad_input, "A text of 4 GB or more cannot be tokenized; split it up.");
  }
  Scanner(*vocabulary_, options_, text, tokens).run();
}

}  // namespace bertrand

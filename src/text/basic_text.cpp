#include "text/basic_text.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <new>

#include <utf8proc.h>

#include "text/python_text.h"

namespace bertrand {
namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

/// Dropped from text: control, format, private and unassigned code points, and U+FFFD.
bool is_dropped(char32_t c) {
  if (c < 0x7F) return c < 0x20 && c != U'\t' && c != U'\n' && c != U'\r';
  if (c == 0xFFFD) return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
      return true;
    default:
      return false;
  }
}

/// Ideographs, which are words of their own. Hangul, Hiragana and Katakana are not.
bool is_chinese(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  static constexpr std::array<Range, 8> kRanges = {{{0x3400, 0x4DBF},
                                                    {0x4E00, 0x9FFF},
                                                    {0xF900, 0xFAFF},
                                                    {0x20000, 0x2A6DF},
                                                    {0x2A700, 0x2B73F},
                                                    {0x2B740, 0x2B81F},
                                                    {0x2B820, 0x2CEAF},
                                                    {0x2F800, 0x2FA1F}}};
  return c >= 0x3400 && std::any_of(kRanges.begin(), kRanges.end(), [c](const Range& range) {
           return c >= range.first && c <= range.last;
         });
}

/// Punctuation of any script, and every ASCII symbol.
bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
           (c >= 0x7B && c <= 0x7E);
  }
  switch (category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return true;
    default:
      return false;
  }
}

bool is_special(std::u32string_view token) {
  return token == U"[UNK]" || token == U"[SEP]" || token == U"[PAD]" || token == U"[CLS]" ||
         token == U"[MASK]";
}

/// Decomposes (NFD) and drops what combines.
std::u32string without_accents(const std::u32string& token) {
  if (std::all_of(token.begin(), token.end(), [](char32_t c) { return c < 0x80; })) return token;
  utf8proc_uint8_t* decomposed = nullptr;
  const std::string utf8 = to_utf8(token);
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(utf8.data()),
                   static_cast<utf8proc_ssize_t>(utf8.size()), &decomposed, UTF8PROC_DECOMPOSE);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(decomposed, &std::free);
  if (size < 0) throw std::bad_alloc();
  std::u32string text =
      code_points({reinterpret_cast<const char*>(decomposed), static_cast<size_t>(size)});
  std::erase_if(text, [](char32_t c) { return category(c) == UTF8PROC_CATEGORY_MN; });
  return text;
}

/// Cleaned, with a space for every kind of space and around Chinese characters.
std::u32string cleaned(std::string_view text) {
  std::u32string clean;
  for (const char32_t c : code_points(text)) {
    if (is_dropped(c)) continue;
    if (is_chinese(c)) {
      clean.append({U' ', c, U' '});
    } else {
      clean.push_back(is_space(c) ? U' ' : c);
    }
  }
  return clean;
}

void append(std::u32string& tokens, std::u32string_view token) {
  if (token.empty()) return;
  if (!tokens.empty()) tokens.push_back(U' ');
  tokens.append(token);
}

/// Appends the parts of a token; each punctuation character is one.
void append_parts(std::u32string& tokens, std::u32string_view token) {
  size_t begin = 0;
  for (size_t i = 0; i < token.size(); ++i) {
    if (is_punctuation(token[i])) {
      append(tokens, token.substr(begin, i - begin));
      append(tokens, token.substr(i, 1));
      begin = i + 1;
    }
  }
  append(tokens, token.substr(begin));
}

}  // namespace

std::u32string basic_text(std::string_view text, bool lower_case) {
  std::u32string tokens;
  const std::u32string clean = cleaned(text);
  for (size_t begin = 0; begin < clean.size();) {
    const size_t end = std::min(clean.find(U' ', begin), clean.size());
    const std::u32string_view token = std::u32string_view(clean).substr(begin, end - begin);
    if (is_special(token)) {
      append(tokens, token);
    } else if (lower_case) {
      append_parts(tokens, without_accents(lower(token)));
    } else {
      append_parts(tokens, token);
    }
    begin = end + 1;
  }
  return tokens;
}

}  // namespace bertrand

#include "text/basic_text.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include <utf8proc.h>

#include "text/python_text.h"
#include "text/unicode.h"

namespace bertrand {
namespace {

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
                   static_cast<utf8proc_ssize_t>(utf8.size()), &decomposed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(decomposed, &std::free);
  if (size < 0) throw std::bad_alloc();
  std::u32string text =
      code_points({reinterpret_cast<const char*>(decomposed), static_cast<size_t>(size)});
  std::erase_if(text, is_nonspacing_mark);
  return text;
}

/// Cleaned, with a space for every kind of space and around Chinese characters.
std::u32string cleaned(std::string_view text) {
  std::u32string clean;
  for (const char32_t c : code_points(text)) {
    switch (character_kind(c)) {
      case CharacterKind::removed:
      case CharacterKind::unassigned:
        break;
      case CharacterKind::space:
        clean.push_back(U' ');
        break;
      case CharacterKind::chinese:
        clean.append({U' ', c, U' '});
        break;
      default:
        clean.push_back(c);
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
    if (character_kind(token[i]) == CharacterKind::punctuation) {
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

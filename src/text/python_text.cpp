#include "text/python_text.h"

#include <algorithm>
#include <cstdint>

#include <utf8proc.h>

#include "text/unicode.h"
#include "text/utf8.h"

namespace bertrand {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3;
constexpr char32_t kSigma = 0x3C3;
constexpr char32_t kFinalSigma = 0x3C2;
constexpr char32_t kCapitalIWithDot = 0x130;
constexpr char32_t kCombiningDotAbove = 0x307;

/// A sigma is final after a cased letter and not before one, whatever is ignorable between.
bool is_final_sigma(std::u32string_view text, size_t place) {
  const std::u32string_view before = text.substr(0, place);
  const std::u32string_view after = text.substr(place + 1);
  const auto last = std::find_if_not(before.rbegin(), before.rend(), is_case_ignorable);
  const auto next = std::find_if_not(after.begin(), after.end(), is_case_ignorable);
  return last != before.rend() && is_cased(*last) && (next == after.end() || !is_cased(*next));
}

}  // namespace

std::u32string code_points(std::string_view text) {
  std::u32string decoded;
  decoded.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = decode_utf8(text, at);
    decoded.push_back(next.value);
    at += next.length;
  }
  return decoded;
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) at += decode_utf8(text, at).length;
  return count;
}

std::string to_utf8(std::u32string_view text) {
  std::string encoded;
  encoded.reserve(text.size());
  char bytes[4];
  for (const char32_t c : text) encoded.append(bytes, encode_utf8(c, bytes));
  return encoded;
}

std::u32string lower(std::u32string_view text) {
  std::u32string lowered;
  lowered.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c < 0x80) {
      lowered.push_back(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    } else if (c == kCapitalSigma) {
      lowered.push_back(is_final_sigma(text, i) ? kFinalSigma : kSigma);
    } else if (c == kCapitalIWithDot) {
      lowered.append({U'i', kCombiningDotAbove});
    } else {
      lowered.push_back(lower_case(c));
    }
  }
  return lowered;
}

bool is_space(char32_t c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85 ||
         c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word_character(char32_t c) {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

}  // namespace bertrand

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bertrand {

/// What a reader puts in place of bytes that are not UTF-8.
constexpr char32_t kReplacementCharacter = 0xFFFD;

/// A code point of a text and the bytes it takes there.
struct CodePoint {
  char32_t value;
  uint32_t length;  ///< bytes, at least 1
  bool valid;       ///< false: the bytes are not UTF-8, value is U+FFFD
};

/// The code point that begins at byte `position`, which must lie inside the text. Bytes that are
/// not UTF-8 count as one U+FFFD for each longest part that could have begun a code point (The
/// Unicode Standard 15, section 3.9, "U+FFFD substitution of maximal subparts").
CodePoint decode_utf8(std::string_view text, size_t position);

/// The code point that ends before byte `position`, which must be above 0. Agrees with reading the
/// text forwards, but that each wrong byte may count for itself.
CodePoint decode_utf8_before(std::string_view text, size_t position);

/// The byte where the first wrong UTF-8 begins; npos where there is none.
size_t find_invalid_utf8(std::string_view text);

/// Writes a code point (no surrogate, at most U+10FFFF) as UTF-8; returns its 1 to 4 bytes' number.
uint32_t encode_utf8(char32_t code_point, char* out);

}  // namespace bertrand

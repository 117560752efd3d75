#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bertrand {

// Text as Python's str sees it: the official SQuAD scripts and the reference's answers are defined
// by its methods.

/// The code points of UTF-8 text; what is not UTF-8 becomes U+FFFD, see decode_utf8.
std::u32string code_points(std::string_view text);

/// How many code points code_points(text) has.
size_t count_code_points(std::string_view text);

std::string to_utf8(std::u32string_view text);

/// str.lower(): the full mapping, so U+0130 becomes two code points and a sigma at the end of a
/// word its final form. Source: The Unicode Standard, section 3.13.
std::u32string lower(std::u32string_view text);

/// str.isspace(): what str.split() splits at.
bool is_space(char32_t c);

/// What \w of the re module matches: str.isalnum() or '_'.
bool is_word_character(char32_t c);

}  // namespace bertrand

#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace bertrand {

// What the tokenizer asks about a code point. The tables are utf8proc's (2.8.0: Unicode 15.0).

/// How BERT's clean-up and splitting treat a code point.
enum class CharacterKind : uint8_t {
  word,         ///< part of a word
  space,        ///< ends a word
  removed,      ///< NUL, U+FFFD, controls, formats, private use: as if it were not there
  unassigned,   ///< in no Unicode the tables know: removed or part of a word
  punctuation,  ///< a word of its own
  chinese,      ///< a CJK ideograph: stands between spaces
};

CharacterKind character_kind(char32_t code_point);

/// General category Mn, the accents that an uncased tokenizer drops.
bool is_nonspacing_mark(char32_t code_point);

/// Canonical_Combining_Class: 0 for a starter.
int combining_class(char32_t code_point);

/// Canonical decomposition of one code point, to the end (NFD before reordering). The result
/// lies in `room`.
using DecompositionRoom = std::array<int32_t, 8>;
std::span<const int32_t> decompose(char32_t code_point, DecompositionRoom& room);

/// Lower case without context or language; U+0130 keeps its dot as a second code point and is
/// left to the caller.
char32_t lower_case(char32_t code_point);

/// Cased and Case_Ignorable (The Unicode Standard, section 3.13), which decide whether a capital
/// sigma ends its word.
bool is_cased(char32_t code_point);
bool is_case_ignorable(char32_t code_point);

}  // namespace bertrand

#pragma once

#include <string>
#include <string_view>

namespace bertrand {

/// The basic tokens of a text, before word pieces, with one space between two: cleaned of control
/// characters, split at spaces, punctuation and Chinese characters, and if `lower_case` lower-cased
/// and without accents. Special tokens in the text stay whole. Source: Devlin et al.,
/// google-research/bert tokenization.py, BasicTokenizer, as the reference system has it.
std::u32string basic_text(std::string_view text, bool lower_case);

}  // namespace bertrand

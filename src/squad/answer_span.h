#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "squad/dataset.h"

namespace bertrand {

/// First and last of some words or tokens, both of them inside.
struct Span {
  uint32_t first;
  uint32_t last;
};

/// The words of the context that an answer begins and ends in; nothing where its text is not found
/// between them (white space aside), or is blank. `words` is split_words(context).
/// Source: Devlin et al.'s run_squad.py, read_squad_examples.
std::optional<Span> find_answer_words(std::string_view context, std::span<const Word> words,
                                      const Answer& answer);

/// The first place inside `words` that has exactly the tokens of the answer's text, so that the
/// answer "1895" of the word "(1895-1943)." does not take the whole word; `words` itself where
/// there is none. Source: the same, _improve_answer_span.
Span narrow_to_answer(std::span<const int32_t> document, Span words,
                      std::span<const int32_t> answer);

}  // namespace bertrand

#include "text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

/// Any bytes give tokens that are in the vocabulary and stand, in order, for parts of the text;
/// a text cut in two at a space gives the same tokens.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bertrand;
  static const auto vocabulary = std::make_shared<const Vocabulary>(
      Vocabulary::parse("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nab\n##a\n##b\n##ba\ne\n##e\né\n#"
                        "#é\nα\nσ\n##σ\n##ς\n"
                        ".\n[\n]\n中\nᄀ\n##ᅡ\n##\u302E\n",
                        "fuzz"));
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const bool lower_case : {true, false}) {
    for (const auto behaviour :
         {TokenizerOptions::Behaviour::hugging_face, TokenizerOptions::Behaviour::reference}) {
      const Tokenizer tokenizer(vocabulary, {.lower_case = lower_case, .behaviour = behaviour});
      std::vector<Token> tokens;
      tokenizer.tokenize(text, tokens);
      uint32_t begin = 0;
      uint32_t end = 0;
      for (const Token& token : tokens) {
        require(token.id >= 0 && static_cast<size_t>(token.id) < vocabulary->size());
        require(token.begin >= begin && token.begin < token.end);
        require(token.end >= end && token.end <= text.size());
        begin = token.begin;
        end = token.end;
      }
      if (const size_t space = text.find(' '); space != std::string_view::npos) {
        std::vector<Token> halves;
        tokenizer.tokenize(text.substr(0, space), halves);
        tokenizer.tokenize(text.substr(space + 1), halves);
        require(halves.size() == tokens.size());
        for (size_t i = 0; i < tokens.size(); ++i) require(halves[i].id == tokens[i].id);
      }
    }
  }
  return 0;
}

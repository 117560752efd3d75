#include "text/vocabulary.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"

/// Any bytes after the special pieces are either refused with an Error or make a vocabulary in
/// which every piece is found under its line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using bertrand::Vocabulary;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const std::string& text :
       {std::string(bytes), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" + std::string(bytes)}) {
    try {
      const Vocabulary vocabulary = Vocabulary::parse(text, "fuzz");
      for (size_t i = 0; i < vocabulary.size(); ++i) {
        const auto id = static_cast<int32_t>(i);
        const std::string_view piece = vocabulary.piece(id);
        if (vocabulary.find(piece) != id) std::abort();
        const Vocabulary::Match match = vocabulary.find_longest(piece, /*inside=*/false);
        if (match.id != id || match.length != piece.size()) std::abort();
      }
    } catch (const bertrand::Error&) {
    }
  }
  return 0;
}

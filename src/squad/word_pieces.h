#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace bertrand {

/// The ids of words' pieces, each word tokenized once: text repeats its words, and a look-up is
/// several times faster than the tokenizer. For one thread. The words must outlive it.
class WordPieces {
 public:
  explicit WordPieces(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// Appends the ids of `word`, which holds no white space.
  void append(std::string_view word, std::vector<int32_t>& ids);

  /// Appends the ids of a text of several words.
  void append_text(std::string_view text, std::vector<int32_t>& ids);

 private:
  struct Slot {
    const char* word = nullptr;
    uint32_t length = 0;
    uint32_t hash = 0;
    uint32_t begin = 0;  // in ids_
    uint32_t count = 0;
  };

  const Slot& find(std::string_view word);
  void grow();

  const Tokenizer& tokenizer_;
  std::vector<Slot> slots_ = std::vector<Slot>(size_t{1} << 16);  // a power of two; word: free
  size_t used_ = 0;
  std::vector<int32_t> ids_;
  std::vector<Token> tokens_;
};

}  // namespace bertrand

#include "squad/word_pieces.h"

#include <functional>

#include "squad/dataset.h"

namespace bertrand {

void WordPieces::append(std::string_view word, std::vector<int32_t>& ids) {
  const Slot& slot = find(word);
  const auto begin = ids_.begin() + slot.begin;
  ids.insert(ids.end(), begin, begin + slot.count);
}

void WordPieces::append_text(std::string_view text, std::vector<int32_t>& ids) {
  for (const Word& word : split_words(text)) {
    append(text.substr(word.begin, word.end - word.begin), ids);
  }
}

const WordPieces::Slot& WordPieces::find(std::string_view word) {
  const auto hash = static_cast<uint32_t>(std::hash<std::string_view>()(word));
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  for (; slots_[at].word != nullptr; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.hash == hash && std::string_view(slot.word, slot.length) == word) return slot;
  }
  if (2 * (used_ + 1) > slots_.size()) {
    grow();
    return find(word);
  }
  ++used_;
  Slot& slot = slots_[at];
  slot = {word.data(), static_cast<uint32_t>(word.size()), hash, static_cast<uint32_t>(ids_.size()),
          /*count=*/0};
  tokens_.clear();
  tokenizer_.tokenize(word, tokens_);
  for (const Token& token : tokens_) ids_.push_back(token.id);
  slot.count = static_cast<uint32_t>(tokens_.size());
  return slot;
}

void WordPieces::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.word == nullptr) continue;
    size_t at = slot.hash & (slots_.size() - 1);
    while (slots_[at].word != nullptr) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

}  // namespace bertrand

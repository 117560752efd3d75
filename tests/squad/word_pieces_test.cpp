#include "squad/word_pieces.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "small_vocabulary.h"

namespace bertrand {
namespace {

using testing::ElementsAre;

TEST(WordPieces, AreThoseOfTheTokenizerEachTime) {
  const Tokenizer tokenizer = test::small_tokenizer();
  WordPieces pieces(tokenizer);
  std::vector<int32_t> ids;
  pieces.append("jumped", ids);
  pieces.append("\u200B", ids);  // the tokenizer removes it
  pieces.append("(1895", ids);
  pieces.append("jumped", ids);
  pieces.append("\u200B", ids);
  EXPECT_THAT(ids, ElementsAre(7, 9, 15, 18, 7, 9));
}

TEST(WordPieces, OfATextAreThoseOfItsWords) {
  const Tokenizer tokenizer = test::small_tokenizer();
  WordPieces pieces(tokenizer);
  std::vector<int32_t> ids;
  pieces.append_text(" The fox\tjumps\u202Fover\n(the) d\u00F3g. [SEP] ", ids);
  EXPECT_THAT(ids, ElementsAre(5, 6, 7, 8, 10, 15, 5, 17, 11, 14, 3));
}

// More words than there is room for at first.
TEST(WordPieces, KeepAnyNumberOfWords) {
  const Tokenizer tokenizer = test::small_tokenizer();
  WordPieces pieces(tokenizer);
  std::vector<std::string> words;
  words.reserve(100000);
  for (int i = 0; i < 100000; ++i) words.push_back((i % 2 == 0 ? "fox." : "?") + std::to_string(i));
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < words.size(); ++i) {
      std::vector<int32_t> ids;
      pieces.append(words[i], ids);
      if (i % 2 == 0) {
        ASSERT_THAT(ids, ElementsAre(6, 14, 1)) << words[i];
      } else {
        ASSERT_EQ(ids.front(), 13) << words[i];
      }
    }
  }
}

}  // namespace
}  // namespace bertrand

#include "text/unicode.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

std::vector<char32_t> decomposed(char32_t code_point) {
  DecompositionRoom room;
  std::vector<char32_t> result;
  for (const int32_t part : decompose(code_point, room)) {
    result.push_back(static_cast<char32_t>(part));
  }
  return result;
}

TEST(Unicode, Kinds) {
  for (const char32_t c :
       {U'a', U'Z', U'0', U'é', U'ß', U'か', U'각', U'½', U'€', U'😀', U'\u0301'}) {
    EXPECT_EQ(character_kind(c), CharacterKind::word) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U' ', U'\t', U'\n', U'\r', U'\u00A0', U'\u2028', U'\u3000'}) {
    EXPECT_EQ(character_kind(c), CharacterKind::space) << static_cast<uint32_t>(c);
  }
  for (const char32_t c :
       {U'\0', U'\x1F', U'\x7F', U'\u200B', U'\uE000', U'\uFFFD', U'\U000E0001'}) {
    EXPECT_EQ(character_kind(c), CharacterKind::removed) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U'!', U'$', U'^', U'`', U'~', U'_', U'¿', U'«', U'“', U'、', U'！'}) {
    EXPECT_EQ(character_kind(c), CharacterKind::punctuation) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U'㐀', U'中', U'\uF900', U'\U00020000', U'\U0002B820', U'\U0002FA1D'}) {
    EXPECT_EQ(character_kind(c), CharacterKind::chinese) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U'\u0378', U'\uFFFF', U'\U000E0000'}) {
    EXPECT_EQ(character_kind(c), CharacterKind::unassigned) << static_cast<uint32_t>(c);
  }
}

TEST(Unicode, DecomposesToTheEnd) {
  EXPECT_EQ(decomposed(U'a'), (std::vector<char32_t>{U'a'}));
  EXPECT_EQ(decomposed(U'\u1EA5'), (std::vector<char32_t>{U'a', 0x302, 0x301}));  // through â
  EXPECT_EQ(decomposed(U'각'), (std::vector<char32_t>{0x1100, 0x1161, 0x11A8}));
  EXPECT_EQ(decomposed(U'ﬁ'), (std::vector<char32_t>{U'ﬁ'}));  // compatibility only
}

TEST(Unicode, NoDecompositionOutgrowsItsRoom) {
  size_t longest = 0;
  DecompositionRoom room;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    const size_t size = decompose(c, room).size();
    ASSERT_GE(size, 1u);
    longest = std::max(longest, size);
  }
  EXPECT_EQ(longest, 4u);
}

TEST(Unicode, MarksAndTheirClasses) {
  EXPECT_TRUE(is_nonspacing_mark(0x301));
  EXPECT_FALSE(is_nonspacing_mark(0x302E));
  EXPECT_FALSE(is_nonspacing_mark(U'a'));
  EXPECT_EQ(combining_class(U'a'), 0);
  EXPECT_EQ(combining_class(0x301), 230);
  EXPECT_EQ(combining_class(0x302E), 224);
  EXPECT_EQ(combining_class(0x1D165), 216);
  // What is put in canonical order is never punctuation, which would end a word.
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (combining_class(c) != 0) {
      ASSERT_NE(character_kind(c), CharacterKind::punctuation);
    }
  }
}

TEST(Unicode, Case) {
  EXPECT_EQ(lower_case(U'É'), U'é');
  EXPECT_EQ(lower_case(U'Σ'), U'σ');
  EXPECT_EQ(lower_case(U'ẞ'), U'ß');
  for (const char32_t c : {U'a', U'Z', U'ǅ', U'ª', U'Ⅳ', U'ⓐ', U'ʰ'}) {
    EXPECT_TRUE(is_cased(c));
  }
  for (const char32_t c : {U'1', U'.', U'中', U'\u0301'}) {
    EXPECT_FALSE(is_cased(c));
  }
  for (const char32_t c : {U'\'', U'.', U':', U'·', U'’', U'\u0301', U'^', U'ʰ'}) {
    EXPECT_TRUE(is_case_ignorable(c)) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U'a', U'1', U',', U'-', U' '}) {
    EXPECT_FALSE(is_case_ignorable(c));
  }
}

}  // namespace
}  // namespace bertrand

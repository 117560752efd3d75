#include "text/python_text.h"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

std::string lower_utf8(std::string_view text) { return to_utf8(lower(code_points(text))); }

TEST(PythonText, DecodesAndEncodes) {
  EXPECT_EQ(code_points("aé€😀"), U"aé€😀");
  EXPECT_EQ(to_utf8(U"aé€😀"), "aé€😀");
  EXPECT_EQ(count_code_points("aé€😀"), 4u);
  EXPECT_EQ(code_points(""), U"");
}

TEST(PythonText, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(code_points("a\xFF\xC3"), U"a\uFFFD\uFFFD");
  EXPECT_EQ(code_points("\xED\xA0\x80"), U"\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(count_code_points("a\xFF\xC3"), 3u);
}

TEST(PythonText, LowersAllScripts) {
  EXPECT_EQ(lower_utf8("ÀÇ Straße ДОМ"), "àç straße дом");
  EXPECT_EQ(lower_utf8("\u0130"), "i\u0307");
  EXPECT_EQ(lower_utf8("\u1E9E"), "ß");
  EXPECT_EQ(lower_utf8("ǅ"), "ǆ");
}

TEST(PythonText, LowersASigmaByItsPlace) {
  EXPECT_EQ(lower_utf8("ΟΔΟΣ"), "οδος");
  EXPECT_EQ(lower_utf8("ΟΔΟΣ ΣΟΦΟΣ"), "οδος σοφος");
  EXPECT_EQ(lower_utf8("Σ"), "σ");
  EXPECT_EQ(lower_utf8("Α'Σ"), "α'ς");  // an apostrophe is looked through
  EXPECT_EQ(lower_utf8("ΑΣ'Α"), "ασ'α");
  EXPECT_EQ(lower_utf8("ⓐΣ"), "ⓐς");  // a circled letter is cased
  EXPECT_EQ(lower_utf8("1Σ"), "1σ");
}

TEST(PythonText, KnowsSpaces) {
  for (const uint32_t c : {0x09u, 0x0Au, 0x0Bu, 0x0Cu, 0x0Du, 0x1Cu, 0x1Fu, 0x20u, 0x85u, 0xA0u,
                           0x1680u, 0x2003u, 0x2028u, 0x202Fu, 0x3000u}) {
    EXPECT_TRUE(is_space(c)) << c;
  }
  for (const uint32_t c : {0x00u, 0x08u, 0x1Bu, 0x61u, 0x180Eu, 0x200Bu, 0x2060u, 0xFEFFu}) {
    EXPECT_FALSE(is_space(c)) << c;
  }
}

TEST(PythonText, KnowsWordCharacters) {
  for (const char32_t c : {U'a', U'Z', U'5', U'_', U'é', U'²', U'½', U'Ⅷ', U'日', U'ʰ', U'٣'}) {
    EXPECT_TRUE(is_word_character(c)) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U' ', U'-', U'€', U'\u0301', U'–', U'。', U'\u0903'}) {
    EXPECT_FALSE(is_word_character(c)) << static_cast<uint32_t>(c);
  }
}

}  // namespace
}  // namespace bertrand

#include "text/utf8.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

struct Part {
  char32_t value;
  uint32_t length;

  bool operator==(const Part&) const = default;
};

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest looks for this name
void PrintTo(const Part& part, std::ostream* out) {
  *out << "U+" << std::hex << static_cast<uint32_t>(part.value) << " of " << part.length;
}

constexpr Part wrong(uint32_t length) { return {kReplacementCharacter, length}; }

std::vector<Part> parts(std::string_view text) {
  std::vector<Part> result;
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = decode_utf8(text, at);
    result.push_back({next.value, next.length});
    at += next.length;
  }
  return result;
}

TEST(Utf8, EveryCodePointComesBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    char bytes[4];
    const std::string_view text(bytes, encode_utf8(c, bytes));
    const CodePoint forward = decode_utf8(text, 0);
    ASSERT_TRUE(forward.valid);
    ASSERT_EQ(forward.value, c);
    ASSERT_EQ(forward.length, text.size());
    const CodePoint backward = decode_utf8_before(text, text.size());
    ASSERT_TRUE(backward.valid);
    ASSERT_EQ(backward.value, c);
    ASSERT_EQ(backward.length, text.size());
  }
}

TEST(Utf8, WrongBytesCountByTheLongestPartThatCouldHaveBegunACodePoint) {
  EXPECT_EQ(parts("a\x80"
                  "b"),
            (std::vector<Part>{{'a', 1}, wrong(1), {'b', 1}}));
  EXPECT_EQ(parts("\xE2\x82"), (std::vector<Part>{wrong(2)}));
  EXPECT_EQ(parts("\xE2\x82"
                  "a"),
            (std::vector<Part>{wrong(2), {'a', 1}}));
  EXPECT_EQ(parts("\xF0\x9F\x98"), (std::vector<Part>{wrong(3)}));
  EXPECT_EQ(parts("\xC0\xAF"), (std::vector<Part>{wrong(1), wrong(1)}));  // overlong
  EXPECT_EQ(parts("\xE0\x80\xAF"), (std::vector<Part>{wrong(1), wrong(1), wrong(1)}));
  EXPECT_EQ(parts("\xED\xA0\x80"), (std::vector<Part>{wrong(1), wrong(1), wrong(1)}));  // surrogate
  EXPECT_EQ(parts("\xF4\x90\x80\x80"),  // above U+10FFFF
            (std::vector<Part>{wrong(1), wrong(1), wrong(1), wrong(1)}));
  EXPECT_EQ(parts("\xF5\xFF"), (std::vector<Part>{wrong(1), wrong(1)}));
  EXPECT_EQ(parts("\xE2\xE2\x82\xAC"), (std::vector<Part>{wrong(1), {0x20AC, 3}}));
}

TEST(Utf8, BackwardsFindsWhatForwardsDoes) {
  const std::string text =
      "a\xE2\x82"
      "é\x80\x80\x80\x80"
      "€\xC3"
      "😀\x80";
  std::vector<char32_t> valid;
  for (size_t at = text.size(); at > 0;) {
    const CodePoint before = decode_utf8_before(text, at);
    if (before.valid) valid.insert(valid.begin(), before.value);
    at -= before.length;
  }
  EXPECT_EQ(valid, (std::vector<char32_t>{'a', U'é', U'€', U'😀'}));
}

TEST(Utf8, FindsTheFirstWrongByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("aé€😀\uFFFD"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("aé\xE2\x82"), 3u);
}

}  // namespace
}  // namespace bertrand

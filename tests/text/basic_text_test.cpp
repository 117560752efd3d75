#include "text/basic_text.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shared_data.h"
#include "text/python_text.h"

namespace bertrand {
namespace {

TEST(BasicText, SplitsAtSpacesAndPunctuation) {
  EXPECT_EQ(basic_text("", true), U"");
  EXPECT_EQ(basic_text("  Steve\tSmith's  (1895-1943).\n", true),
            U"steve smith ' s ( 1895 - 1943 ) .");
  EXPECT_EQ(basic_text("$5+x„y“", false), U"$ 5 + x „ y “");
}

TEST(BasicText, KeepsCaseAndAccentsOnlyWhereAsked) {
  EXPECT_EQ(basic_text("Ångström ÉCOLE", true), U"angstrom ecole");
  EXPECT_EQ(basic_text("Ångström ÉCOLE", false), U"Ångström ÉCOLE");
  EXPECT_EQ(basic_text("ΟΔΟΣ", true), U"οδος");
}

TEST(BasicText, CleansUp) {
  EXPECT_EQ(basic_text("a\u200Bb\x01"
                       "c\u00ADd",
                       true),
            U"abcd");
  EXPECT_EQ(basic_text("a\u00A0b\u2028c\u3000d", true), U"a b c d");
  EXPECT_EQ(basic_text("\u200B", true), U"");
}

TEST(BasicText, SetsChineseCharactersApart) {
  EXPECT_EQ(basic_text("ab北京cd", true), U"ab 北 京 cd");
  EXPECT_EQ(basic_text("ひらがな", false), U"ひらがな");
}

TEST(BasicText, KeepsSpecialTokensBetweenSpaces) {
  EXPECT_EQ(basic_text("x [UNK] y", true), U"x [UNK] y");
  EXPECT_EQ(basic_text("x[UNK]", true), U"x [ unk ]");
}

TEST(BasicText, EqualsTheStoredTokensOfAllQuestions) {
  BERTRAND_NEEDS_SHARED("data/tokenization/question_tokens.json");
  std::ifstream file(test::shared_folder() / "data/tokenization/question_tokens.json");
  const auto rows = nlohmann::json::parse(file);
  EXPECT_EQ(rows.size(), 10570u);
  for (const auto& row : rows) {
    std::string tokens;
    for (const std::string token : row.at("basic")) {
      if (!tokens.empty()) tokens += ' ';
      tokens += token;
    }
    const std::string question = row.at("original");
    ASSERT_EQ(to_utf8(basic_text(question, true)), tokens) << question;
  }
}

}  // namespace
}  // namespace bertrand

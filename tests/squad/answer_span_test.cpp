#include "squad/answer_span.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

/// "first last" of the words found, or "none".
std::string find(const std::string& context, const Answer& answer) {
  const std::vector<Word> words = split_words(context);
  const std::optional<Span> span = find_answer_words(context, words, answer);
  return span ? std::to_string(span->first) + " " + std::to_string(span->last) : "none";
}

TEST(FindAnswerWords, GivesTheWordsOfFirstAndLastCharacter) {
  const std::string context = "In 1066 the Normans, it is said, came.";
  EXPECT_EQ(find(context, {"In", 0}), "0 0");
  EXPECT_EQ(find(context, {"1066", 3}), "1 1");
  EXPECT_EQ(find(context, {"Norman", 12}), "3 3");
  EXPECT_EQ(find(context, {"the Normans, it", 8}), "2 4");
  EXPECT_EQ(find(context, {"came.", 33}), "7 7");
}

TEST(FindAnswerWords, CountsCodePoints) {
  EXPECT_EQ(find("\u00e9\u00e9 \U0001F600\U0001F600 na\u00efve end", {"na\u00efve", 6}), "2 2");
  EXPECT_EQ(find("\U0001F600 a \U0001F600b c", {"\U0001F600b c", 4}), "2 3");
  EXPECT_EQ(find("\u4e2d\u6587 x", {"x", 3}), "1 1");
}

TEST(FindAnswerWords, WhiteSpaceBelongsToTheWordBefore) {
  EXPECT_EQ(find("one two three", {" two", 3}), "0 1");
  EXPECT_EQ(find("one two three", {"two ", 4}), "1 1");
  EXPECT_EQ(find(" one two", {" one", 0}), "0 0");
}

TEST(FindAnswerWords, ComparesWithSingleSpaces) {
  EXPECT_EQ(find("one \t two\n\nthree", {"one \t two", 0}), "0 1");
  EXPECT_EQ(find("one\u202Ftwo", {"one\u202Ftwo", 0}), "0 1");
  // A no-break space parts no words of the context, but is one of the answer.
  EXPECT_EQ(find("one\u00A0two", {"one\u00A0two", 0}), "none");
}

TEST(FindAnswerWords, FindsNothingWhereTheTextIsElsewhere) {
  const std::string context = "one two three";
  EXPECT_EQ(find(context, {"one", 4}), "none");
  EXPECT_EQ(find(context, {"Two", 4}), "none");
  EXPECT_EQ(find(context, {"two", -1}), "none");
  EXPECT_EQ(find(context, {"three", 9}), "none");  // ends behind the context
  EXPECT_EQ(find(context, {"two", 13}), "none");
  EXPECT_EQ(find(context, {"two", INT64_MAX}), "none");
  EXPECT_EQ(find(context, {"", 4}), "none");
  EXPECT_EQ(find(context, {" ", 3}), "none");
  EXPECT_EQ(find("", {"two", 0}), "none");
}

// One place off, as some of SQuAD's are: the word is the same.
TEST(FindAnswerWords, TakesTheWholeWordWhereTheStartIsInsideIt) {
  EXPECT_EQ(find("one (1895-1943) three", {"1895", 6}), "1 1");
}

std::string narrow(const std::vector<int32_t>& document, Span words,
                   const std::vector<int32_t>& answer) {
  const Span span = narrow_to_answer(document, words, answer);
  return std::to_string(span.first) + " " + std::to_string(span.last);
}

TEST(NarrowToAnswer, FindsTheTokensInsideTheWords) {
  // 0 1 2     3 4 5    6 7     8
  const std::vector<int32_t> document = {10, 11, 12, 13, 12, 14, 15, 12, 13};
  EXPECT_EQ(narrow(document, {2, 6}, {13, 12}), "3 4");
  EXPECT_EQ(narrow(document, {2, 6}, {12}), "2 2");
  EXPECT_EQ(narrow(document, {2, 6}, {12, 14, 15}), "4 6");
  EXPECT_EQ(narrow(document, {7, 8}, {12, 13}), "7 8");
}

TEST(NarrowToAnswer, KeepsTheWordsWhereTheTokensAreNot) {
  const std::vector<int32_t> document = {10, 11, 12, 13};
  EXPECT_EQ(narrow(document, {1, 2}, {12, 13}), "1 2");  // goes beyond the words
  EXPECT_EQ(narrow(document, {1, 2}, {10}), "1 2");
  EXPECT_EQ(narrow(document, {1, 2}, {}), "1 2");
}

}  // namespace
}  // namespace bertrand

#include "squad/question_list.h"

#include <vector>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

TEST(QuestionList, NamesThemAll) {
  EXPECT_EQ(question_list(std::vector<std::string>{"a"}), "question a");
  EXPECT_EQ(question_list(std::vector<std::string>{"a", "b"}), "questions a, b");
}

TEST(QuestionList, NamesTenOfMany) {
  std::vector<std::string> ids;
  for (int i = 1; i <= 100000; ++i) ids.push_back(std::to_string(i));
  EXPECT_EQ(question_list(ids), "100000 questions (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...)");
}

}  // namespace
}  // namespace bertrand

#include "base/error.h"

#include <gtest/gtest.h>

namespace bertrand {
namespace {

TEST(Error, KeepsItsSentenceAndKind) {
  const Error error(ErrorCode::bad_input, "vocab.txt: line 3 is empty.");
  EXPECT_STREQ(error.what(), "vocab.txt: line 3 is empty.");
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
}

TEST(Error, EachKindHasItsExitCode) {
  EXPECT_EQ(Error(ErrorCode::runtime, "It failed.").exit_code(), 1);
  EXPECT_EQ(Error(ErrorCode::io, "It failed.").exit_code(), 1);
  EXPECT_EQ(Error(ErrorCode::usage, "It failed.").exit_code(), 2);
  EXPECT_EQ(Error(ErrorCode::bad_input, "It failed.").exit_code(), 3);
  EXPECT_EQ(Error(ErrorCode::elsewhere, "It failed.").exit_code(), kElsewhereExitCode);
  EXPECT_EQ(Error(ErrorCode::usage, "").exit_code(), 2) << "who says it does not matter";
}

TEST(Error, IsCaughtAsAStandardException) {
  EXPECT_THROW(throw Error(ErrorCode::io, "disk full"), std::runtime_error);
}

}  // namespace
}  // namespace bertrand

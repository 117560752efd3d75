#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

namespace bertrand {
namespace {

TEST(Log, GoesToStandardErrorPlain) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  set_up_logging(/*quiet=*/false);
  spdlog::info("12 windows");
  spdlog::default_logger()->flush();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "12 windows\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(Log, QuietKeepsWarnings) {
  testing::internal::CaptureStderr();
  set_up_logging(/*quiet=*/true);
  spdlog::info("12 windows");
  spdlog::warn("one question was skipped");
  spdlog::default_logger()->flush();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "one question was skipped\n");
}

}  // namespace
}  // namespace bertrand

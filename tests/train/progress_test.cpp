#include "train/progress.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

ProgressState somewhere() {
  ProgressState state;
  state.done = 1234;
  state.all = 5554;
  state.loss = 1.23456;
  state.learning_rate = 1.234e-4;
  state.windows_per_second = 15.25;
  state.seconds_left = 3725;
  return state;
}

/// All that was written to a file while `act` ran.
template <typename Act>
std::string written(const Act& act) {
  std::FILE* file = std::tmpfile();
  act(file);
  std::string text(static_cast<size_t>(std::ftell(file)), ' ');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

TEST(Progress, TellsTime) {
  EXPECT_EQ(time_text(0), "0:00");
  EXPECT_EQ(time_text(59.6), "1:00");
  EXPECT_EQ(time_text(3599), "59:59");
  EXPECT_EQ(time_text(36000 + 62), "10:01:02");
}

TEST(Progress, TheBarFillsItsColumns) {
  EXPECT_EQ(progress_bar(somewhere(), 79),
            "[##........]  22% 1234/5554 loss 1.235 rate 0.00012 15.2 windows/s left 1:02:05");
}

TEST(Progress, TheBarIsNeverWider) {
  ProgressState state = somewhere();
  state.done = 9999999;
  state.all = 10000000;
  state.loss = 1234.5;
  for (const size_t columns : {1U, 5U, 20U, 60U, 79U, 120U}) {
    EXPECT_LE(progress_bar(state, columns).size(), columns);
  }
}

TEST(Progress, WithFewColumnsLessIsSaid) {
  EXPECT_EQ(progress_bar(somewhere(), 50), "22% 1234/5554 loss 1.235 left 1:02:05");
  EXPECT_EQ(progress_bar(somewhere(), 30), "22% left 1:02:05");
  EXPECT_EQ(progress_bar(somewhere(), 10), "22%");
}

TEST(Progress, AsksTheTerminalForItsColumns) {
  int ours = -1, its = -1;
  winsize size{};
  size.ws_col = 50;
  ASSERT_EQ(::openpty(&ours, &its, nullptr, nullptr, &size), 0);
  std::FILE* terminal = ::fdopen(its, "w");
  EXPECT_EQ(terminal_columns(terminal), 50U);
  Progress(terminal, /*terminal=*/true).show(somewhere(), 1.0);
  // What is written to a terminal comes out in its own time, in pieces.
  const std::string expected = kClearLine + progress_bar(somewhere(), 49) + kClearLine;
  std::string shown;
  pollfd ready{ours, POLLIN, 0};
  while (shown.size() < expected.size() && ::poll(&ready, 1, /*milliseconds=*/10'000) == 1) {
    char text[200];
    const ssize_t got = ::read(ours, text, sizeof text);
    ASSERT_GT(got, 0);
    shown.append(text, static_cast<size_t>(got));
  }
  EXPECT_EQ(shown, expected);
  size.ws_col = 0;
  ASSERT_EQ(::ioctl(ours, TIOCSWINSZ, &size), 0);
  EXPECT_EQ(terminal_columns(terminal), 80U);
  std::fclose(terminal);
  ::close(ours);
  std::FILE* file = std::tmpfile();
  EXPECT_EQ(terminal_columns(file), 80U);
  std::fclose(file);
}

TEST(Progress, TheBarIsFullAtTheEnd) {
  ProgressState state = somewhere();
  state.done = state.all;
  EXPECT_EQ(progress_bar(state, 79).find('.'), progress_bar(state, 79).find("1.235") + 1);
}

TEST(Progress, ALineSaysAll) {
  EXPECT_EQ(progress_line(somewhere()),
            "step 1234 of 5554, loss 1.2346, rate 0.000123, 15.2 windows/s, 1:02:05 left");
}

TEST(Progress, APipeGetsALineEveryHalfMinuteAndTheLast) {
  const std::string text = written([](std::FILE* file) {
    Progress progress(file, /*terminal=*/false);
    ProgressState state = somewhere();
    state.all = 100;
    for (uint64_t second = 1; second <= 100; ++second) {
      state.done = second;
      progress.show(state, static_cast<double>(second));
    }
  });
  for (const char* line : {"step 1 of", "step 31 of", "step 61 of", "step 91 of", "step 100 of"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
}

TEST(Progress, ATerminalGetsOneLineDrawnAgain) {
  const std::string text = written([](std::FILE* file) {
    Progress progress(file, /*terminal=*/true);
    progress.show(somewhere(), 1.0);
    progress.show(somewhere(), 1.1);  // too soon
    progress.show(somewhere(), 1.3);
  });
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '%'), 2);
  EXPECT_TRUE(text.ends_with(kClearLine));
}

TEST(Progress, AClosedPipeIsNoError) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::FILE* file = ::fdopen(ends[1], "w");
  ::close(ends[0]);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  for (const bool terminal : {false, true}) {
    Progress progress(file, terminal);
    EXPECT_NO_THROW(progress.show(somewhere(), 1.0));
    EXPECT_NO_THROW(progress.clear());
  }
  std::signal(SIGPIPE, before);
  std::fclose(file);
}

TEST(Progress, WithoutAFileNothingIsShown) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Progress progress(nullptr, true);
  progress.show(somewhere(), 1.0);
  progress.clear();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace bertrand

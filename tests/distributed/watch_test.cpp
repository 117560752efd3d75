#include "distributed/watch.h"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distributed/launch.h"

namespace bertrand {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// Three processes that watch each other, in threads.
class WatchTest : public testing::Test {
 protected:
  static constexpr unsigned kCount = 3;

  /// How one of them was ended by its watch; "" where it was not.
  struct Process {
    std::atomic<bool> ended = false;
    std::string sentence;  // once ended
    std::unique_ptr<Watch> watch;

    bool ends() const {
      for (int i = 0; i < 3000 && !ended; ++i) std::this_thread::sleep_for(10ms);
      return ended;
    }
  };

  void begin(double grace_seconds) {
    MeetingOptions options;
    options.place.count = kCount;
    options.address = "127.0.0.1";
    options.port = free_port();
    options.timeout_seconds = 60;
    std::vector<std::jthread> threads;
    for (unsigned rank = 0; rank < kCount; ++rank) {
      threads.emplace_back([this, options, rank, grace_seconds]() mutable {
        options.place.rank = rank;
        Meeting meeting(options);
        Process& process = processes_.at(rank);
        const auto end = [&process](const std::string& sentence) {
          process.sentence = sentence;
          process.ended = true;
        };
        process.watch = std::make_unique<Watch>(meeting, WatchOptions{end, grace_seconds});
      });
    }
  }

  void gone(unsigned rank) { processes_.at(rank).watch.reset(); }

  std::array<Process, kCount> processes_;
};

TEST_F(WatchTest, TheOthersEndWhereOneIsGone) {
  begin(/*grace_seconds=*/0.05);
  gone(2);
  for (const unsigned rank : {0U, 1U}) {
    ASSERT_TRUE(processes_[rank].ends()) << rank;
    EXPECT_THAT(processes_[rank].sentence,
                AllOf(StartsWith("Rank 2 of 3 is gone: "),
                      HasSubstr("Rank " + std::to_string(rank) + " would wait")));
  }
}

TEST_F(WatchTest, TheFirstOneIsMissedByAll) {
  begin(/*grace_seconds=*/0.05);
  gone(0);
  for (const unsigned rank : {1U, 2U}) {
    ASSERT_TRUE(processes_[rank].ends()) << rank;
    EXPECT_THAT(processes_[rank].sentence, StartsWith("Rank 0 of 3 is gone: "));
  }
}

/// Rank 0 notices by itself, and ends: the cause is still the other.
TEST_F(WatchTest, TheFirstThatIsGoneIsNamed) {
  begin(/*grace_seconds=*/0.5);
  gone(1);
  gone(0);
  ASSERT_TRUE(processes_[2].ends());
  EXPECT_THAT(processes_[2].sentence, StartsWith("Rank 1 of 3 is gone: "));
}

TEST_F(WatchTest, WhoNoticesByItselfEndsInItsOwnWay) {
  begin(/*grace_seconds=*/60);
  for (const unsigned rank : {2U, 1U, 0U}) gone(rank);
  for (const Process& process : processes_) EXPECT_FALSE(process.ended);
}

/// No process leaves before the last one does, and then nobody is missed.
TEST_F(WatchTest, AFarewellWaitsForAll) {
  begin(/*grace_seconds=*/60);
  std::atomic<unsigned> left = 0, came = 0;
  {
    std::vector<std::jthread> threads;
    for (unsigned rank = 0; rank < kCount; ++rank) {
      threads.emplace_back([&, rank] {
        if (rank == 1) std::this_thread::sleep_for(50ms);
        ++came;
        processes_.at(rank).watch->farewell();
        EXPECT_EQ(came, kCount) << rank;
        ++left;
        gone(rank);
      });
    }
  }
  EXPECT_EQ(left, kCount);
  for (const Process& process : processes_) EXPECT_FALSE(process.ended) << process.sentence;
}

/// Of a run that is done none is to fail for the sake of another.
TEST_F(WatchTest, AFarewellDoesNotWaitForThoseWhoAreGone) {
  begin(/*grace_seconds=*/60);
  {
    std::vector<std::jthread> threads;
    for (const unsigned rank : {0U, 1U}) {
      threads.emplace_back([&, rank] { processes_.at(rank).watch->farewell(); });
    }
    gone(2);
  }
  EXPECT_FALSE(processes_[0].ended || processes_[1].ended);
}

TEST_F(WatchTest, NoWorkOfItsOwnIsCutOff) {
  begin(/*grace_seconds=*/0.05);
  {
    const Undisturbed work;
    gone(2);
    std::this_thread::sleep_for(300ms);
    EXPECT_FALSE(processes_[0].ended || processes_[1].ended);
  }
  EXPECT_TRUE(processes_[0].ends() && processes_[1].ends());
}

}  // namespace
}  // namespace bertrand

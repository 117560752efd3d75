#include "base/thread_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <numeric>
#include <sched.h>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace bertrand {
namespace {

class ThreadPoolOf : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, testing::Values(1U, 2U, 3U, 8U, 33U),
                         testing::PrintToStringParamName());

TEST_P(ThreadPoolOf, CallsEveryIndexOnce) {
  ThreadPool pool(GetParam());
  for (const size_t count : {size_t{0}, size_t{1}, size_t{2}, size_t{7}, size_t{1000}}) {
    std::vector<std::atomic<int>> calls(count);
    pool.for_each(count, [&](size_t index, unsigned) { ++calls[index]; });
    EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }));
  }
}

TEST_P(ThreadPoolOf, WorkersAreNumberedBelowSizeAndNeverTwiceAtOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  std::vector<std::atomic<bool>> busy(pool.size());
  std::atomic<bool> shared = false;
  pool.for_each(2000, [&](size_t, unsigned worker) {
    if (worker >= busy.size() || busy[worker].exchange(true)) {
      shared = true;
      return;
    }
    busy[worker] = false;
  });
  EXPECT_FALSE(shared);
}

TEST_P(ThreadPoolOf, SeesWhatTheLoopBeforeWrote) {
  // Plain memory handed from loop to loop: a race here is found by the thread sanitizer.
  ThreadPool pool(GetParam());
  std::vector<size_t> values(257, 0);
  for (size_t round = 0; round < 500; ++round) {
    pool.for_each(values.size(),
                  [&](size_t index, unsigned) { values[index] = values[index] + 1; });
  }
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), size_t{0}), 500 * values.size());
}

TEST_P(ThreadPoolOf, ThrowsTheFirstExceptionAndGoesOnWorking) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(pool.for_each(100,
                               [](size_t index, unsigned) {
                                 if (index % 10 == 3) {
                                   throw std::out_of_range("index");
                                 }
                               }),
                 std::out_of_range);
    std::atomic<size_t> sum = 0;
    pool.for_each(100, [&](size_t index, unsigned) { sum += index; });
    EXPECT_EQ(sum, 4950U);
  }
}

TEST_P(ThreadPoolOf, LeavesOutWhatIsNotBegunAfterAnException) {
  ThreadPool pool(GetParam());
  std::atomic<size_t> calls = 0;
  EXPECT_THROW(pool.for_each(1'000'000,
                             [&](size_t index, unsigned) {
                               ++calls;
                               if (index == 0) {
                                 throw std::runtime_error("stop");
                               }
                             }),
               std::runtime_error);
  EXPECT_LT(calls, 1'000'000U);
}

TEST(ThreadPool, RunsOnSeveralThreadsAtOnce) {
  // Each body waits until all four are in: with fewer threads this would never end.
  ThreadPool pool(4);
  std::atomic<int> inside = 0;
  std::mutex mutex;
  std::set<std::thread::id> threads;
  pool.for_each(4, [&](size_t, unsigned) {
    ++inside;
    while (inside < 4) {
      std::this_thread::yield();
    }
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(threads.size(), 4U);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 1U);
}

TEST(ThreadPool, ManyShortLoopsAndPausesBetweenThem) {
  // Long enough pauses that the workers leave their spin and sleep.
  ThreadPool pool(3);
  std::atomic<size_t> calls = 0;
  for (int round = 0; round < 2000; ++round) {
    pool.for_each(3, [&](size_t, unsigned) { ++calls; });
    if (round % 500 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  EXPECT_EQ(calls, 6000U);
}

#if defined(__SSE__)
TEST_P(ThreadPoolOf, DenormalsCountAsZeroInBodiesAlone) {
  constexpr unsigned kFlushes = 0x8040;  // results to zero, operands as zero
  const unsigned before = _mm_getcsr();
  ThreadPool pool(GetParam());
  std::atomic<unsigned> inside = 0;
  std::atomic<unsigned> flushed = 0;
  pool.for_each(pool.size(), [&](size_t, unsigned) {
    flushed += (_mm_getcsr() & kFlushes) == kFlushes;
    ++inside;
    while (inside < pool.size()) {  // so that each thread takes one
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(flushed, pool.size());
  EXPECT_EQ(_mm_getcsr(), before);
  EXPECT_THROW(pool.for_each(3, [](size_t, unsigned) { throw std::runtime_error("stop"); }),
               std::runtime_error);
  EXPECT_EQ(_mm_getcsr(), before);
}
#endif

TEST(ThreadPool, OnePoolAfterTheOtherCanBeMadeAndLeftIdle) {
  for (int round = 0; round < 200; ++round) {
    const ThreadPool pool(4);
    EXPECT_EQ(pool.size(), 4U);
  }
}

TEST(ThreadPool, ZeroThreadsMeansTheCallersOwn) {
  ThreadPool pool(0);
  EXPECT_EQ(pool.size(), 1U);
  size_t calls = 0;
  pool.for_each(5, [&](size_t, unsigned worker) { calls += worker == 0 ? 1 : 100; });
  EXPECT_EQ(calls, 5U);
}

TEST(AvailableThreads, AtLeastOneAndNoMoreThanTheAffinityMask) {
  const unsigned all = available_threads();
  EXPECT_GE(all, 1U);
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_LE(all, static_cast<unsigned>(CPU_COUNT(&before)));
  int first = 0;
  while (!CPU_ISSET(first, &before)) {
    ++first;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(available_threads(), 1U);
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(UsableThreads, AreThoseAskedForButNoMoreThanAvailable) {
  const unsigned all = available_threads();
  EXPECT_EQ(usable_threads(0), all);
  EXPECT_EQ(usable_threads(1), 1U);
  EXPECT_EQ(usable_threads(all), all);
  EXPECT_EQ(usable_threads(all + 1), all);
  EXPECT_EQ(usable_threads(1024), all);
}

}  // namespace
}  // namespace bertrand

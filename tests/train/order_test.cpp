#include "train/order.h"

#include <algorithm>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bertrand {
namespace {

using testing::ElementsAre;

std::vector<uint32_t> sorted(std::vector<uint32_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

std::vector<uint32_t> up_to(uint32_t size) {
  std::vector<uint32_t> values(size);
  std::iota(values.begin(), values.end(), 0U);
  return values;
}

// What PyTorch gives: torch.randperm(10) after torch.manual_seed(0), twice, and after 42.
TEST(Order, PermutationsAreTorchs) {
  std::mt19937 generator(0);
  EXPECT_THAT(torch_randperm(10, generator), ElementsAre(4, 1, 7, 5, 3, 9, 0, 8, 6, 2));
  EXPECT_THAT(torch_randperm(10, generator), ElementsAre(3, 9, 4, 2, 7, 8, 6, 0, 5, 1));
  generator.seed(42);
  EXPECT_THAT(torch_randperm(10, generator), ElementsAre(2, 6, 1, 8, 4, 5, 0, 9, 3, 7));
  EXPECT_THAT(torch_randperm(1, generator), ElementsAre(0));
}

TEST(Order, ALongPermutationIsTorchsToo) {
  std::mt19937 generator(0);
  const std::vector<uint32_t> values = torch_randperm(88864, generator);
  EXPECT_THAT(std::vector(values.begin(), values.begin() + 4),
              ElementsAre(18444, 56701, 22181, 31797));
  EXPECT_THAT(std::vector(values.end() - 3, values.end()), ElementsAre(19072, 75006, 58426));
}

TEST(Order, OneProcessTakesANewPermutationEachEpoch) {
  const EpochOrder first = torch_order(10, 4, /*seed=*/0, /*epoch=*/0, {});
  EXPECT_THAT(first.windows, ElementsAre(4, 1, 7, 5, 3, 9, 0, 8, 6, 2));
  ASSERT_EQ(first.batches(), 3U);
  EXPECT_THAT(first.batch(0), ElementsAre(4, 1, 7, 5));
  EXPECT_THAT(first.batch(2), ElementsAre(6, 2));
  EXPECT_THAT(torch_order(10, 4, 0, 1, {}).windows, ElementsAre(3, 9, 4, 2, 7, 8, 6, 0, 5, 1));
}

TEST(Order, SeveralProcessesShareThePermutationOfSeedZeroEveryEpoch) {
  // 4 1 7 5 3 9 0 8 6 2, padded by 4 1, dealt to three.
  EXPECT_THAT(torch_order(10, 2, /*seed=*/5, 0, {4, 0}).windows, ElementsAre(4, 3, 6));
  EXPECT_THAT(torch_order(10, 2, 5, 3, {4, 0}).windows, ElementsAre(4, 3, 6));
  EXPECT_THAT(torch_order(10, 2, 5, 0, {4, 1}).windows, ElementsAre(1, 9, 2));
  EXPECT_THAT(torch_order(10, 2, 5, 0, {4, 2}).windows, ElementsAre(7, 0, 4));
  EXPECT_THAT(torch_order(10, 2, 5, 0, {4, 3}).windows, ElementsAre(5, 8, 1));
}

TEST(Order, MoreProcessesThanWindowsStillHaveOneEach) {
  for (unsigned rank = 0; rank < 5; ++rank) {
    EXPECT_EQ(torch_order(2, 2, 0, 0, {5, rank}).windows.size(), 1U);
  }
}

std::vector<uint32_t> some_lengths(uint32_t count) {
  std::vector<uint32_t> lengths;
  for (uint32_t i = 0; i < count; ++i) {
    lengths.push_back(20 + i * 7919 % 365);
  }
  return lengths;
}

TEST(Order, LengthAwareTakesEveryWindowOnce) {
  const std::vector<uint32_t> lengths = some_lengths(5003);
  const EpochOrder order = length_aware_order(lengths, 32, 1, 0, {});
  EXPECT_EQ(sorted(order.windows), up_to(5003));
  EXPECT_EQ(order.batches(), 157U);
  size_t whole = 0;
  for (size_t batch = 0; batch < order.batches(); ++batch) {
    whole += order.batch(batch).size() == 32 ? 1U : 0U;
  }
  EXPECT_EQ(whole, 156U);
}

TEST(Order, LengthAwareBatchesAreAlike) {
  const std::vector<uint32_t> lengths = some_lengths(5003);
  const EpochOrder order = length_aware_order(lengths, 32, 1, 0, {});
  uint32_t widest = 0;
  for (size_t batch = 0; batch < order.batches(); ++batch) {
    const auto windows = order.batch(batch);
    const auto [least, most] =
        std::minmax_element(windows.begin(), windows.end(),
                            [&](uint32_t a, uint32_t b) { return lengths[a] < lengths[b]; });
    widest = std::max(widest, lengths[*most] - lengths[*least]);
  }
  EXPECT_LT(widest, 100U);
}

TEST(Order, LengthAwareIsNotInOrderOfLength) {
  const std::vector<uint32_t> lengths = some_lengths(1600);
  const EpochOrder order = length_aware_order(lengths, 32, 1, 0, {});
  size_t rises = 0;
  for (size_t batch = 1; batch < order.batches(); ++batch) {
    rises += lengths[order.batch(batch)[0]] > lengths[order.batch(batch - 1)[0]] ? 1U : 0U;
  }
  EXPECT_GT(rises, 10U);
  EXPECT_LT(rises, 40U);
}

TEST(Order, LengthAwareDependsOnSeedAndEpochAlone) {
  const std::vector<uint32_t> lengths = some_lengths(500);
  const auto order = [&](uint64_t seed, uint64_t epoch) {
    return length_aware_order(lengths, 8, seed, epoch, {}).windows;
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 0), order(2, 0));
  EXPECT_NE(order(1, 0), order(1 + (uint64_t{1} << 32), 0));
}

TEST(Order, LengthAwareSharesTheWindowsAmongProcesses) {
  const std::vector<uint32_t> lengths = some_lengths(300);
  std::vector<uint32_t> all;
  for (unsigned rank = 0; rank < 3; ++rank) {
    const EpochOrder order = length_aware_order(lengths, 8, 1, 0, {3, rank});
    EXPECT_EQ(order.windows.size(), 100U);
    all.insert(all.end(), order.windows.begin(), order.windows.end());
  }
  EXPECT_EQ(sorted(all), up_to(300));
}

}  // namespace
}  // namespace bertrand

#include "model/packing.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bertrand {
namespace {

using ::testing::ElementsAre;

TEST(PackedBatch, PutsWindowsOneAfterTheOther) {
  PackedBatch batch;
  batch.add(std::array{101, 5, 102, 6, 102}, /*segment_begin=*/3, /*key=*/70);
  batch.add(std::array{101, 102, 9}, /*segment_begin=*/2, /*key=*/71);
  EXPECT_THAT(batch.ids, ElementsAre(101, 5, 102, 6, 102, 101, 102, 9));
  EXPECT_THAT(batch.segments, ElementsAre(0, 0, 0, 1, 1, 0, 0, 1));
  EXPECT_THAT(batch.offsets, ElementsAre(0, 5, 8));
  EXPECT_THAT(batch.keys, ElementsAre(70U, 71U));
  EXPECT_EQ(batch.windows(), 2U);
  EXPECT_EQ(batch.tokens(), 8U);
  EXPECT_EQ(batch.length(1), 3U);
}

TEST(PackedBatch, IsEmptyWhenCleared) {
  PackedBatch batch;
  batch.add(std::array{1, 2}, 1, 0);
  batch.clear();
  EXPECT_EQ(batch.windows(), 0U);
  EXPECT_EQ(batch.tokens(), 0U);
  batch.add(std::array{3}, 1, 0);
  EXPECT_THAT(batch.offsets, ElementsAre(0, 1));
  EXPECT_THAT(batch.segments, ElementsAre(0));
}

}  // namespace
}  // namespace bertrand

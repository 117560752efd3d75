#include "engine/cpu/row_gradients.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace bertrand::test {
namespace {

std::vector<size_t> indices_of(std::span<const cpu::RowGradients::Row> rows) {
  std::vector<size_t> indices;
  for (const auto& row : rows) {
    indices.push_back(row.index);
  }
  return indices;
}

TEST(RowGradients, KeepTouchedRowsInOrderAndSumThem) {
  cpu::RowGradients rows(2);
  const auto add = [&](const std::vector<size_t>& indices, float value) {
    const std::vector<float*> targets = rows.touch(indices);
    ASSERT_EQ(targets.size(), indices.size());
    for (float* target : targets) {
      target[0] += value;
      target[1] -= value;
    }
  };
  add({3, 7}, 1);
  add({}, 9);
  add({0, 3, 5, 9}, 10);
  EXPECT_EQ(indices_of(rows.rows()), (std::vector<size_t>{0, 3, 5, 7, 9}));
  EXPECT_EQ(indices_of(rows.rows_of(3, 4)), (std::vector<size_t>{3, 5}));
  EXPECT_TRUE(rows.rows_of(10, 5).empty());
  std::vector<float> table(20, 4);
  rows.store(table);
  EXPECT_EQ(table, (std::vector<float>{10, -10, 0, 0, 0, 0,  11, -11, 0,  0,
                                       10, -10, 0, 0, 1, -1, 0,  0,   10, -10}));
}

TEST(RowGradients, ClearedRowsBeginAsZeros) {
  cpu::RowGradients rows(3);
  const std::vector<size_t> first = {1, 2};
  std::fill_n(rows.touch(first)[1], 3, 5.0F);
  rows.clear();
  EXPECT_TRUE(rows.rows().empty());
  const std::vector<size_t> second = {0, 2};
  rows.touch(second);
  std::vector<float> table(9, 4);
  rows.store(table);
  EXPECT_EQ(table, std::vector<float>(9));
}

}  // namespace
}  // namespace bertrand::test

// Products of 8-bit numbers: near those of floats, exact in whole numbers, the same bits on every
// instruction set this machine has.
#include "engine/cpu/int8.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "instruction_sets.h"
#include "oracle.h"

namespace bertrand::test {
namespace {

class Int8 : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

INSTANTIATE_TEST_SUITE_P(All, Int8, testing::ValuesIn(instruction_sets()),
                         [](const auto& set) { return std::string(hwy::TargetName(set.param)); });

struct Shape {
  size_t m, n, k;
};

std::vector<float> int8_product(const Shape& shape, const std::vector<float>& a,
                                const std::vector<float>& b, const std::vector<float>& bias) {
  cpu::Int8Rows rows;
  rows.reserve(shape.m, shape.k);
  for (size_t row = 0; row < shape.m; ++row) {
    rows.set_row(row, shape.k, a.data() + row * shape.k);
  }
  cpu::Int8Weights weights;
  weights.reserve(shape.n, shape.k);
  for (size_t row = 0; row < shape.n; ++row) {
    weights.set_row(row, b.data() + row * shape.k);
  }
  constexpr float kUntouched = 77;
  const size_t stride = shape.n + 3;
  std::vector<float> c(shape.m * stride, kUntouched);
  cpu::multiply(cpu::Int8Product{shape.m, &rows, weights.columns(), bias.data(), c.data(), stride});
  for (size_t row = 0; row < shape.m; ++row) {
    for (size_t column = shape.n; column < stride; ++column) {
      EXPECT_EQ(c[row * stride + column], kUntouched) << "written past a row";
    }
  }
  return c;
}

const std::vector<Shape> all_shapes = {{0, 200, 9},  {1, 1, 1},   {1, 64, 4},    {5, 65, 7},
                                       {6, 128, 64}, {7, 33, 30}, {13, 96, 385}, {29, 130, 1536}};

TEST_P(Int8, IsNearTheProductOfFloats) {
  for (const Shape& shape : all_shapes) {
    const auto a = random_floats(shape.m * shape.k, 1);
    const auto b = random_floats(shape.n * shape.k, 2);
    const auto bias = random_floats(shape.n, 3);
    const auto c = int8_product(shape, a, b, bias);
    for (size_t i = 0; i < shape.m; ++i) {
      for (size_t j = 0; j < shape.n; ++j) {
        double sum = static_cast<double>(bias[j]);
        double least = 0;
        double most = 0;
        double weight = 0;
        for (size_t p = 0; p < shape.k; ++p) {
          const auto x = static_cast<double>(a[i * shape.k + p]);
          const auto w = static_cast<double>(b[j * shape.k + p]);
          sum += x * w;
          least = std::min(least, x);
          most = std::max(most, x);
          weight = std::max(weight, std::fabs(w));
        }
        // Each factor is off by at most one step; the errors add up like a random walk.
        const double range = most - least;
        const double bound = 4 * std::sqrt(static_cast<double>(shape.k)) *
                             (range / 255 * weight + weight / 127 * range);
        ASSERT_NEAR(static_cast<double>(c[i * (shape.n + 3) + j]), sum, bound)
            << shape.m << " x " << shape.n << " x " << shape.k;
      }
    }
  }
}

TEST_P(Int8, HasTheSameBitsEverywhere) {
  for (const Shape& shape : all_shapes) {
    const auto a = random_floats(shape.m * shape.k, 4);
    const auto b = random_floats(shape.n * shape.k, 5);
    const auto bias = random_floats(shape.n, 6);
    const auto here = int8_product(shape, a, b, bias);
    hwy::SetSupportedTargetsForTest(instruction_sets().back());
    const auto plain = int8_product(shape, a, b, bias);
    hwy::SetSupportedTargetsForTest(GetParam());
    ASSERT_EQ(here, plain) << shape.m << " x " << shape.n << " x " << shape.k;
  }
}

TEST_P(Int8, LargestNumbersDoNotOverflow) {
  // 255 * 127 twice is more than 16 bits hold.
  const Shape shape = {7, 70, 4096};
  for (const float sign : {1.0F, -1.0F}) {
    const auto c = int8_product(shape, std::vector<float>(shape.m * shape.k, 1.0F),
                                std::vector<float>(shape.n * shape.k, sign),
                                std::vector<float>(shape.n, 0.0F));
    for (size_t i = 0; i < shape.m; ++i) {
      for (size_t j = 0; j < shape.n; ++j) {
        ASSERT_NEAR(c[i * (shape.n + 3) + j], sign * 4096, 0.01F);
      }
    }
  }
}

TEST_P(Int8, ConstantRowsAndColumnsAreExact) {
  const Shape shape = {3, 2, 8};
  std::vector<float> a(shape.m * shape.k, 0.0F);
  std::fill_n(a.begin() + 8, 8, -2.5F);
  std::vector<float> b(shape.n * shape.k, 0.0F);
  std::fill_n(b.begin() + 8, 8, 0.5F);
  const auto c = int8_product(shape, a, b, {1.0F, 2.0F});
  const std::vector<float> expected = {1, 2, 1, -8, 1, 2};
  for (size_t i = 0; i < shape.m; ++i) {
    EXPECT_NEAR(c[i * 5], expected[2 * i], 1e-5F);
    EXPECT_NEAR(c[i * 5 + 1], expected[2 * i + 1], 1e-5F);
  }
}

TEST_P(Int8, RowsOfTinyNumbersAreZeros) {
  const Shape shape = {3, 3, 40};
  auto a = random_floats(shape.m * shape.k, 9);
  auto b = random_floats(shape.n * shape.k, 10);
  const auto tiny = [&](std::vector<float>& values, size_t row, float value) {
    for (size_t i = 0; i < shape.k; ++i) values[row * shape.k + i] = i % 2 == 0 ? value : -value;
  };
  tiny(a, 0, 1e-37F);
  tiny(a, 1, std::numeric_limits<float>::denorm_min());
  tiny(b, 0, 1e-37F);
  tiny(b, 1, std::numeric_limits<float>::denorm_min());
  const auto c = int8_product(shape, a, b, {1.0F, 2.0F, 3.0F});
  const size_t stride = shape.n + 3;
  for (size_t i = 0; i < shape.m; ++i) {
    EXPECT_EQ(c[i * stride], 1.0F) << i;
    EXPECT_EQ(c[i * stride + 1], 2.0F) << i;
  }
  EXPECT_EQ(c[2], 3.0F);
  EXPECT_EQ(c[stride + 2], 3.0F);
  EXPECT_NE(c[2 * stride + 2], 3.0F);
}

TEST_P(Int8, WhatIsNoNumberShows) {
  const Shape shape = {2, 2, 40};
  for (const float wrong :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const size_t place : {size_t{3}, size_t{39}}) {
      auto a = random_floats(shape.m * shape.k, 7);
      auto b = random_floats(shape.n * shape.k, 8);
      a[place] = wrong;
      const auto of_row = int8_product(shape, a, b, {0.0F, 0.0F});
      EXPECT_TRUE(std::isnan(of_row[0]) && std::isnan(of_row[1]));
      EXPECT_TRUE(std::isfinite(of_row[5]) && std::isfinite(of_row[6]));
      a[place] = 1;
      b[shape.k + place] = wrong;
      const auto of_column = int8_product(shape, a, b, {0.0F, 0.0F});
      EXPECT_TRUE(std::isfinite(of_column[0]) && std::isfinite(of_column[5]));
      EXPECT_TRUE(std::isnan(of_column[1]) && std::isnan(of_column[6]));
    }
  }
}

/// What lies in the column of one row, with its scale and sum.
struct Column {
  std::vector<int8_t> numbers;
  float scale = 0;
  int32_t sum = 0;
};

Column column_of(const cpu::Int8Weights& weights, size_t row) {
  Column column{{}, weights.scales[row], weights.sums[row]};
  const size_t groups = (weights.k + 3) / 4;
  const int8_t* panel =
      weights.panels.data() + row / cpu::kInt8Panel * cpu::kInt8Panel * 4 * groups;
  for (size_t i = 0; i < 4 * groups; ++i) {
    column.numbers.push_back(panel[(i / 4 * cpu::kInt8Panel + row % cpu::kInt8Panel) * 4 + i % 4]);
  }
  return column;
}

/// The plain way to round a row.
Column rounded(std::vector<float> row) {
  float most = 0;
  bool is_finite = true;
  for (const float value : row) {
    most = std::max(most, std::fabs(value));
    is_finite = is_finite && std::isfinite(value);
  }
  // Below this the scale is no normal number, and the row counts as zeros.
  if (most < 127 * std::numeric_limits<float>::min()) most = 0;
  const float inverse = most > 0 && is_finite ? 127 / most : 0.0F;
  Column column{{}, is_finite ? most / 127 : std::nanf(""), 0};
  row.resize((row.size() + 3) / 4 * 4, 0.0F);
  for (const float value : row) {
    const auto number = static_cast<int32_t>(inverse == 0 ? 0 : std::lround(value * inverse));
    column.numbers.push_back(static_cast<int8_t>(number));
    column.sum += number;
  }
  return column;
}

void expect_same(const Column& got, const Column& expected) {
  EXPECT_EQ(got.numbers, expected.numbers);
  EXPECT_EQ(got.sum, expected.sum);
  EXPECT_TRUE(got.scale == expected.scale || (std::isnan(got.scale) && std::isnan(expected.scale)));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::vector<float> odd_floats = {0.0F,  1e-40F,    1e-37F,     1e37F,
                                       3e38F, kInfinity, -kInfinity, std::nanf("")};

TEST(Int8Weights, RoundAsThePlainWay) {
  const size_t k = 1030;  // more than one piece, and not whole groups
  for (size_t seed = 0; seed < 20; ++seed) {
    auto row = random_floats(k, static_cast<uint32_t>(seed));
    if (seed < odd_floats.size()) row[seed * 100] = odd_floats[seed];
    if (seed == 8) std::fill(row.begin(), row.end(), 0.0F);
    if (seed == 9) std::fill(row.begin(), row.end(), 1e-40F);
    if (seed == 10) row = {127, 0.5F, -0.5F, 0.49999997F, -0.49999997F, 126.5F, -126.5F, 2.5F};
    row.resize(k, 0.0F);
    cpu::Int8Weights weights;
    weights.reserve(/*n=*/70, k);
    // What was there before leaves no trace.
    weights.set_row(66, random_floats(k, 99).data());
    weights.set_row(66, row.data());
    expect_same(column_of(weights, 66), rounded(row));
    expect_same(column_of(weights, 65), rounded(std::vector<float>(k)));
    expect_same(column_of(weights, 67), rounded(std::vector<float>(k)));
  }
}

TEST(Int8Weights, NumbersGiveTheBitsOfTheirFloats) {
  const size_t k = 102;
  std::mt19937 generator(1);
  for (size_t round = 0; round < 300; ++round) {
    // Most rows hold 127, as those that were rounded here do; some hold less, or -128.
    const int32_t most = round % 5 != 0 ? 127 : static_cast<int32_t>(round % 127);
    std::vector<int8_t> numbers(k);
    for (int8_t& number : numbers) {
      number = static_cast<int8_t>(static_cast<int32_t>(generator() % 255) % (most + 1) *
                                   (generator() % 2 == 0 ? 1 : -1));
    }
    numbers[round % k] = static_cast<int8_t>(round % 2 == 0 ? most : -most);
    if (round % 50 == 1) numbers[3] = -128;
    float factor = std::ldexp(1 + static_cast<float>(generator() % 8388608) / 8388608,
                              static_cast<int>(generator() % 40) - 30);
    if (round % 20 == 2) factor = odd_floats[round / 20 % odd_floats.size()];
    if (round % 20 == 3) factor = -factor;
    std::vector<float> values(k);
    std::transform(numbers.begin(), numbers.end(), values.begin(),
                   [&](int8_t number) { return static_cast<float>(number) * factor; });
    cpu::Int8Weights weights;
    weights.reserve(/*n=*/3, k);
    weights.set_row(1, numbers.data(), factor);
    expect_same(column_of(weights, 1), rounded(values));
  }
}

}  // namespace
}  // namespace bertrand::test

// Products of 8-bit numbers: near those of floats, exact in whole numbers, the same bits on every
// instruction set this machine has.
#include "engine/cpu/int8.h"

#include <cmath>
#include <limits>
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
  for (size_t panel = 0; panel < weights.panels_count(); ++panel) {
    weights.set_panel(panel, b.data());
  }
  constexpr float kUntouched = 77;
  const size_t stride = shape.n + 3;
  std::vector<float> c(shape.m * stride, kUntouched);
  cpu::multiply(cpu::Int8Product{shape.m, &rows, &weights, bias.data(), c.data(), stride});
  for (size_t row = 0; row < shape.m; ++row) {
    for (size_t column = shape.n; column < stride; ++column) {
      EXPECT_EQ(c[row * stride + column], kUntouched) << "written past a row";
    }
  }
  return c;
}

const std::vector<Shape> all_shapes = {{1, 1, 1},   {1, 64, 4},    {5, 65, 7},     {6, 128, 64},
                                       {7, 33, 30}, {13, 96, 385}, {29, 130, 1536}};

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

}  // namespace
}  // namespace bertrand::test

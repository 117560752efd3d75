// Products over panels against plain sums in f64, on every instruction set this machine has.
#include "engine/cpu/packed.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "engine/cpu/buffers.h"
#include "instruction_sets.h"
#include "oracle.h"

namespace bertrand::test {
namespace {

class Packed : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

INSTANTIATE_TEST_SUITE_P(All, Packed, testing::ValuesIn(instruction_sets()),
                         [](const auto& set) { return std::string(hwy::TargetName(set.param)); });

/// W [n, k] and its panels.
struct Weights {
  Weights(size_t n, size_t k) : rows(random_floats(n * k, 1)) {
    panels.reserve(cpu::panels_size(k, n, cpu::panel_width()));
    cpu::pack_panels(k, n, cpu::panel_width(), rows.data(), panels.data());
  }
  std::vector<float> rows;
  cpu::Aligned<float> panels;
};

TEST_P(Packed, ProductsOfAllShapes) {
  for (const size_t m : {1U, 5U, 12U, 29U, 95U}) {
    for (const size_t n : {1U, 16U, 33U, 96U}) {
      for (const size_t k : {1U, 7U, 384U, 800U}) {
        const size_t a_stride = k + 3;
        const size_t c_stride = n + 5;
        const Weights weights(n, k);
        const auto a = random_floats(m * a_stride, 2);
        const auto bias = random_floats(n, 3);
        for (const int begin : {0, 1, 2}) {  // zero, bias, add
          auto c = random_floats(m * c_stride, 4);
          const auto before = c;
          cpu::multiply(cpu::PackedProduct{m, n, k, a.data(), a_stride, weights.panels.data(),
                                           begin == 1 ? bias.data() : nullptr, c.data(), c_stride,
                                           /*accumulate=*/begin == 2});
          for (size_t i = 0; i < m; ++i) {
            for (size_t j = 0; j < c_stride; ++j) {
              if (j >= n) {
                ASSERT_EQ(c[i * c_stride + j], before[i * c_stride + j]) << "written past a row";
                continue;
              }
              double sum = begin == 1   ? static_cast<double>(bias[j])
                           : begin == 2 ? static_cast<double>(before[i * c_stride + j])
                                        : 0.0;
              for (size_t p = 0; p < k; ++p) {
                sum += static_cast<double>(a[i * a_stride + p]) *
                       static_cast<double>(weights.rows[j * k + p]);
              }
              ASSERT_NEAR(static_cast<double>(c[i * c_stride + j]), sum, 2e-4)
                  << "m " << m << " n " << n << " k " << k << " begin " << begin;
            }
          }
        }
      }
    }
  }
}

/// They once were a division by zero: lines to fetch for each of no tiles.
TEST_P(Packed, NoRowsAreNoWork) {
  const size_t n = 2 * cpu::panel_width() + 1;
  const Weights weights(n, 5);
  cpu::multiply(cpu::PackedProduct{0, n, 5, nullptr, 5, weights.panels.data(), /*bias=*/nullptr,
                                   nullptr, n, /*accumulate=*/false});
}

/// A row's result has the same bits whatever other rows it is computed with.
TEST_P(Packed, RowsDoNotDependOnEachOther) {
  constexpr size_t kRows = 31;
  constexpr size_t kSize = 300;
  const Weights weights(kSize, kSize);
  const auto a = random_floats(kRows * kSize, 2);
  std::vector<float> together(kRows * kSize);
  std::vector<float> alone(kRows * kSize);
  const auto multiply = [&](size_t row, size_t rows, std::vector<float>& c) {
    cpu::multiply(
        cpu::PackedProduct{rows, kSize, kSize, a.data() + row * kSize, kSize, weights.panels.data(),
                           /*bias=*/nullptr, c.data() + row * kSize, kSize, /*accumulate=*/false});
  };
  multiply(0, kRows, together);
  for (size_t row = 0; row < kRows; ++row) {
    multiply(row, 1, alone);
  }
  EXPECT_EQ(together, alone);
}

TEST_P(Packed, WeightGradientsOfAllShapes) {
  const size_t width = cpu::panel_width();
  for (const size_t tokens : {1U, 40U, 257U, 600U}) {
    for (const size_t n : {1U, 33U, 176U}) {
      for (const size_t k : {5U, 40U, 192U}) {
        const auto a = random_floats(tokens * k, 1);
        const auto dc = random_floats(tokens * n, 2);
        const size_t size = cpu::panels_size(k, n, width);
        cpu::Aligned<float> scratch;
        scratch.reserve(cpu::gradient_scratch(192));
        for (const bool accumulate : {false, true}) {
          const std::vector<float> before = random_floats(n * k, 3);
          cpu::Aligned<float> panels;
          panels.reserve(size);
          cpu::pack_panels(k, n, width, before.data(), panels.data());
          const size_t all = (n + width - 1) / width;
          for (size_t row = 0; row < k; row += 36) {
            for (size_t panel = 0; panel < all; panel += 5) {
              cpu::multiply(
                  cpu::GradientProduct{tokens, k, n, a.data(), k, dc.data(), n, panels.data(), row,
                                       std::min<size_t>(36, k - row), panel,
                                       std::min<size_t>(5, all - panel), accumulate},
                  scratch.data());
            }
          }
          std::vector<float> got(n * k);
          cpu::unpack_panels(k, n, width, panels.data(), got.data());
          for (size_t j = 0; j < n; ++j) {
            for (size_t i = 0; i < k; ++i) {
              double sum = accumulate ? static_cast<double>(before[j * k + i]) : 0.0;
              for (size_t t = 0; t < tokens; ++t) {
                sum += static_cast<double>(a[t * k + i]) * static_cast<double>(dc[t * n + j]);
              }
              ASSERT_NEAR(static_cast<double>(got[j * k + i]), sum, 3e-4)
                  << "tokens " << tokens << " n " << n << " k " << k;
            }
          }
          // What fills up the last panel is zero, and stays so.
          for (size_t i = 0; i < k; ++i) {
            for (size_t j = n % width; j != 0 && j < width; ++j) {
              ASSERT_EQ(panels.data()[(all - 1) * width * k + i * width + j], 0.0F);
            }
          }
        }
      }
    }
  }
}

TEST_P(Packed, TransposedPanelsAreThoseOfTheTransposedMatrix) {
  const size_t width = cpu::panel_width();
  for (const size_t n : {1U, 30U, 64U}) {
    for (const size_t k : {3U, 32U, 50U}) {
      const Weights weights(n, k);
      std::vector<float> turned(n * k);
      for (size_t j = 0; j < n; ++j) {
        for (size_t i = 0; i < k; ++i) {
          turned[i * n + j] = weights.rows[j * k + i];
        }
      }
      const size_t size = cpu::panels_size(n, k, width);
      std::vector<float> expected(size);
      std::vector<float> got(size, -1.0F);
      cpu::pack_panels(n, k, width, turned.data(), expected.data());
      for (size_t row = 0; row < k; row += width) {
        cpu::transpose_panels(k, n, width, weights.panels.data(), row, std::min(width, k - row),
                              got.data());
      }
      EXPECT_EQ(got, expected) << "n " << n << " k " << k;
    }
  }
}

}  // namespace
}  // namespace bertrand::test

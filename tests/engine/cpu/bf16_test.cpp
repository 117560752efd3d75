// Products of bf16 over panels of pairs against plain sums in f64 of the same rounded numbers.
#include "engine/cpu/bf16.h"

#include <algorithm>
#include <bit>
#include <vector>

#include <gtest/gtest.h>

#include "engine/cpu/buffers.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/packed.h"
#include "oracle.h"

namespace bertrand::test {
namespace {

class Bf16 : public testing::Test {
 protected:
  void SetUp() override {
    if (!cpu::has_bf16_panels()) {
      GTEST_SKIP() << "this CPU has no AVX512_BF16";
    }
  }
};

double value_of(uint16_t rounded) {
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(rounded) << 16));
}

/// [rows, columns] random numbers in bf16, rows `stride` apart; 1 between them.
std::vector<uint16_t> random_rows(size_t rows, size_t columns, size_t stride, uint32_t seed) {
  const auto values = random_floats(rows * columns, seed);
  constexpr uint16_t kOne = 0x3F80;
  std::vector<uint16_t> rounded(rows * stride, kOne);
  for (size_t row = 0; row < rows; ++row) {
    cpu::to_bf16(columns, values.data() + row * columns, rounded.data() + row * stride);
  }
  return rounded;
}

/// W [n, k], rounded, and both its panels.
struct Weights {
  Weights(size_t n, size_t k) : rows(n * k) {
    const auto values = random_floats(n * k, 1);
    cpu::to_bf16(n * k, values.data(), rows.data());
    std::vector<float> f32(cpu::panels_size(k, n, cpu::kBf16Panel));
    cpu::pack_panels(k, n, cpu::kBf16Panel, values.data(), f32.data());
    panels.reserve(cpu::bf16_panels_size(k, n));
    for (size_t column = 0; column < n; column += cpu::kBf16Panel) {
      cpu::round_panel(k, f32.data() + column * k,
                       panels.data() + cpu::bf16_panels_size(k, column));
    }
    transposed.reserve(cpu::bf16_panels_size(n, k));
    for (size_t row = 0; row < k; row += cpu::kBf16Panel) {
      cpu::round_transposed_panel(k, n, f32.data(), row,
                                  transposed.data() + cpu::bf16_panels_size(n, row));
    }
  }
  std::vector<uint16_t> rows;
  cpu::Aligned<cpu::Bf16Pair> panels, transposed;
};

/// C = begin + A B, checked; `b(p, j)` are the elements of B.
template <class Element>
void check_product(size_t m, size_t n, size_t k, const cpu::Bf16Pair* panels, const Element& b) {
  const size_t a_stride = k + 3;
  const size_t c_stride = n + 5;
  const auto a = random_rows(m, k, a_stride, 2);
  const auto bias = random_floats(n, 3);
  for (const int begin : {0, 1, 2}) {  // zero, bias, add
    auto c = random_floats(m * c_stride, 4);
    const auto before = c;
    cpu::multiply(cpu::Bf16Product{m, n, k, a.data(), a_stride, panels,
                                   begin == 1 ? bias.data() : nullptr, c.data(), c_stride,
                                   /*accumulate=*/begin == 2});
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < c_stride; ++j) {
        const size_t at = i * c_stride + j;
        if (j >= n) {
          ASSERT_EQ(c[at], before[at]) << "written past a row";
          continue;
        }
        double sum = begin == 1   ? static_cast<double>(bias[j])
                     : begin == 2 ? static_cast<double>(before[at])
                                  : 0.0;
        for (size_t p = 0; p < k; ++p) {
          sum += value_of(a[i * a_stride + p]) * b(p, j);
        }
        ASSERT_NEAR(static_cast<double>(c[at]), sum, 4e-4)
            << "m " << m << " n " << n << " k " << k << " begin " << begin;
      }
    }
  }
}

TEST_F(Bf16, ProductsOfAllShapes) {
  for (const size_t m : {1U, 5U, 12U, 29U}) {
    for (const size_t n : {1U, 17U, 64U, 130U}) {
      for (const size_t k : {1U, 7U, 64U, 385U, 1601U}) {
        const Weights weights(n, k);
        check_product(m, n, k, weights.panels.data(),
                      [&](size_t p, size_t j) { return value_of(weights.rows[j * k + p]); });
      }
    }
  }
}

TEST_F(Bf16, ProductsWithTheTransposedOfAllShapes) {
  for (const size_t n : {1U, 17U, 64U, 130U}) {
    for (const size_t k : {1U, 7U, 64U, 385U}) {
      const Weights weights(n, k);
      check_product(/*m=*/7, k, n, weights.transposed.data(),
                    [&](size_t p, size_t j) { return value_of(weights.rows[p * k + j]); });
    }
  }
}

/// A row's result has the same bits whatever other rows it is computed with.
TEST_F(Bf16, RowsDoNotDependOnEachOther) {
  constexpr size_t kRows = 31;
  for (const size_t size : {300U, 1700U}) {
    const Weights weights(size, size);
    const auto a = random_rows(kRows, size, size, 2);
    std::vector<float> together(kRows * size);
    std::vector<float> alone(kRows * size);
    const auto multiply = [&](size_t row, size_t rows, std::vector<float>& c) {
      cpu::multiply(cpu::Bf16Product{rows, size, size, a.data() + row * size, size,
                                     weights.panels.data(), /*bias=*/nullptr, c.data() + row * size,
                                     size, /*accumulate=*/false});
    };
    multiply(0, kRows, together);
    for (size_t row = 0; row < kRows; ++row) {
      multiply(row, 1, alone);
    }
    EXPECT_EQ(together, alone);
  }
}

/// The gradient of W [n, k] by parts, from dC [tokens, n] and A [tokens, k], as f32 panels.
void gradient(size_t tokens, size_t n, size_t k, const std::vector<uint16_t>& a,
              const std::vector<uint16_t>& dc, bool accumulate, std::vector<float>& panels) {
  constexpr size_t kRows = 36;
  constexpr size_t kPanels = 5;
  cpu::Aligned<cpu::Bf16Pair> scratch;
  scratch.reserve(cpu::bf16_gradient_scratch(kRows));
  const size_t all = (n + cpu::kBf16Panel - 1) / cpu::kBf16Panel;
  for (size_t row = 0; row < k; row += kRows) {
    for (size_t panel = 0; panel < all; panel += kPanels) {
      cpu::multiply(
          cpu::Bf16GradientProduct{tokens, k, n, a.data(), a.size() / tokens, dc.data(),
                                   dc.size() / tokens, panels.data(), row, std::min(kRows, k - row),
                                   panel, std::min(kPanels, all - panel), accumulate},
          scratch.data());
    }
  }
}

TEST_F(Bf16, WeightGradientsOfAllShapes) {
  constexpr size_t kWidth = cpu::kBf16Panel;
  for (const size_t tokens : {1U, 2U, 41U, 512U, 513U, 1200U}) {
    for (const size_t n : {1U, 33U, 400U}) {
      for (const size_t k : {5U, 40U, 79U}) {
        const auto a = random_rows(tokens, k, k + 1, 1);
        const auto dc = random_rows(tokens, n, n + 3, 2);
        for (const bool accumulate : {false, true}) {
          const std::vector<float> before = random_floats(n * k, 3);
          std::vector<float> panels(cpu::panels_size(k, n, kWidth));
          cpu::pack_panels(k, n, kWidth, before.data(), panels.data());
          gradient(tokens, n, k, a, dc, accumulate, panels);
          std::vector<float> got(n * k);
          cpu::unpack_panels(k, n, kWidth, panels.data(), got.data());
          for (size_t j = 0; j < n; ++j) {
            for (size_t i = 0; i < k; ++i) {
              double sum = accumulate ? static_cast<double>(before[j * k + i]) : 0.0;
              for (size_t t = 0; t < tokens; ++t) {
                sum += value_of(a[t * (k + 1) + i]) * value_of(dc[t * (n + 3) + j]);
              }
              ASSERT_NEAR(static_cast<double>(got[j * k + i]), sum, 4e-4)
                  << "tokens " << tokens << " n " << n << " k " << k;
            }
          }
          // What fills up the last panel is zero, and stays so.
          for (size_t i = 0; i < k; ++i) {
            for (size_t j = n % kWidth; j != 0 && j < kWidth; ++j) {
              ASSERT_EQ(panels[n / kWidth * kWidth * k + i * kWidth + j], 0.0F);
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace bertrand::test

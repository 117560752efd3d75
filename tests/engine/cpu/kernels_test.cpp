// Each fused operation against a plain f64 version, and each derivative against differences of that
// version, on every instruction set this machine has.
#include "engine/cpu/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "base/random.h"
#include "instruction_sets.h"
#include "oracle.h"

namespace bertrand::test {
namespace {

/// Runs a test once for each instruction set.
class Kernels : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

INSTANTIATE_TEST_SUITE_P(All, Kernels, testing::ValuesIn(instruction_sets()),
                         [](const auto& set) { return std::string(hwy::TargetName(set.param)); });

constexpr size_t kWidths[] = {1, 5, 16, 37, 64, 384};

TEST_P(Kernels, GeluAndItsDerivative) {
  for (const bool tanh_form : {false, true}) {
    std::vector<float> x;
    for (double value = -12; value <= 12; value += 0.0137) {
      x.push_back(static_cast<float>(value));
    }
    const std::vector<float> bias(x.size(), 0.25F);
    std::vector<float> y(x.size());
    cpu::bias_gelu(tanh_form, x.size(), bias.data(), x.data(), {y.data(), nullptr});
    std::vector<float> slopes = x;
    std::vector<float> same(x.size());
    cpu::bias_gelu_with_slope(tanh_form, x.size(), bias.data(), slopes.data(),
                              {same.data(), nullptr});
    EXPECT_EQ(same, y);
    for (size_t i = 0; i < x.size(); ++i) {
      auto at = static_cast<double>(x[i]) + 0.25;
      ASSERT_NEAR(static_cast<double>(y[i]), gelu_oracle(at, tanh_form),
                  2e-7 + 3e-7 * std::abs(at));
      const double expected = slope([&] { return gelu_oracle(at, tanh_form); }, at);
      // f32 knows 1 + tanh to 1e-7; times x and the inner slope that is up to 2e-6 here
      ASSERT_NEAR(static_cast<double>(slopes[i]), expected, 3e-6) << "x " << at;
    }
  }
}

TEST_P(Kernels, LayerNormAndItsDerivative) {
  for (const size_t columns : kWidths) {
    const auto x = random_floats(columns, 1);
    const auto bias = random_floats(columns, 2);
    const auto mask = random_floats(columns, 3);
    const auto residual = random_floats(columns, 4);
    const auto gamma = random_floats(columns, 5);
    const auto beta = random_floats(columns, 6);
    std::vector<float> normalized(columns);
    std::vector<float> y(columns);
    const float rstd =
        cpu::layer_norm(columns, x.data(), bias.data(), mask.data(), residual.data(), gamma.data(),
                        beta.data(), 1e-3F, normalized.data(), {y.data(), nullptr});
    Doubles s(columns);
    for (size_t i = 0; i < columns; ++i) {
      s[i] =
          static_cast<double>(residual[i]) +
          static_cast<double>(mask[i]) * (static_cast<double>(x[i]) + static_cast<double>(bias[i]));
    }
    const auto dy = random_floats(columns, 7);
    const auto loss = [&] {
      const Doubles result = layer_norm_oracle(s, widen(gamma), widen(beta), 1e-3);
      double sum = 0;
      for (size_t i = 0; i < columns; ++i) {
        sum += result[i] * static_cast<double>(dy[i]);
      }
      return sum;
    };
    std::vector<float> dx(columns);
    std::vector<float> dgamma(columns, 1.0F);
    std::vector<float> dbeta(columns, 1.0F);
    cpu::layer_norm_backward(columns, dy.data(), normalized.data(), rstd, gamma.data(), dx.data(),
                             dgamma.data(), dbeta.data());
    const Doubles expected = layer_norm_oracle(s, widen(gamma), widen(beta), 1e-3);
    for (size_t i = 0; i < columns; ++i) {
      ASSERT_NEAR(static_cast<double>(y[i]), expected[i], 2e-5);
      ASSERT_NEAR(static_cast<double>(dx[i]), slope(loss, s[i]), 2e-4) << columns;
      ASSERT_NEAR(dgamma[i], 1 + dy[i] * normalized[i], 1e-5);
      ASSERT_NEAR(dbeta[i], 1 + dy[i], 1e-5);
    }
  }
}

TEST_P(Kernels, SoftmaxAndItsDerivative) {
  for (const size_t columns : {1U, 3U, 16U, 29U, 130U}) {
    const size_t padded = (columns + 15) / 16 * 16;
    auto x = random_floats(padded, 1, 5);
    Doubles wide = widen(x);
    wide.resize(columns);
    const auto softmax = [&] {
      double sum = 0;
      for (const double value : wide) {
        sum += std::exp(value);
      }
      Doubles p(columns);
      for (size_t i = 0; i < columns; ++i) {
        p[i] = std::exp(wide[i]) / sum;
      }
      return std::pair(p, std::log(sum));
    };
    auto dropped = x;
    constexpr float kFactor = 0.25F;
    for (float& value : x) {
      value /= kFactor;
    }
    const auto [power_sum, log_sum] = cpu::softmax_powers(columns, padded, kFactor, x.data());
    for (float& power : x) {
      power /= power_sum;
    }
    const auto [p, expected_log_sum] = softmax();
    ASSERT_NEAR(static_cast<double>(log_sum), expected_log_sum, 1e-5);
    const auto mask = random_floats(padded, 2);
    const auto dy = random_floats(columns, 3);
    const auto loss = [&] {
      const Doubles now = softmax().first;
      double sum = 0;
      for (size_t i = 0; i < columns; ++i) {
        sum += now[i] * static_cast<double>(mask[i]) * static_cast<double>(dy[i]);
      }
      return sum;
    };
    float mean = 0;
    for (size_t i = 0; i < columns; ++i) {
      ASSERT_NEAR(static_cast<double>(x[i]), p[i], 1e-6);
      mean += x[i] * mask[i] * dy[i];
    }
    auto dp = dy;
    dp.resize(padded);
    cpu::softmax_backward(columns, padded, log_sum, mask.data(), mean, dropped.data(), dp.data());
    for (size_t i = 0; i < columns; ++i) {
      ASSERT_NEAR(static_cast<double>(dp[i]), slope(loss, wide[i]), 3e-6);
      ASSERT_NEAR(dropped[i], x[i] * mask[i], 2e-6F);
    }
    for (size_t i = columns; i < padded; ++i) {
      ASSERT_EQ(x[i], 0);
      ASSERT_EQ(dropped[i], 0);
      ASSERT_EQ(dp[i], 0);
    }
  }
}

TEST_P(Kernels, SoftmaxOfHugeScoresStaysFinite) {
  std::vector<float> x = {1e4F, -1e4F, 1e4F, 0};
  x.resize(16);
  const auto [sum, log_sum_exp] = cpu::softmax_powers(4, 16, /*factor=*/0.5F, x.data());
  EXPECT_NEAR(log_sum_exp, 5e3F + std::log(2.0F), 1e-2F);
  EXPECT_FLOAT_EQ(sum, 2);
  EXPECT_FLOAT_EQ(x[0], 1);
  EXPECT_EQ(x[1], 0);
}

/// Broken weights must not look like an answer.
TEST_P(Kernels, SoftmaxOfNotANumberIsNone) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const size_t columns : {1U, 9U, 16U}) {
    std::vector<float> x(16, 0.5F);
    x[columns - 1] = nan;
    EXPECT_TRUE(std::isnan(cpu::softmax_powers(columns, 16, /*factor=*/1, x.data()).sum))
        << columns;
    std::vector<float> p(16, nan);
    std::vector<float> dp(16);
    cpu::softmax_backward(columns, 16, /*log_sum_exp=*/0.0F, /*mask=*/nullptr, /*mean=*/0.0F,
                          p.data(), dp.data());
    EXPECT_TRUE(std::isnan(p[columns - 1])) << columns;
  }
}

TEST_P(Kernels, RowsAreCopiedAndTurnedRound) {
  for (const size_t rows : {1U, 4U, 7U, 33U}) {
    for (const size_t columns : {1U, 3U, 16U, 27U, 64U}) {
      const size_t stride = columns + 3;
      const auto from = random_floats(rows * stride, 1);
      const size_t padded = columns + 5;
      const size_t to_stride = padded + 2;
      std::vector<float> copied(rows * to_stride, 9.0F);
      cpu::copy_rows(rows, columns, 3.0F, from.data(), stride, copied.data(), to_stride, padded);
      const size_t padded_rows = rows + 6;
      std::vector<float> turned(columns * padded_rows, 9.0F);
      cpu::transpose(rows, columns, from.data(), stride, turned.data(), padded_rows);
      for (size_t row = 0; row < padded_rows; ++row) {
        for (size_t column = 0; column < to_stride; ++column) {
          const bool is_value = row < rows && column < columns;
          const float value = is_value ? from[row * stride + column] : 0.0F;
          if (row < rows) {
            ASSERT_EQ(copied[row * to_stride + column], column < padded ? 3 * value : 9.0F);
          }
          if (column < columns) {
            ASSERT_EQ(turned[column * padded_rows + row], value);
          }
        }
      }
    }
  }
}

TEST_P(Kernels, SmallProducts) {
  for (const size_t m : {1U, 4U, 6U, 13U, 48U}) {
    for (const size_t n : {16U, 32U, 48U, 176U}) {
      for (const size_t k : {1U, 7U, 32U}) {
        const auto a = random_floats(m * k, 1);
        const auto b = random_floats(k * n, 2);
        for (const bool transposed : {false, true}) {
          auto c = random_floats(m * n, 3);
          const auto before = c;
          cpu::small_multiply({m, n, k, a.data(), transposed ? 1 : k, transposed ? m : 1, b.data(),
                               n, c.data(), n, /*accumulate=*/transposed});
          for (size_t i = 0; i < m; ++i) {
            for (size_t j = 0; j < n; ++j) {
              double sum = transposed ? static_cast<double>(before[i * n + j]) : 0.0;
              for (size_t l = 0; l < k; ++l) {
                const float factor = transposed ? a[l * m + i] : a[i * k + l];
                sum += static_cast<double>(factor) * static_cast<double>(b[l * n + j]);
              }
              ASSERT_NEAR(static_cast<double>(c[i * n + j]), sum, 1e-4);
            }
          }
        }
      }
    }
  }
}

TEST_P(Kernels, RowsOfSumsAndProducts) {
  for (const size_t columns : kWidths) {
    const auto x = random_floats(columns, 1);
    const auto mask = random_floats(columns, 2);
    auto y = random_floats(columns, 3);
    const auto before = y;
    std::vector<float> masked(columns);
    std::vector<float> sums(columns, 1);
    cpu::mask_and_sum(columns, x.data(), mask.data(), {masked.data(), nullptr}, sums.data());
    cpu::add_scaled(columns, 2, x.data(), y.data());
    auto biased = x;
    cpu::add_bias(1, columns, mask.data(), biased.data(), columns);
    double dot = 0;
    double squares = 0;
    for (size_t i = 0; i < columns; ++i) {
      ASSERT_FLOAT_EQ(masked[i], x[i] * mask[i]);
      ASSERT_FLOAT_EQ(sums[i], 1 + x[i] * mask[i]);
      ASSERT_NEAR(y[i], before[i] + 2 * x[i], 1e-5);
      ASSERT_FLOAT_EQ(biased[i], x[i] + mask[i]);
      dot += static_cast<double>(x[i]) * static_cast<double>(mask[i]);
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    ASSERT_NEAR(static_cast<double>(cpu::dot(columns, x.data(), mask.data())), dot, 1e-4);
    ASSERT_NEAR(cpu::sum_of_squares(columns, x.data()), squares, 1e-9);
  }
}

TEST_P(Kernels, DropoutMaskIsPhiloxHoweverItIsMade) {
  const DropoutKey key = make_dropout_key(1, 2, 3, DropoutSite::attention, 0.25);
  constexpr uint64_t kWindow = 0x123456789ABULL;
  constexpr uint32_t kPlace = 77;
  std::vector<float> mask(2 * kDropoutGroup);
  cpu::dropout_mask(key, kWindow, kPlace, mask.size(), mask.data());
  for (size_t i = 0; i < mask.size(); ++i) {
    const size_t in_group = i % kDropoutGroup;
    const auto bits =
        Philox::generate({static_cast<uint32_t>(i / kDropoutGroup * 16 + in_group % 16), kPlace,
                          static_cast<uint32_t>(kWindow), static_cast<uint32_t>(kWindow >> 32)},
                         {key.words[0], key.words[1]});
    const uint32_t word = bits[in_group / 32];
    const uint32_t half = in_group / 16 % 2 == 0 ? word & 0xFFFFU : word >> 16;
    ASSERT_EQ(mask[i], half < 16384 ? 0.0F : 4.0F / 3.0F) << i;
  }
}

TEST_P(Kernels, DropoutMaskIsMadeAgainFromItsBits) {
  const DropoutKey key = make_dropout_key(1, 2, 3, DropoutSite::attention, 0.25);
  for (const size_t columns : {size_t{1}, size_t{100}, size_t{128}, size_t{300}}) {
    constexpr uint8_t kUntouched = 0xA5;
    std::vector<uint8_t> kept(cpu::dropout_bytes(columns) + 1, kUntouched);
    std::vector<float> mask(cpu::dropout_columns(columns));
    cpu::dropout_mask(key, /*window=*/5, /*place=*/6, columns, mask.data(), kept.data());
    EXPECT_EQ(kept.back(), kUntouched);
    for (size_t i = 0; i < columns; ++i) {
      ASSERT_EQ(kept[i / 8] >> i % 8 & 1, mask[i] != 0 ? 1 : 0) << i;
    }
    std::vector<float> again(mask.size());
    cpu::dropout_mask_again(kept.data(), key.scale, columns, again.data());
    for (size_t i = 0; i < columns; ++i) {
      ASSERT_EQ(again[i], mask[i]) << i;
    }
  }
}

TEST_P(Kernels, DropoutDropsItsShare) {
  const DropoutKey key = make_dropout_key(9, 0, 0, DropoutSite::embeddings, 0.1);
  std::vector<float> mask(1 << 16);
  cpu::dropout_mask(key, 5, 6, mask.size(), mask.data());
  const auto dropped = static_cast<double>(std::count(mask.begin(), mask.end(), 0.0F));
  EXPECT_NEAR(dropped / static_cast<double>(mask.size()), 0.1, 0.006);  // five deviations
}

TEST_P(Kernels, Bf16RoundsToNearestEven) {
  const std::vector<float> x = {1.0F,
                                -2.5F,
                                0.0F,
                                1.0F + 0x1p-8F,      // half way: to even, down
                                1.0F + 3 * 0x1p-8F,  // half way: to even, up
                                1.0F + 0x1p-8F + 0x1p-20F,
                                3.0e38F};
  std::vector<uint16_t> y(x.size());
  cpu::to_bf16(x.size(), x.data(), y.data());
  const auto back = [&](size_t i) {
    return std::bit_cast<float>(static_cast<uint32_t>(y[i]) << 16);
  };
  EXPECT_EQ(back(0), 1.0F);
  EXPECT_EQ(back(1), -2.5F);
  EXPECT_EQ(back(2), 0.0F);
  EXPECT_EQ(back(3), 1.0F);
  EXPECT_EQ(back(4), 1.0F + 4 * 0x1p-8F);
  EXPECT_EQ(back(5), 1.0F + 2 * 0x1p-8F);
  EXPECT_NEAR(back(6), 3.0e38F, 2e36F);
}

TEST_P(Kernels, Bf16KeepsWhatIsNoNumber) {
  for (const uint32_t bits : {0x7F800001U, 0x7FFFFFFFU, 0xFF800001U, 0xFFFFFFFFU}) {
    const std::vector<float> x(37, std::bit_cast<float>(bits));
    std::vector<uint16_t> y(x.size());
    cpu::to_bf16(x.size(), x.data(), y.data());
    for (const uint16_t half : y) {
      ASSERT_TRUE(std::isnan(std::bit_cast<float>(static_cast<uint32_t>(half) << 16))) << bits;
    }
  }
  const std::vector<float> infinite = {std::numeric_limits<float>::infinity(),
                                       -std::numeric_limits<float>::infinity()};
  std::vector<uint16_t> y(2);
  cpu::to_bf16(2, infinite.data(), y.data());
  EXPECT_EQ(y, (std::vector<uint16_t>{0x7F80, 0xFF80}));
}

/// What is written rounded is what is written as f32, rounded.
TEST_P(Kernels, RowsGoWhereTheyAreWanted) {
  using Write = std::function<void(size_t columns, cpu::RowTarget)>;
  const auto x = random_floats(384, 1);
  const auto gamma = random_floats(384, 2);
  std::vector<float> sums(384);
  std::vector<float> normalized(384);
  auto slopes = x;
  const Write writes[] = {[&](size_t columns, cpu::RowTarget to) {
                            cpu::bias_gelu(false, columns, nullptr, x.data(), to);
                          },
                          [&](size_t columns, cpu::RowTarget to) {
                            slopes = x;
                            cpu::bias_gelu_with_slope(false, columns, nullptr, slopes.data(), to);
                          },
                          [&](size_t columns, cpu::RowTarget to) {
                            cpu::mask_and_sum(columns, x.data(), gamma.data(), to, sums.data());
                          },
                          [&](size_t columns, cpu::RowTarget to) {
                            cpu::layer_norm(columns, x.data(), nullptr, nullptr, nullptr,
                                            gamma.data(), x.data(), 1e-3F, normalized.data(), to);
                          }};
  for (const Write& write : writes) {
    for (const size_t columns : kWidths) {
      std::vector<float> f32(columns);
      std::vector<float> f32_of_both(columns);
      std::vector<uint16_t> expected(columns);
      std::vector<uint16_t> bf16(columns + 1, 77);
      std::vector<uint16_t> bf16_of_both(columns);
      write(columns, {f32.data(), nullptr});
      cpu::to_bf16(columns, f32.data(), expected.data());
      write(columns, {nullptr, bf16.data()});
      write(columns, {f32_of_both.data(), bf16_of_both.data()});
      EXPECT_EQ(bf16.back(), 77) << "written past the row";
      bf16.pop_back();
      EXPECT_EQ(bf16, expected);
      EXPECT_EQ(bf16_of_both, expected);
      EXPECT_EQ(f32_of_both, f32);
    }
  }
}

TEST_P(Kernels, AdamIsTheFormula) {
  const size_t count = 37;
  const auto gradient = random_floats(count, 1);
  auto m = random_floats(count, 2);
  std::vector<float> v(count, 0.3F);
  auto values = random_floats(count, 3);
  const auto m0 = m;
  const auto v0 = v;
  const auto values0 = values;
  const cpu::AdamStep step{0.5F, 0.9F, 0.99F, 1e-3F, 0.01F, 2.0F, 0.1F};
  cpu::adam(count, step, gradient.data(), m.data(), v.data(), values.data());
  for (size_t i = 0; i < count; ++i) {
    const double g = 0.5 * static_cast<double>(gradient[i]);
    const double first = 0.9 * static_cast<double>(m0[i]) + 0.1 * g;
    const double second = 0.99 * static_cast<double>(v0[i]) + 0.01 * g * g;
    ASSERT_NEAR(static_cast<double>(m[i]), first, 1e-6);
    ASSERT_NEAR(static_cast<double>(v[i]), second, 1e-6);
    ASSERT_NEAR(
        static_cast<double>(values[i]),
        static_cast<double>(values0[i]) * 0.9 - 0.01 * first / (2 * std::sqrt(second) + 1e-3),
        1e-6);
  }
}

}  // namespace
}  // namespace bertrand::test

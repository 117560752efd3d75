#include "checkpoint/tensor.h"

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename Number>
std::vector<float> read(DataType type, const std::vector<Number>& numbers) {
  const auto bytes = std::as_bytes(std::span(numbers));
  std::vector<float> values(bytes.size() / size_of(type));
  to_f32({"x", type, {static_cast<int64_t>(values.size())}, bytes}, values);
  return values;
}

std::vector<uint16_t> round_to(DataType type, const std::vector<float>& values) {
  std::vector<uint16_t> numbers(values.size());
  from_f32(values, type, std::as_writable_bytes(std::span(numbers)));
  return numbers;
}

/// What 16 bits with this many mantissa bits stand for, by the definition of IEEE 754.
double meaning(uint16_t bits, int mantissa_bits) {
  const int exponent_bits = 15 - mantissa_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7fff) >> mantissa_bits;
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
  }
  return exponent == 0
             ? sign * std::ldexp(mantissa, 1 - bias - mantissa_bits)
             : sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

struct Format {
  DataType type;
  int mantissa_bits;
};
constexpr Format kFormats[] = {{DataType::f16, 10}, {DataType::bf16, 7}};

TEST(ToF32, IsExactForEveryNumberOf16Bits) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<uint16_t>(i);
  }
  for (const Format& format : kFormats) {
    const std::vector<float> values = read(format.type, all);
    for (size_t i = 0; i < all.size(); ++i) {
      const double expected = meaning(all[i], format.mantissa_bits);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(values[i])) << i;
      } else {
        ASSERT_EQ(static_cast<double>(values[i]), expected) << i;
        ASSERT_EQ(std::signbit(values[i]), std::signbit(expected)) << i;
      }
    }
    const std::vector<uint16_t> back = round_to(format.type, values);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!std::isnan(values[i])) {
        ASSERT_EQ(back[i], all[i]) << name_of(format.type);
      }
    }
  }
}

/// Every boundary between two numbers of 16 bits, and the f32 values beside it.
TEST(FromF32, RoundsToNearestEven) {
  for (const Format& format : kFormats) {
    const auto infinity = round_to(format.type, {kInfinity})[0];
    for (uint16_t low = 0; low < infinity; ++low) {
      const auto high = static_cast<uint16_t>(low + 1);
      // Past the largest number, the boundary is where the next one would be.
      const double above = high == infinity
                               ? 2 * meaning(low, format.mantissa_bits) -
                                     meaning(static_cast<uint16_t>(low - 1), format.mantissa_bits)
                               : meaning(high, format.mantissa_bits);
      const auto middle = static_cast<float>((meaning(low, format.mantissa_bits) + above) / 2);
      const uint16_t even = low % 2 == 0 ? low : high;
      const std::vector<float> values = {std::nextafter(middle, -1.0F), middle,
                                         std::nextafter(middle, kInfinity), -middle};
      ASSERT_THAT(round_to(format.type, values),
                  ElementsAre(low, even, high, static_cast<uint16_t>(even | 0x8000)))
          << name_of(format.type) << " " << low;
    }
  }
}

TEST(FromF32, KeepsWhatIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float small_nan = std::bit_cast<float>(0x7f800001U);
  EXPECT_THAT(round_to(DataType::f16, {kInfinity, -kInfinity, 65520, 3e38F}),
              ElementsAre(0x7c00, 0xfc00, 0x7c00, 0x7c00));
  EXPECT_THAT(round_to(DataType::bf16, {kInfinity, -kInfinity}), ElementsAre(0x7f80, 0xff80));
  for (const Format& format : kFormats) {
    for (const float value : read(format.type, round_to(format.type, {nan, -nan, small_nan}))) {
      EXPECT_TRUE(std::isnan(value));
    }
  }
}

TEST(FromF32, RoundsTheSmallestF32ToZero) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_THAT(round_to(DataType::f16, {tiny, -tiny, 1e-38F, 0.0F, -0.0F}),
              ElementsAre(0, 0x8000, 0, 0, 0x8000));
}

TEST(ToF32, RoundsF64AndCopiesF32) {
  EXPECT_THAT(read(DataType::f64, std::vector<double>{0.1, 1e300, -0.0}),
              ElementsAre(0.1F, kInfinity, -0.0F));
  EXPECT_THAT(read(DataType::f32, std::vector<float>{0.1F, -3}), ElementsAre(0.1F, -3));
  EXPECT_TRUE(read(DataType::f32, std::vector<float>{}).empty());
}

TEST(ToF32, ReadsBytesThatAreNotAligned) {
  std::string bytes = std::string("?").append(test::bytes_of(std::vector<float>{1.5F, -2.25F}));
  std::vector<float> values(2);
  to_f32({"x", DataType::f32, {2}, test::as_bytes(bytes).subspan(1)}, values);
  EXPECT_THAT(values, ElementsAre(1.5F, -2.25F));
  bytes = std::string("?").append(test::bytes_of(std::vector<uint16_t>{0x3c00, 0xc000}));
  to_f32({"x", DataType::f16, {2}, test::as_bytes(bytes).subspan(1)}, values);
  EXPECT_THAT(values, ElementsAre(1.0F, -2.0F));
}

TEST(ToF32, NamesTheTensorOfWholeNumbers) {
  EXPECT_THAT(test::error_of(3, [] { read(DataType::i64, std::vector<int64_t>{1}); }),
              HasSubstr("\"x\" holds I64"));
  EXPECT_THAT(test::error_of(3, [] { read(DataType::boolean, std::vector<char>{1}); }),
              HasSubstr("\"x\" holds BOOL"));
}

TEST(ToF32, RefusesAnotherNumberOfValues) {
  const std::vector<float> numbers = {1, 2, 3};
  std::vector<float> values(2);
  EXPECT_THAT(
      test::error_of(1,
                     [&] {
                       to_f32({"x", DataType::f32, {3}, std::as_bytes(std::span(numbers))}, values);
                     }),
      HasSubstr("\"x\" holds 3 values where 2"));
}

TEST(DataTypes, HaveSizesAndNames) {
  EXPECT_EQ(size_of(DataType::f64), 8U);
  EXPECT_EQ(size_of(DataType::f32), 4U);
  EXPECT_EQ(size_of(DataType::bf16), 2U);
  EXPECT_EQ(size_of(DataType::i64), 8U);
  EXPECT_EQ(size_of(DataType::boolean), 1U);
  EXPECT_EQ(name_of(DataType::f16), "F16");
  EXPECT_EQ(name_of(DataType::u8), "U8");
  EXPECT_EQ(size_of(DataType::c128), 16U);
  EXPECT_EQ(name_of(DataType::c128), "C128");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(MakeRoom, TellsForWhatThereIsNoMemory) {
  std::vector<std::byte> buffer(3);
  EXPECT_THAT(test::error_of(1, [&] { make_room(buffer, size_t{1} << 60, "x.pt: tensor \"a\""); }),
              HasSubstr("x.pt: tensor \"a\": to read it takes 1152921504606846976 bytes"));
  make_room(buffer, 5, "x.pt");
  EXPECT_EQ(buffer.size(), 5U);
}
#endif

}  // namespace
}  // namespace bertrand

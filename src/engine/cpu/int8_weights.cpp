// Weights to 8-bit numbers. The loops below have no branches, so that compilers make vector code of
// them for any processor.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/cpu/int8.h"

namespace bertrand::cpu {
namespace {

constexpr int32_t kMost = 127;   // a row's largest number
constexpr size_t kPiece = 1024;  // numbers that are made at once; whole groups of four

/// The bits of the largest magnitude, which compare as the magnitudes do; those of infinity and NaN
/// are above all finite ones'.
int32_t largest_bits(size_t count, const float* x) {
  int32_t most = 0;
  for (size_t i = 0; i < count; ++i) {
    most = std::max(most, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  }
  return most;
}

/// As std::lround does: halves go away from zero.
int32_t round_half_away(float x) {
  const auto whole = static_cast<int32_t>(x);
  const float rest = x - static_cast<float>(whole);
  return whole + static_cast<int32_t>(rest >= 0.5F) - static_cast<int32_t>(rest <= -0.5F);
}

/// Numbers [first, first + count) of one column go to its place in the panel, four at a time.
void put(size_t first, size_t count, const int8_t* numbers, int8_t* column) {
  int8_t* to = column + first * kInt8Panel;
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    std::memcpy(to + i * kInt8Panel, numbers + i, 4);
  }
  std::memcpy(to + i * kInt8Panel, numbers + i, count - i);
}

}  // namespace

void Int8Weights::reserve(size_t new_n, size_t new_k) {
  n = new_n;
  k = new_k;
  const size_t columns = (n + kInt8Panel - 1) / kInt8Panel * kInt8Panel;
  panels.reserve_zeroed(columns * ((k + 3) / 4 * 4));
  scales.assign(n, 0.0F);
  sums.assign(n, 0);
}

int8_t* Int8Weights::column(size_t row) {
  const size_t depth = (k + 3) / 4 * 4;
  return panels.data() + row / kInt8Panel * kInt8Panel * depth + row % kInt8Panel * 4;
}

void Int8Weights::set_row(size_t row, const float* values) {
  constexpr int32_t kInfinity = 0x7f800000;
  const int32_t bits = largest_bits(k, values);
  const auto most = std::bit_cast<float>(bits);
  scales[row] = bits < kInfinity ? most / kMost : NAN;
  const float inverse = bits > 0 && bits < kInfinity ? kMost / most : 0.0F;
  const bool has_numbers = inverse > 0 && std::isfinite(inverse);
  std::array<int8_t, kPiece> numbers = {};
  sums[row] = 0;
  for (size_t first = 0; first < k; first += kPiece) {
    const size_t count = std::min(kPiece, k - first);
    int32_t sum = 0;
    for (size_t i = 0; has_numbers && i < count; ++i) {
      const int32_t number = round_half_away(values[first + i] * inverse);
      numbers[i] = static_cast<int8_t>(number);
      sum += number;
    }
    sums[row] += sum;
    put(first, count, numbers.data(), column(row));
  }
}

void Int8Weights::set_row(size_t row, const int8_t* numbers, float factor) {
  int32_t most = 0;
  int32_t sum = 0;
  for (size_t i = 0; i < k; ++i) {
    most = std::max(most, std::abs(static_cast<int32_t>(numbers[i])));
    sum += numbers[i];
  }
  // Where the largest is 127, rounding number * factor again gives the numbers: the errors of the
  // three operations are far below a half. Not where a factor is next to what f32 can hold.
  if (most == kMost && factor > 1e-30F && factor < 1e30F) {
    scales[row] = kMost * factor / kMost;
    sums[row] = sum;
    put(/*first=*/0, k, numbers, column(row));
    return;
  }
  std::vector<float> values(k);
  std::transform(numbers, numbers + k, values.begin(),
                 [&](int8_t number) { return static_cast<float>(number) * factor; });
  set_row(row, values.data());
}

}  // namespace bertrand::cpu

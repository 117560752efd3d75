// Weights to 8-bit numbers. The loops below have no branches, so that compilers make vector code of
// them for any processor.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "engine/cpu/int8.h"
#include "model/int8.h"

namespace bertrand::cpu {
namespace {

constexpr int32_t kMost = 127;   // a row's largest number
constexpr size_t kPiece = 1024;  // numbers that are made at once; whole groups of four

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
  const Int8Scale scale = Int8Scale::of({values, k});
  const bool has_numbers = scale.inverse > 0;
  scales[row] = scale.scale;
  std::array<int8_t, kPiece> numbers = {};
  sums[row] = 0;
  for (size_t first = 0; first < k; first += kPiece) {
    const size_t count = std::min(kPiece, k - first);
    int32_t sum = 0;
    for (size_t i = 0; has_numbers && i < count; ++i) {
      const int32_t number = scale.round(values[first + i]);
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

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

/// kRows x kVectors of C at (row, column), kept in registers over the whole of k.
template <size_t kRows, size_t kVectors>
HWY_INLINE void tile(const SmallProduct& product, size_t row, size_t column) {
  const hn::CappedTag<float, 16> d;
  using V = hn::Vec<decltype(d)>;
  const size_t lanes = hn::Lanes(d);
  V sums[kRows][kVectors];
  float* c = product.c + row * product.c_stride + column;
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kVectors; ++j) {
      sums[i][j] =
          product.accumulate ? hn::LoadU(d, c + i * product.c_stride + j * lanes) : hn::Zero(d);
    }
  }
  const float* HWY_RESTRICT a = product.a + row * product.a_row;
  const float* HWY_RESTRICT b = product.b + column;
  HWY_UNROLL(kSteps)
  for (size_t k = 0; k < product.k; ++k) {
    V vectors[kVectors];
    for (size_t j = 0; j < kVectors; ++j) {
      vectors[j] = hn::LoadU(d, b + j * lanes);
    }
    for (size_t i = 0; i < kRows; ++i) {
      const V factor = hn::Set(d, a[i * product.a_row]);
      for (size_t j = 0; j < kVectors; ++j) {
        sums[i][j] = hn::MulAdd(factor, vectors[j], sums[i][j]);
      }
    }
    a += product.a_column;
    b += product.b_stride;
  }
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kVectors; ++j) {
      hn::StoreU(sums[i][j], d, c + i * product.c_stride + j * lanes);
    }
  }
}

/// All rows of the columns [column, column + kVectors vectors).
template <size_t kRows, size_t kVectors>
HWY_INLINE void column_of_tiles(const SmallProduct& product, size_t column) {
  size_t row = 0;
  for (; row + kRows <= product.m; row += kRows) {
    tile<kRows, kVectors>(product, row, column);
  }
  for (; row + 4 <= product.m; row += 4) {
    tile<4, kVectors>(product, row, column);
  }
  for (; row < product.m; ++row) {
    tile<1, kVectors>(product, row, column);
  }
}

// 32 registers hold 6 x 4 or 12 x 2 sums; 16 hold 6 x 2.
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kWide = 4;
constexpr size_t kRowsOfTwo = 12;
#else
constexpr size_t kWide = 2;
constexpr size_t kRowsOfTwo = 6;
#endif

void small_multiply(const SmallProduct& product) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  size_t column = 0;
  if constexpr (kWide == 4) {
    for (; column + 4 * lanes <= product.n; column += 4 * lanes) {
      column_of_tiles<6, 4>(product, column);
    }
  }
  for (; column + 2 * lanes <= product.n; column += 2 * lanes) {
    column_of_tiles<kRowsOfTwo, 2>(product, column);
  }
  for (; column < product.n; column += lanes) {
    column_of_tiles<kRowsOfTwo, 1>(product, column);
  }
}

HWY_INLINE void clear(size_t begin, size_t end, float* x) {
  for (size_t i = begin; i < end; ++i) {
    x[i] = 0;
  }
}

PowerSums softmax_powers(size_t columns, size_t padded, float factor, float* x) {
  const Lanes d;
  std::fill(x + columns, x + padded, -std::numeric_limits<float>::infinity());
  auto highest = hn::LoadU(d, x);
  for (size_t i = hn::Lanes(d); i < padded; i += hn::Lanes(d)) {
    highest = hn::Max(highest, hn::LoadU(d, x + i));
  }
  const float most = factor * hn::GetLane(hn::MaxOfLanes(d, highest));
  const float sum = sum_vectors(padded, [&](auto tag, size_t i) {
    const auto scaled = hn::MulSub(hn::LoadU(tag, x + i), hn::Set(tag, factor), hn::Set(tag, most));
    const auto power = exponential(tag, scaled);
    hn::StoreU(power, tag, x + i);
    return power;
  });
  return {sum, most + std::log(sum)};
}

void softmax_backward(size_t columns, size_t padded, float log_sum_exp, const float* mask,
                      float mean, float* x, float* dp) {
  const Lanes d;
  for (size_t i = 0; i < padded; i += hn::Lanes(d)) {
    const auto p = exponential(d, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, log_sum_exp)));
    auto kept = p;
    auto gradient = hn::LoadU(d, dp + i);
    if (mask != nullptr) {
      const auto factor = hn::LoadU(d, mask + i);
      gradient = hn::Mul(gradient, factor);
      kept = hn::Mul(p, factor);
    }
    hn::StoreU(kept, d, x + i);
    hn::StoreU(hn::Mul(p, hn::Sub(gradient, hn::Set(d, mean))), d, dp + i);
  }
  clear(columns, padded, x);
  clear(columns, padded, dp);
}

void copy_rows(size_t rows, size_t columns, float factor, const float* from, size_t from_stride,
               float* to, size_t to_stride, size_t padded) {
  for (size_t row = 0; row < rows; ++row) {
    const float* HWY_RESTRICT in = from + row * from_stride;
    float* HWY_RESTRICT out = to + row * to_stride;
    for_vectors(columns, [&](auto d, size_t i) {
      hn::StoreU(hn::Mul(hn::LoadU(d, in + i), hn::Set(d, factor)), d, out + i);
    });
    clear(columns, padded, out);
  }
}

#if HWY_TARGET == HWY_SCALAR
constexpr size_t kTurned = 1;

HWY_INLINE void turn(const float* from, size_t /*from_stride*/, float* to, size_t /*to_stride*/) {
  *to = *from;
}
#else
constexpr size_t kTurned = 4;

/// A square of 4 x 4 values, turned round.
HWY_INLINE void turn(const float* from, size_t from_stride, float* to, size_t to_stride) {
  const hn::FixedTag<float, kTurned> d;
  const auto row0 = hn::LoadU(d, from);
  const auto row1 = hn::LoadU(d, from + from_stride);
  const auto row2 = hn::LoadU(d, from + 2 * from_stride);
  const auto row3 = hn::LoadU(d, from + 3 * from_stride);
  const auto even_lower = hn::InterleaveLower(d, row0, row2);
  const auto odd_lower = hn::InterleaveLower(d, row1, row3);
  const auto even_upper = hn::InterleaveUpper(d, row0, row2);
  const auto odd_upper = hn::InterleaveUpper(d, row1, row3);
  hn::StoreU(hn::InterleaveLower(d, even_lower, odd_lower), d, to);
  hn::StoreU(hn::InterleaveUpper(d, even_lower, odd_lower), d, to + to_stride);
  hn::StoreU(hn::InterleaveLower(d, even_upper, odd_upper), d, to + 2 * to_stride);
  hn::StoreU(hn::InterleaveUpper(d, even_upper, odd_upper), d, to + 3 * to_stride);
}
#endif

void transpose(size_t rows, size_t columns, const float* from, size_t stride, float* to,
               size_t padded) {
  const size_t whole_rows = rows / kTurned * kTurned;
  const size_t whole_columns = columns / kTurned * kTurned;
  for (size_t row = 0; row < whole_rows; row += kTurned) {
    for (size_t column = 0; column < whole_columns; column += kTurned) {
      turn(from + row * stride + column, stride, to + column * padded + row, padded);
    }
  }
  for (size_t column = 0; column < columns; ++column) {
    for (size_t row = column < whole_columns ? whole_rows : 0; row < rows; ++row) {
      to[column * padded + row] = from[row * stride + column];
    }
    clear(rows, padded, to + column * padded);
  }
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {

HWY_EXPORT(small_multiply);
HWY_EXPORT(softmax_powers);
HWY_EXPORT(softmax_backward);
HWY_EXPORT(copy_rows);
HWY_EXPORT(transpose);

void small_multiply(const SmallProduct& product) { HWY_DYNAMIC_DISPATCH(small_multiply)(product); }

PowerSums softmax_powers(size_t columns, size_t padded, float factor, float* x) {
  return HWY_DYNAMIC_DISPATCH(softmax_powers)(columns, padded, factor, x);
}

void softmax_backward(size_t columns, size_t padded, float log_sum_exp, const float* mask,
                      float mean, float* x, float* dp) {
  HWY_DYNAMIC_DISPATCH(softmax_backward)(columns, padded, log_sum_exp, mask, mean, x, dp);
}

void copy_rows(size_t rows, size_t columns, float factor, const float* from, size_t from_stride,
               float* to, size_t to_stride, size_t padded) {
  HWY_DYNAMIC_DISPATCH(copy_rows)(rows, columns, factor, from, from_stride, to, to_stride, padded);
}

void transpose(size_t rows, size_t columns, const float* from, size_t stride, float* to,
               size_t padded) {
  HWY_DYNAMIC_DISPATCH(transpose)(rows, columns, from, stride, to, padded);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

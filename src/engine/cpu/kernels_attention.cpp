#include <cmath>

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

void exp_shifted(size_t columns, size_t padded, float shift, float* x) {
  for_vectors(columns, [&](auto d, size_t i) {
    hn::StoreU(exponential(d, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, shift))), d, x + i);
  });
  clear(columns, padded, x);
}

float softmax(size_t columns, size_t padded, float* x) {
  float most = x[0];
  const Lanes lanes;
  auto highest = hn::Set(lanes, most);
  size_t i = 0;
  for (; i + hn::Lanes(lanes) <= columns; i += hn::Lanes(lanes)) {
    highest = hn::Max(highest, hn::LoadU(lanes, x + i));
  }
  most = hn::GetLane(hn::MaxOfLanes(lanes, highest));
  for (; i < columns; ++i) {
    most = x[i] > most ? x[i] : most;
  }
  const float sum = sum_vectors(columns, [&](auto d, size_t at) {
    const auto value = exponential(d, hn::Sub(hn::LoadU(d, x + at), hn::Set(d, most)));
    hn::StoreU(value, d, x + at);
    return value;
  });
  const float factor = 1.0F / sum;
  for_vectors(columns, [&](auto d, size_t at) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + at), hn::Set(d, factor)), d, x + at);
  });
  clear(columns, padded, x);
  return most + std::log(sum);
}

void softmax_backward(size_t columns, size_t padded, const float* mask, float mean, float scale,
                      float* p, float* dp) {
  for_vectors(columns, [&](auto d, size_t i) {
    const auto probability = hn::LoadU(d, p + i);
    auto gradient = hn::LoadU(d, dp + i);
    if (mask != nullptr) {
      const auto factor = hn::LoadU(d, mask + i);
      gradient = hn::Mul(gradient, factor);
      hn::StoreU(hn::Mul(probability, factor), d, p + i);
    }
    const auto centred = hn::Sub(gradient, hn::Set(d, mean));
    hn::StoreU(hn::Mul(hn::Mul(probability, hn::Set(d, scale)), centred), d, dp + i);
  });
  clear(columns, padded, dp);
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {

HWY_EXPORT(small_multiply);
HWY_EXPORT(exp_shifted);
HWY_EXPORT(softmax);
HWY_EXPORT(softmax_backward);

void small_multiply(const SmallProduct& product) { HWY_DYNAMIC_DISPATCH(small_multiply)(product); }

void exp_shifted(size_t columns, size_t padded, float shift, float* x) {
  HWY_DYNAMIC_DISPATCH(exp_shifted)(columns, padded, shift, x);
}

float softmax(size_t columns, size_t padded, float* x) {
  return HWY_DYNAMIC_DISPATCH(softmax)(columns, padded, x);
}

void softmax_backward(size_t columns, size_t padded, const float* mask, float mean, float scale,
                      float* p, float* dp) {
  HWY_DYNAMIC_DISPATCH(softmax_backward)(columns, padded, mask, mean, scale, p, dp);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

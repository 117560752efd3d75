#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/cpu/int8.h"
#include "engine/cpu/int8_vnni.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_int8.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

/// Rows of C that are computed at once.
constexpr size_t kTileRows = 6;
static_assert(kTileRows == kVnniRows);

/// Of them at once by 16-bit numbers, whose products take registers of their own.
constexpr size_t kWordRows = 3;
static_assert(kTileRows % kWordRows == 0);

/// Only the widest target may use VNNI, so that tests reach the other way, too.
bool takes_bytes() { return HWY_TARGET <= HWY_AVX3 && has_vnni(); }

struct Range {
  float least, most;
  bool is_finite;
};

/// Of a row and zero.
Range range_of(size_t count, const float* x) {
  const Lanes lanes;
  auto least = hn::Zero(lanes);
  auto most = hn::Zero(lanes);
  auto check = hn::Zero(lanes);  // becomes NaN by NaN and infinity
  Range range = {0, 0, true};
  float rest_check = 0;
  size_t i = 0;
  for (; i + hn::Lanes(lanes) <= count; i += hn::Lanes(lanes)) {
    const auto value = hn::LoadU(lanes, x + i);
    least = hn::Min(least, value);
    most = hn::Max(most, value);
    check = hn::Add(check, hn::Sub(value, value));
  }
  range.least = hn::GetLane(hn::MinOfLanes(lanes, least));
  range.most = hn::GetLane(hn::MaxOfLanes(lanes, most));
  for (; i < count; ++i) {
    range.least = std::min(range.least, x[i]);
    range.most = std::max(range.most, x[i]);
    rest_check += x[i] - x[i];
  }
  range.is_finite = hn::GetLane(hn::SumOfLanes(lanes, check)) + rest_check == 0;
  return range;
}

/// q = round(x * inverse) + zero, as bytes or 16-bit numbers.
template <class Q>
void round_row(size_t count, const float* x, float inverse, int32_t zero, Q* q) {
  for_vectors(count, [&](auto d, size_t i) {
    const hn::RebindToSigned<decltype(d)> integers;
    const hn::Rebind<Q, decltype(d)> narrow;
    const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)));
    const auto shifted = hn::Add(rounded, hn::Set(integers, zero));
    const auto within = hn::Min(hn::Max(shifted, hn::Zero(integers)), hn::Set(integers, 255));
    hn::StoreU(hn::DemoteTo(narrow, within), narrow, q + i);
  });
}

void quantize_row(size_t count, const float* x, uint8_t* q, float* scale, int32_t* zero) {
  const size_t filled = (count + 3) / 4 * 4;
  const Range range = range_of(count, x);
  // Of a smaller scale there would be no finite inverse: such a row counts as zeros.
  constexpr float kLeastRange = 255 * std::numeric_limits<float>::min();
  if (!range.is_finite || range.most - range.least < kLeastRange) {
    *scale = range.is_finite ? 1.0F : NAN;
    *zero = 0;
    std::fill_n(q, 2 * filled, uint8_t{0});
    return;
  }
  *scale = (range.most - range.least) / 255;
  const float inverse = 1 / *scale;
  *zero = static_cast<int32_t>(std::lround(-range.least * inverse));
  const size_t size = takes_bytes() ? 1 : 2;
  if (size == 1) {
    round_row(count, x, inverse, *zero, q);
  } else {
    round_row(count, x, inverse, *zero, reinterpret_cast<int16_t*>(q));
  }
  // What fills the row up meets weights of zero.
  std::fill(q + count * size, q + filled * size, uint8_t{0});
}

struct Exact {
  size_t rows, groups;  ///< groups of four of k
  const uint8_t* a;
  size_t a_stride;
  const int8_t* b;
};

#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

/// sums [kRows, columns] of one panel, `columns` from `column` on: kVectors vectors that each hold
/// two sums of each column. pmaddwd adds neighbours, so no product is lost.
template <size_t kRows, size_t kVectors>
HWY_INLINE void tile_of_words(const Exact& exact, size_t column, int32_t* sums) {
  const hn::CappedTag<int32_t, 16> d;
  const hn::Repartition<int16_t, decltype(d)> words;
  const hn::Rebind<int8_t, decltype(words)> bytes;
  const hn::Repartition<int64_t, decltype(d)> groups;
  using V = hn::Vec<decltype(d)>;
  const size_t columns = hn::Lanes(d) / 2;
  V all[kRows][kVectors];
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kVectors; ++j) {
      all[i][j] = hn::Zero(d);
    }
  }
  V unused = hn::Zero(d);
  const int8_t* HWY_RESTRICT b = exact.b + 4 * column;
  for (size_t group = 0; group < exact.groups; ++group) {
    hn::Vec<decltype(words)> vectors[kVectors];
    for (size_t j = 0; j < kVectors; ++j) {
      vectors[j] = hn::PromoteTo(words, hn::LoadU(bytes, b + 4 * j * columns));
    }
    for (size_t i = 0; i < kRows; ++i) {
      int64_t four;
      hwy::CopyBytes<sizeof four>(exact.a + i * exact.a_stride + group * sizeof four, &four);
      const auto factors = hn::BitCast(words, hn::Set(groups, four));
      for (size_t j = 0; j < kVectors; ++j) {
        all[i][j] = hn::ReorderWidenMulAccumulate(d, factors, vectors[j], all[i][j], unused);
      }
    }
    b += 4 * kInt8Panel;
  }
  for (size_t i = 0; i < kRows; ++i) {
    int32_t* row = sums + i * kInt8Panel + column;
    for (size_t j = 0; j < kVectors; j += 2) {
      const V low = all[i][j];
      const V high = all[i][j + 1];
      hn::StoreU(hn::Add(hn::ConcatEven(d, high, low), hn::ConcatOdd(d, high, low)), d,
                 row + j * columns);
    }
  }
}

template <size_t kRows>
void sums_of_rows(const Exact& exact, int32_t* sums) {
#if HWY_TARGET <= HWY_AVX3
  constexpr size_t kVectors = 4;
#else
  constexpr size_t kVectors = 2;
#endif
  const size_t step = kVectors * hn::Lanes(hn::CappedTag<int32_t, 16>()) / 2;
  for (size_t column = 0; column < kInt8Panel; column += step) {
    tile_of_words<kRows, kVectors>(exact, column, sums);
  }
}

#else

template <size_t kRows>
void sums_of_rows(const Exact& exact, int32_t* sums) {
  for (size_t i = 0; i < kRows; ++i) {
    const auto* a = reinterpret_cast<const int16_t*>(exact.a + i * exact.a_stride);
    for (size_t column = 0; column < kInt8Panel; ++column) {
      int32_t sum = 0;
      for (size_t k = 0; k < 4 * exact.groups; ++k) {
        sum += a[k] * exact.b[k / 4 * 4 * kInt8Panel + 4 * column + k % 4];
      }
      sums[i * kInt8Panel + column] = sum;
    }
  }
}

#endif

/// One row of C: sums to floats. No multiply-add in one, which not every target has: the bits are
/// to be the same.
void finish_row(size_t columns, const int32_t* sums, const int32_t* column_sums, int32_t zero,
                float row_scale, const float* scales, const float* bias, float* c) {
  for_vectors(columns, [&](auto d, size_t i) {
    const hn::RebindToSigned<decltype(d)> integers;
    const auto shift = hn::Mul(hn::LoadU(integers, column_sums + i), hn::Set(integers, zero));
    const auto exact = hn::ConvertTo(d, hn::Sub(hn::LoadU(integers, sums + i), shift));
    const auto scale = hn::Mul(hn::LoadU(d, scales + i), hn::Set(d, row_scale));
    hn::StoreU(hn::Add(hn::Mul(exact, scale), hn::LoadU(d, bias + i)), d, c + i);
  });
}

/// Rows [row, row + count) of one panel's columns.
void panel_rows(const Exact& exact, int32_t* sums) {
  if (takes_bytes()) {
    vnni_sums(exact.rows, exact.groups, exact.a, exact.a_stride, exact.b, sums);
    return;
  }
  size_t row = 0;
  const auto rest = [&] {
    Exact left = exact;
    left.a += row * exact.a_stride;
    return left;
  };
  for (; row + kWordRows <= exact.rows; row += kWordRows) {
    sums_of_rows<kWordRows>(rest(), sums + row * kInt8Panel);
  }
  for (; row < exact.rows; ++row) {
    sums_of_rows<1>(rest(), sums + row * kInt8Panel);
  }
}

void multiply_int8(const Int8Weights& b, size_t m, const uint8_t* a, size_t a_stride,
                   const float* a_scales, const int32_t* a_zeros, const float* bias, float* c,
                   size_t c_stride) {
  const size_t groups = (b.k + 3) / 4;
  HWY_ALIGN int32_t sums[kTileRows * kInt8Panel];
  for (size_t column = 0; column < b.n; column += kInt8Panel) {
    const size_t columns = std::min(kInt8Panel, b.n - column);
    for (size_t row = 0; row < m; row += kTileRows) {
      const size_t rows = std::min(kTileRows, m - row);
      panel_rows(
          {rows, groups, a + row * a_stride, a_stride, b.panels.data() + column * 4 * groups},
          sums);
      for (size_t i = 0; i < rows; ++i) {
        finish_row(columns, sums + i * kInt8Panel, b.sums.data() + column, a_zeros[row + i],
                   a_scales[row + i], b.scales.data() + column, bias + column,
                   c + (row + i) * c_stride + column);
      }
    }
  }
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {

HWY_EXPORT(quantize_row);
HWY_EXPORT(multiply_int8);

void Int8Rows::reserve(size_t rows, size_t columns) {
  // Room for 16-bit numbers: which of the two it will be may change in tests.
  stride_ = padded_stride<uint8_t>(2 * (columns + 3));
  values_.reserve(rows * stride_);
  scales_.reserve(rows);
  zeros_.reserve(rows);
}

void Int8Rows::set_row(size_t row, size_t columns, const float* x) {
  HWY_DYNAMIC_DISPATCH(quantize_row)
  (columns, x, values_.data() + row * stride_, scales_.data() + row, zeros_.data() + row);
}

void multiply(const Int8Product& product) {
  const Int8Rows& a = *product.a;
  HWY_DYNAMIC_DISPATCH(multiply_int8)
  (*product.b, product.m, a.values_.data(), a.stride_, a.scales_.data(), a.zeros_.data(),
   product.bias, product.c, product.c_stride);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

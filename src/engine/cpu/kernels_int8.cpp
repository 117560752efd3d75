#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/cpu/fetcher.h"
#include "engine/cpu/int8.h"
#include "engine/cpu/int8_avx2.h"
#include "engine/cpu/int8_vnni.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_int8.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/int8_simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

/// Rows of C at once by 16-bit numbers, whose products take registers of their own.
constexpr size_t kWordRows = 3;
static_assert(kInt8TileRows % kWordRows == 0);

struct Range {
  float least, most;
  bool is_finite;
};

/// Of a row and zero.
Range range_of(size_t count, const float* x) {
  const Lanes lanes;
  const hn::RebindToSigned<Lanes> integers;
  auto least = hn::Zero(lanes);
  auto most = hn::Zero(lanes);
  auto magnitude = hn::Zero(integers);  // its bits are in the order of the numbers, NaN the last
  Range range = {0, 0, true};
  size_t i = 0;
  for (; i + hn::Lanes(lanes) <= count; i += hn::Lanes(lanes)) {
    const auto value = hn::LoadU(lanes, x + i);
    least = hn::Min(least, value);
    most = hn::Max(most, value);
    magnitude = hn::Max(magnitude, hn::BitCast(integers, hn::Abs(value)));
  }
  range.least = hn::GetLane(hn::MinOfLanes(lanes, least));
  range.most = hn::GetLane(hn::MaxOfLanes(lanes, most));
  constexpr int32_t kInfinity = 0x7F800000;
  range.is_finite = hn::GetLane(hn::MaxOfLanes(integers, magnitude)) < kInfinity;
  for (; i < count; ++i) {
    range.least = std::min(range.least, x[i]);
    range.most = std::max(range.most, x[i]);
    range.is_finite = range.is_finite && std::isfinite(x[i]);
  }
  return range;
}

/// q = round(x * inverse) + zero, as bytes or 16-bit numbers.
template <class Q>
void round_row(size_t count, const float* x, float inverse, int32_t zero, Q* q) {
  for_vectors(count, [&](auto d, size_t i) {
    const hn::RebindToSigned<decltype(d)> integers;
    const hn::Rebind<Q, decltype(d)> narrow;
    const auto nearest = bits_of_nearest(d, hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)));
    const auto shifted = hn::Add(nearest, hn::Set(integers, zero - kWholeBits));
    if constexpr (sizeof(Q) == 1) {
      hn::StoreU(hn::DemoteTo(narrow, shifted), narrow, q + i);  // to 0..255 where it is not
    } else {
      const auto within = hn::Min(hn::Max(shifted, hn::Zero(integers)), hn::Set(integers, 255));
      hn::StoreU(hn::DemoteTo(narrow, within), narrow, q + i);
    }
  });
}

void quantize_row(size_t count, const float* x, float factor, uint8_t* q, float* scale,
                  int32_t* zero) {
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
  const size_t size = takes_bytes(HWY_TARGET) ? 1 : 2;
  if (size == 1) {
    round_row(count, x, inverse, *zero, q);
  } else {
    round_row(count, x, inverse, *zero, reinterpret_cast<int16_t*>(q));
  }
  // What fills the row up meets weights of zero.
  std::fill(q + count * size, q + filled * size, uint8_t{0});
  *scale *= factor;
}

#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

/// sums [kRows, columns] of one panel, `columns` from `column` on: kVectors vectors that each hold
/// two sums of each column. pmaddwd adds neighbours, so no product is lost.
template <size_t kRows, size_t kVectors>
HWY_INLINE void tile_of_words(const Int8Tile& part, size_t column, int32_t* sums) {
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
  const int8_t* HWY_RESTRICT b = part.b + 4 * column;
  for (size_t group = 0; group < part.groups; ++group) {
    hn::Vec<decltype(words)> vectors[kVectors];
    for (size_t j = 0; j < kVectors; ++j) {
      vectors[j] = hn::PromoteTo(words, hn::LoadU(bytes, b + 4 * j * columns));
    }
    for (size_t i = 0; i < kRows; ++i) {
      int64_t four;
      hwy::CopyBytes<sizeof four>(part.a + i * part.a_stride + group * sizeof four, &four);
      const auto factors = hn::BitCast(words, hn::Set(groups, four));
      for (size_t j = 0; j < kVectors; ++j) {
        all[i][j] = hn::ReorderWidenMulAccumulate(d, factors, vectors[j], all[i][j], unused);
      }
    }
    b += part.b_stride;
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
void sums_of_rows(const Int8Tile& part, int32_t* sums) {
#if HWY_TARGET <= HWY_AVX3
  constexpr size_t kVectors = 4;
#else
  constexpr size_t kVectors = 2;
#endif
  const size_t step = kVectors * hn::Lanes(hn::CappedTag<int32_t, 16>()) / 2;
  for (size_t column = 0; column < part.columns; column += step) {
    tile_of_words<kRows, kVectors>(part, column, sums);
  }
}

#else

template <size_t kRows>
void sums_of_rows(const Int8Tile& part, int32_t* sums) {
  for (size_t i = 0; i < kRows; ++i) {
    const auto* a = reinterpret_cast<const int16_t*>(part.a + i * part.a_stride);
    for (size_t column = 0; column < part.columns; ++column) {
      int32_t sum = 0;
      for (size_t k = 0; k < 4 * part.groups; ++k) {
        sum += a[k] * part.b[k / 4 * part.b_stride + 4 * column + k % 4];
      }
      sums[i * kInt8Panel + column] = sum;
    }
  }
}

#endif

/// One row of C: sums to floats. No multiply-add in one, which not every target has: the bits are
/// to be the same, those of vnni_tile, too.
void finish_row(const Int8Tile& part, size_t row, const int32_t* sums) {
  for_vectors(part.columns, [&](auto d, size_t i) {
    const hn::RebindToSigned<decltype(d)> integers;
    const auto zero = hn::Set(integers, part.a_zeros[row]);
    const auto shift = hn::Mul(hn::LoadU(integers, part.b_sums + i), zero);
    const auto exact = hn::ConvertTo(d, hn::Sub(hn::LoadU(integers, sums + i), shift));
    const auto scale = hn::Mul(hn::LoadU(d, part.b_scales + i), hn::Set(d, part.a_scales[row]));
    hn::StoreU(hn::Add(hn::Mul(exact, scale), hn::LoadU(d, part.bias + i)), d,
               part.c + row * part.c_stride + i);
  });
}

void tile_by_words(const Int8Tile& part) {
  HWY_ALIGN int32_t sums[kInt8TileRows * kInt8Panel];
  size_t row = 0;
  const auto rest = [&] {
    Int8Tile left = part;
    left.a += row * part.a_stride;
    return left;
  };
  for (; row + kWordRows <= part.rows; row += kWordRows) {
    sums_of_rows<kWordRows>(rest(), sums + row * kInt8Panel);
  }
  for (; row < part.rows; ++row) {
    sums_of_rows<1>(rest(), sums + row * kInt8Panel);
  }
  for (row = 0; row < part.rows; ++row) {
    finish_row(part, row, sums + row * kInt8Panel);
  }
}

/// A that is rounded, as multiply_int8 takes it.
struct RoundedRows {
  const uint8_t* values;
  size_t stride;  // bytes
  const float* scales;
  const int32_t* zeros;
};

/// Rows from `row` on, at most kInt8TileRows, times the columns [column, column + columns) of one
/// panel.
Int8Tile tile_of(const Int8Product& product, const RoundedRows& a, size_t row, size_t column,
                 size_t columns) {
  const Int8Columns& b = product.b;
  const size_t groups = (b.k + 3) / 4;
  const size_t panel = column / kInt8Panel * kInt8Panel;
  return {std::min(kInt8TileRows, product.m - row),
          columns,
          groups,
          a.values + row * a.stride,
          a.stride,
          a.scales + row,
          a.zeros + row,
          b.panels + panel * 4 * groups + (column - panel) * 4,
          4 * b.width,
          b.scales + column,
          b.sums + column,
          product.bias + column,
          product.c + row * product.c_stride + column,
          product.c_stride};
}

#if HWY_TARGET == HWY_AVX2

/// All rows go over a few columns of B, which stay in the first-level cache meanwhile.
void multiply_int8(const Int8Product& product, const uint8_t* values, size_t stride,
                   const float* scales, const int32_t* zeros) {
  const RoundedRows a = {values, stride, scales, zeros};
  const size_t n = product.b.n;
  const size_t tiles = (product.m + kInt8TileRows - 1) / kInt8TileRows;
  for (size_t column = 0; column < n; column += kAvx2Slice) {
    const size_t columns = std::min(kAvx2Slice, n - column);
    const size_t whole = columns / kAvx2Columns * kAvx2Columns;
    Fetcher<int8_t> next;
    if (column + columns < n) {
      const Int8Tile first = tile_of(product, a, /*row=*/0, column + columns, kAvx2Slice);
      next = {first.b, first.groups, 4 * kAvx2Slice, first.b_stride, tiles};
    }
    for (size_t row = 0; row < product.m; row += kInt8TileRows) {
      next.fetch();
      if (whole > 0) {
        avx2_tile(tile_of(product, a, row, column, whole));
      }
      if (whole < columns) {
        tile_by_words(tile_of(product, a, row, column + whole, columns - whole));
      }
    }
  }
}

#else

void multiply_int8(const Int8Product& product, const uint8_t* values, size_t stride,
                   const float* scales, const int32_t* zeros) {
  const RoundedRows a = {values, stride, scales, zeros};
  for (size_t column = 0; column < product.b.n; column += kInt8Panel) {
    const size_t columns = std::min(kInt8Panel, product.b.n - column);
    for (size_t row = 0; row < product.m; row += kInt8TileRows) {
      const Int8Tile part = tile_of(product, a, row, column, columns);
      if (takes_bytes(HWY_TARGET)) {
        vnni_tile(part);
      } else {
        tile_by_words(part);
      }
    }
  }
}

#endif

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

void Int8Rows::set_row(size_t row, size_t columns, const float* x, float factor) {
  HWY_DYNAMIC_DISPATCH(quantize_row)
  (columns, x, factor, values_.data() + row * stride_, scales_.data() + row, zeros_.data() + row);
}

void multiply(const Int8Product& product) {
  const Int8Rows& a = *product.a;
  HWY_DYNAMIC_DISPATCH(multiply_int8)
  (product, a.values_.data(), a.stride_, a.scales_.data(), a.zeros_.data());
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

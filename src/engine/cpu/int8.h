#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/cpu/buffers.h"

namespace bertrand::cpu {

/// Matrix products of 8-bit numbers on the calling thread. Each row of A (a token) is rounded to
/// 0..255 by a scale and a zero point of its own, each column of B (an output) to -127..127 by a
/// scale of its own; products are summed exactly in 32 bits, so a result has the same bits on every
/// processor and in every batch. Jacob et al., arXiv:1712.05877.

/// The most values that may be summed: 255 * 127 * 65536 is below 2^31.
inline constexpr size_t kMostInt8Depth = 65536;

/// Rows of A as 8-bit numbers. Processors with VNNI multiply bytes; others multiply 16-bit numbers,
/// because their product of bytes (pmaddubsw) overflows.
class Int8Rows {
 public:
  void reserve(size_t rows, size_t columns);

  /// Rounds a row: factor * x is about scale * (q - zero). Where x has NaN or infinity, the scale
  /// is NaN.
  void set_row(size_t row, size_t columns, const float* x, float factor = 1);

  /// Rounds 2^(x - the largest x), `columns` a multiple of 16, to 0..255, and the scale is what
  /// makes the exact powers sum up to 1: scale * q is about the softmax of x ln 2. Where the
  /// largest is no number, the scale is NaN.
  void set_softmax(size_t row, size_t columns, const float* x);

 private:
  friend void multiply(const struct Int8Product& product);

  size_t stride_ = 0;  // bytes
  Aligned<uint8_t> values_;
  Aligned<float> scales_;
  Aligned<int32_t> zeros_;
};

inline constexpr size_t kInt8Panel = 64;

/// B [k, n] as 8-bit numbers. They lie in panels of `width` columns, four values of k of each
/// column, then the next four of k; what fills a panel up is multiplied, too, and not looked at.
struct Int8Columns {
  size_t k, n;
  size_t width;  ///< kInt8Panel, or for n <= width one panel of a multiple of 32
  const int8_t* panels;
  const float* scales;  ///< [n]
  const int32_t* sums;  ///< [n], over k: what one of the zero point adds to the product
};

/// B of the rows of its transpose [n, k].
struct Int8Weights {
  size_t k = 0, n = 0;
  Aligned<int8_t> panels;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  Int8Columns columns() const {
    return {k, n, kInt8Panel, panels.data(), scales.data(), sums.data()};
  }

  /// Room for them; until its row is set, a column is zero.
  void reserve(size_t n, size_t k);

  /// Column `row` of B from its row [k] of the transpose. Several threads may set one each.
  void set_row(size_t row, const float* values);
  /// The same bits from numbers and their factor: what number * factor would give.
  void set_row(size_t row, const int8_t* numbers, float factor);

 private:
  int8_t* column(size_t row);
};

/// C [m, n] = A B + bias, the first m rows of A.
struct Int8Product {
  size_t m;
  const Int8Rows* a;
  Int8Columns b;
  const float* bias;  ///< [n]
  float* c;
  size_t c_stride;
};
void multiply(const Int8Product& product);

}  // namespace bertrand::cpu

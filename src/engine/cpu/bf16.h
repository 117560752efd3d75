#pragma once

#include <cstddef>
#include <cstdint>

namespace bertrand::cpu {

/// Matrix products of bf16 numbers with sums in f32, on the calling thread, by AVX512_BF16. Its
/// instruction multiplies two neighbours of k and adds both products to a sum, so B [k, n] lies in
/// panels of pairs: of each of kBf16Panel columns the values of k 0 and 1, then of 2 and 3, and so
/// on; what fills up an odd k and the last panel is zero.
///
/// As with f32 (packed.h), the result of a row does not depend on the rows it is batched with.

/// Whether the processor has these instructions, and the f32 panels the width of these.
bool has_bf16_panels();

/// Columns of a panel.
inline constexpr size_t kBf16Panel = 64;

/// Two bf16 numbers, the first in the low half.
using Bf16Pair = uint32_t;

/// Pairs that B [k, n] takes in panels.
constexpr size_t bf16_panels_size(size_t k, size_t n) {
  return (n + kBf16Panel - 1) / kBf16Panel * kBf16Panel * ((k + 1) / 2);
}

/// A panel of B, [k, kBf16Panel], rounded.
void round_panel(size_t k, const float* panel, Bf16Pair* rounded);

/// Panels of B [k, n] to a panel of B transposed, [n, k], rounded: the one that begins with the row
/// first_row of B, a multiple of kBf16Panel.
void round_transposed_panel(size_t k, size_t n, const float* panels, size_t first_row,
                            Bf16Pair* rounded);

/// C [m, n] = A B + bias, or += A B with `accumulate`.
struct Bf16Product {
  size_t m, n, k;
  const uint16_t* a;  ///< [m, k]; of an odd k one more is read, which must be finite
  size_t a_stride;
  const Bf16Pair* b;  ///< panels of [k, n]
  const float* bias;  ///< [n] or null; not with accumulate
  float* c;
  size_t c_stride;
  bool accumulate;
};
void multiply(const Bf16Product& product);

/// The part of a weight gradient dB [k, n] = A^T dC, or += with `accumulate`, that has the rows
/// [first_row, first_row + rows) and the panels [first_panel, first_panel + panels).
struct Bf16GradientProduct {
  size_t tokens;
  size_t k, n;
  const uint16_t* a;  ///< [tokens, k]
  size_t a_stride;
  const uint16_t* dc;  ///< [tokens, n]
  size_t dc_stride;
  float* db;  ///< f32 panels of [k, n], kBf16Panel wide
  size_t first_row, rows;
  size_t first_panel, panels;
  bool accumulate;
};

/// Pairs of scratch that a Bf16GradientProduct of up to `rows` rows needs.
size_t bf16_gradient_scratch(size_t rows);

/// `scratch` lies on a cache line.
void multiply(const Bf16GradientProduct& product, Bf16Pair* scratch);

}  // namespace bertrand::cpu

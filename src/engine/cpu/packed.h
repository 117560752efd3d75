#pragma once

#include <cstddef>

namespace bertrand::cpu {

/// Matrix products on the calling thread over packed operands. B [k, n] lies in panels: as many
/// columns as two or four vectors hold, one row after the other, so that the inner loop reads it
/// straight on; the last panel is filled up with zeros. Weights stay in panels for their whole
/// life, so they are never packed again. Goto, van de Geijn, "Anatomy of High-Performance Matrix
/// Multiplication", ACM TOMS 34(3), 2008.
///
/// Each element of C is summed over k in one order, whatever rows and columns are computed with it:
/// the result of a row does not depend on the rows it is batched with.

/// Rows of A that are best computed at once: enough to keep the products at full rate, few enough
/// that their operands stay in a second-level cache of 512 KB.
inline constexpr size_t kMostBlockRows = 192;

/// Columns of a panel on this CPU.
size_t panel_width();

/// A multiple of this many rows is computed without waste.
size_t strip_height();

/// Floats that B [k, n] takes in panels of `width` columns. Panels of width 1 are the rows of
/// B transposed, [n, k].
constexpr size_t panels_size(size_t k, size_t n, size_t width) {
  return (n + width - 1) / width * width * k;
}

/// From rows of B transposed, [n, k], to panels and back.
void pack_panels(size_t k, size_t n, size_t width, const float* rows, float* panels);
void unpack_panels(size_t k, size_t n, size_t width, const float* panels, float* rows);

/// Panels of B [k, n] to panels of B transposed, [n, k]: those that begin with the rows
/// [first_row, first_row + rows) of B, first_row a multiple of width.
void transpose_panels(size_t k, size_t n, size_t width, const float* panels, size_t first_row,
                      size_t rows, float* transposed);

/// C [m, n] = A B + bias, or += A B with `accumulate`.
struct PackedProduct {
  size_t m, n, k;
  const float* a;  ///< [m, k]
  size_t a_stride;
  const float* b;     ///< panels of [k, n], panel_width() wide
  const float* bias;  ///< [n] or null; not with accumulate
  float* c;
  size_t c_stride;
  bool accumulate;
};

/// The part of a weight gradient dB [k, n] = A^T dC, or += with `accumulate`, that has the rows
/// [first_row, first_row + rows) and the panels [first_panel, first_panel + panels).
struct GradientProduct {
  size_t tokens;
  size_t k, n;
  const float* a;  ///< [tokens, k]
  size_t a_stride;
  const float* dc;  ///< [tokens, n]
  size_t dc_stride;
  float* db;  ///< panels of [k, n], panel_width() wide
  size_t first_row, rows;
  size_t first_panel, panels;
  bool accumulate;
};

void multiply(const PackedProduct& product);

/// Rows, a multiple of kMostBlockRows, and columns of a GradientProduct that are best computed at
/// once on this CPU: enough to make up for packing both operands, few enough that a part of them
/// stays in a second-level cache of 1 MB with AVX-512, of 512 KB before.
struct GradientTile {
  size_t rows, columns;
};
GradientTile most_gradient_tile();

/// Floats of scratch that a GradientProduct of up to `rows` rows needs.
size_t gradient_scratch(size_t rows);

/// `scratch` lies on a cache line.
void multiply(const GradientProduct& product, float* scratch);

}  // namespace bertrand::cpu

#include <algorithm>

#include "engine/cpu/fetcher.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/packed.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_packed.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

using Tag = hn::CappedTag<float, 16>;

// A tile of C stays in registers while the inner loop runs over k: of 32 registers 6 x 4 vectors,
// of 16 registers 6 x 2, and the rest for B and one value of A. Wide rather than high, so that a
// row of it is written as cache lines next to one another.
constexpr size_t kStrip = 6;
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kVectors = 4;
#else
constexpr size_t kVectors = 2;
#endif
static_assert(kMostBlockRows % kStrip == 0, "blocks are whole strips");

// Rows of k at a time, so that a block of A stays in the second-level cache: 1 MB and more with
// AVX-512, 512 KB on processors before.
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kDepth = 768;
#else
constexpr size_t kDepth = 384;
#endif

// With AVX-512, on processors with a second-level cache of 1 MB and more, fetching ahead took more
// time than it saved. Before, it pays: weights come from memory, and what a tile writes goes
// there.
#if HWY_TARGET <= HWY_AVX3
constexpr bool kFetchesAhead = false;
#else
constexpr bool kFetchesAhead = true;
#endif

// The same where B is packed just before, so that strips of A and a group of its panels stay there.
constexpr size_t kGradientDepth = 256;

#if HWY_TARGET <= HWY_AVX3
constexpr GradientTile kMostGradientTile = {2 * kMostBlockRows, 768};
#else
constexpr GradientTile kMostGradientTile = {kMostBlockRows, 384};
#endif

// Panels of B that are packed together, so that a row's cache lines next to one another are read at
// once.
constexpr size_t kGroup = 4;

/// From one strip of A to the next: a line more than it holds, so that strips written side by side
/// do not fall into the same few sets of the cache.
constexpr size_t strip_size(size_t depth) { return depth * kStrip + 16; }

HWY_INLINE size_t width() { return kVectors * hn::Lanes(Tag()); }

/// A column after another of kRows rows of A where they lie. An address may have a multiple of the
/// stride in it, so every third row has a pointer of its own, which leaves registers for the rest.
template <size_t kRows>
class RowsOfA {
 public:
  static constexpr size_t kCount = kRows;

  HWY_INLINE RowsOfA(const float* a, size_t stride) : stride_(stride) {
    for (size_t i = 0; i < kPointers; ++i) {
      rows_[i] = a + 3 * i * stride;
    }
  }
  HWY_INLINE float operator[](size_t row) const { return rows_[row / 3][row % 3 * stride_]; }
  HWY_INLINE void next_column() {
    for (size_t i = 0; i < kPointers; ++i) {
      ++rows_[i];
    }
  }

 private:
  static constexpr size_t kPointers = (kRows + 2) / 3;

  const float* HWY_RESTRICT rows_[kPointers];
  size_t stride_;
};

/// The same of a packed strip, [depth, kStrip].
class StripOfA {
 public:
  static constexpr size_t kCount = kStrip;

  HWY_INLINE explicit StripOfA(const float* strip) : column_(strip) {}
  HWY_INLINE float operator[](size_t row) const { return column_[row]; }
  HWY_INLINE void next_column() { column_ += kStrip; }

 private:
  const float* HWY_RESTRICT column_;
};

/// What a tile begins with.
enum class Begin { zero, bias, c };

/// C (as many rows as A has, one panel of columns) = begin + A B over `depth`. B is [depth, width].
template <Begin kBegin, class A>
HWY_INLINE void tile(size_t depth, A a, const float* HWY_RESTRICT b, const float* bias,
                     float* HWY_RESTRICT c, size_t c_stride) {
  const Tag d;
  using V = hn::Vec<Tag>;
  const size_t lanes = hn::Lanes(d);
  V sums[A::kCount][kVectors];
  for (size_t i = 0; i < A::kCount; ++i) {
    for (size_t j = 0; j < kVectors; ++j) {
      if constexpr (kBegin == Begin::c) {
        sums[i][j] = hn::LoadU(d, c + i * c_stride + j * lanes);
      } else if constexpr (kBegin == Begin::bias) {
        sums[i][j] = hn::LoadU(d, bias + j * lanes);
      } else {
        sums[i][j] = hn::Zero(d);
      }
    }
  }
  HWY_UNROLL(kSteps)
  for (size_t p = 0; p < depth; ++p) {
    V vectors[kVectors];
    for (size_t j = 0; j < kVectors; ++j) {
      vectors[j] = hn::Load(d, b + j * lanes);
    }
    for (size_t i = 0; i < A::kCount; ++i) {
      const V factor = hn::Set(d, a[i]);
      for (size_t j = 0; j < kVectors; ++j) {
        sums[i][j] = hn::MulAdd(factor, vectors[j], sums[i][j]);
      }
    }
    a.next_column();
    b += kVectors * lanes;
  }
  for (size_t i = 0; i < A::kCount; ++i) {
    for (size_t j = 0; j < kVectors; ++j) {
      hn::StoreU(sums[i][j], d, c + i * c_stride + j * lanes);
    }
  }
}

/// The same where C has fewer columns than a panel: by way of a whole one.
template <Begin kBegin, class A>
void edge_tile(size_t depth, A a, const float* b, const float* bias, float* c, size_t c_stride,
               size_t rows, size_t columns) {
  constexpr size_t kMostColumns = kVectors * 16;
  HWY_ALIGN float whole[A::kCount * kMostColumns] = {};
  HWY_ALIGN float whole_bias[kMostColumns] = {};
  if constexpr (kBegin == Begin::c) {
    for (size_t row = 0; row < rows; ++row) {
      std::copy_n(c + row * c_stride, columns, whole + row * kMostColumns);
    }
  }
  if constexpr (kBegin == Begin::bias) {
    std::copy_n(bias, columns, whole_bias);
  }
  tile<kBegin>(depth, a, b, whole_bias, whole, kMostColumns);
  for (size_t row = 0; row < rows; ++row) {
    std::copy_n(whole + row * kMostColumns, columns, c + row * c_stride);
  }
}

size_t strips_of(size_t rows) { return (rows + kStrip - 1) / kStrip; }

/// Rows and depth of a product, and where its C lies: the columns of one panel.
struct Target {
  size_t rows, columns, depth;
  float* c;
  size_t c_stride;
};

/// Cache lines that the next tile reads and writes. GCC makes no PREFETCHW of its own for AVX2;
/// processors without it take it for nothing.
template <size_t kRows>
HWY_INLINE void fetch_to_write(const float* c, size_t c_stride) {
  for (size_t i = 0; i < kRows; ++i) {
#if HWY_ARCH_X86
    asm volatile("prefetchw %0" : : "m"(c[i * c_stride]));
#else
    __builtin_prefetch(c + i * c_stride, /*for write=*/1, /*first-level cache=*/3);
#endif
  }
}

/// One panel of C, all rows, A in strips.
template <Begin kBegin>
void panel_of_strips(const Target& to, const float* a, const float* b, Fetcher<float>& next_b,
                     Fetcher<float>& next_a) {
  for (size_t strip = 0; strip < strips_of(to.rows); ++strip) {
    next_b.fetch();
    next_a.fetch();
    const size_t row = strip * kStrip;
    float* target = to.c + row * to.c_stride;
    if constexpr (kFetchesAhead) {
      if (row + 2 * kStrip <= to.rows) {  // what lies beyond may be another thread's
        fetch_to_write<kStrip>(target + kStrip * to.c_stride, to.c_stride);
      }
    }
    const StripOfA strip_of_a(a + strip * strip_size(to.depth));
    if (row + kStrip <= to.rows) {
      tile<kBegin>(to.depth, strip_of_a, b, /*bias=*/nullptr, target, to.c_stride);
    } else {
      edge_tile<kBegin>(to.depth, strip_of_a, b, /*bias=*/nullptr, target, to.c_stride,
                        to.rows - row, to.columns);
    }
  }
}

/// Whole tiles of kRows rows of one panel of C from `row` on; returns the row after them.
template <Begin kBegin, size_t kRows>
HWY_INLINE size_t tiles_of_rows(const Target& to, size_t row, const float* a, size_t a_stride,
                                const float* b, const float* bias, Fetcher<float>& next_b) {
  for (; row + kRows <= to.rows; row += kRows) {
    const RowsOfA<kRows> rows_of_a(a + row * a_stride, a_stride);
    float* target = to.c + row * to.c_stride;
    if constexpr (kFetchesAhead) {
      next_b.fetch();
      const bool is_last = row + kRows >= to.rows;
      fetch_to_write<kRows>(is_last ? to.c + width() : target + kRows * to.c_stride, to.c_stride);
    }
    if (to.columns == width()) {
      tile<kBegin>(to.depth, rows_of_a, b, bias, target, to.c_stride);
    } else {
      edge_tile<kBegin>(to.depth, rows_of_a, b, bias, target, to.c_stride, kRows, to.columns);
    }
  }
  return row;
}

/// One panel of C, all rows, A [rows, depth] where it lies.
template <Begin kBegin>
void panel_of_rows(const Target& to, const float* a, size_t a_stride, const float* b,
                   const float* bias, Fetcher<float> next_b) {
  size_t row = tiles_of_rows<kBegin, kStrip>(to, 0, a, a_stride, b, bias, next_b);
  row = tiles_of_rows<kBegin, kStrip / 2>(to, row, a, a_stride, b, bias, next_b);
  tiles_of_rows<kBegin, 1>(to, row, a, a_stride, b, bias, next_b);
}

/// kStrip values, by vectors that overlap where it is no multiple of them.
HWY_INLINE void copy_strip(const float* HWY_RESTRICT from, float* HWY_RESTRICT to) {
  const hn::CappedTag<float, 4> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i + lanes <= kStrip; i += lanes) {
    hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  }
  hn::StoreU(hn::LoadU(d, from + kStrip - lanes), d, to + kStrip - lanes);
}

/// The same from A transposed, [depth, rows], a row of it at a time.
void pack_columns(size_t rows, size_t depth, const float* a, size_t stride, float* strips) {
  const size_t whole = rows / kStrip;
  for (size_t p = 0; p < depth; ++p) {
    const float* from = a + p * stride;
    float* to = strips + p * kStrip;
    for (size_t strip = 0; strip < whole; ++strip) {
      copy_strip(from + strip * kStrip, to + strip * strip_size(depth));
    }
    if (const size_t rest = rows - whole * kStrip; rest > 0) {
      float* last = to + whole * strip_size(depth);
      std::fill(std::copy_n(from + whole * kStrip, rest, last), last + kStrip, 0.0F);
    }
  }
}

/// `columns` columns of B from its rows, into panels of `depth` rows.
void pack_panels_of_rows(size_t depth, size_t columns, const float* rows, size_t stride,
                         float* panels) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);
  const size_t whole = columns / width();
  for (size_t row = 0; row < depth; ++row) {
    const float* from = rows + row * stride;
    float* to = panels + row * width();
    for (size_t panel = 0; panel < whole; ++panel) {
      for (size_t j = 0; j < kVectors; ++j) {
        hn::Store(hn::LoadU(d, from + panel * width() + j * lanes), d,
                  to + panel * width() * depth + j * lanes);
      }
    }
    if (const size_t rest = columns - whole * width(); rest > 0) {
      float* last = to + whole * width() * depth;
      std::fill(std::copy_n(from + whole * width(), rest, last), last + width(), 0.0F);
    }
  }
}

/// k is cut into equal parts of at most `most`.
HWY_INLINE size_t depth_of_a_part(size_t k, size_t most) {
  const size_t parts = (k + most - 1) / most;
  return (k + parts - 1) / parts;
}

void multiply_packed(const PackedProduct& product) {
  const size_t most = depth_of_a_part(product.k, kDepth);
  for (size_t p = 0; p < product.k; p += most) {
    const size_t depth = std::min(most, product.k - p);
    const auto run = product.accumulate || p > 0 ? panel_of_rows<Begin::c>
                     : product.bias != nullptr   ? panel_of_rows<Begin::bias>
                                                 : panel_of_rows<Begin::zero>;
    for (size_t column = 0; column < product.n; column += width()) {
      const float* b = product.b + column * product.k + p * width();
      const float* bias = product.bias == nullptr ? nullptr : product.bias + column;
      Fetcher<float> next_b;
      if constexpr (kFetchesAhead) {
        const bool is_last = column + width() >= product.n;
        const float* next = is_last ? product.b + (p + depth) * width() : b + product.k * width();
        const size_t next_depth = is_last ? std::min(most, product.k - p - depth) : depth;
        next_b = {next, /*rows=*/next_depth > 0 ? size_t{1} : 0, next_depth * width(),
                  /*stride=*/0, strips_of(product.m)};
      }
      run({product.m, std::min(width(), product.n - column), depth, product.c + column,
           product.c_stride},
          product.a + p, product.a_stride, b, bias, next_b);
    }
  }
}

void multiply_gradient(const GradientProduct& product, float* strips) {
  float* packed = strips + (product.rows / kStrip + 1) * strip_size(kGradientDepth);
  const size_t most = depth_of_a_part(product.tokens, kGradientDepth);
  const size_t end = product.first_panel + product.panels;
  const size_t tiles = strips_of(product.rows);
  for (size_t p = 0; p < product.tokens; p += most) {
    const size_t depth = std::min(most, product.tokens - p);
    const float* a = product.a + p * product.a_stride + product.first_row;
    pack_columns(product.rows, depth, a, product.a_stride, strips);
    const size_t depth_left = std::min(most, product.tokens - p - depth);
    Fetcher next_a(a + depth * product.a_stride, depth_left, product.rows, product.a_stride,
                   tiles * product.panels);
    const auto run =
        product.accumulate || p > 0 ? panel_of_strips<Begin::c> : panel_of_strips<Begin::zero>;
    for (size_t group = product.first_panel; group < end; group += kGroup) {
      const size_t panels = std::min(kGroup, end - group);
      const size_t column = group * width();
      const float* rows = product.dc + p * product.dc_stride + column;
      pack_panels_of_rows(depth, std::min(panels * width(), product.n - column), rows,
                          product.dc_stride, packed);
      const bool is_last = group + kGroup >= end;
      const float* next_rows =
          is_last ? product.dc + (p + depth) * product.dc_stride + product.first_panel * width()
                  : rows + kGroup * width();
      Fetcher next_b(next_rows, is_last ? depth_left : depth, panels * width(), product.dc_stride,
                     tiles * panels);
      for (size_t index = 0; index < panels; ++index) {
        float* c =
            product.db + (column + index * width()) * product.k + product.first_row * width();
        run({product.rows, width(), depth, c, width()}, strips, packed + index * width() * depth,
            next_b, next_a);
      }
    }
  }
}

/// Strips of A and one group of panels of B, see multiply_gradient.
size_t gradient_scratch(size_t rows) {
  return (rows / kStrip + 1) * strip_size(kGradientDepth) + kGroup * width() * kGradientDepth;
}

GradientTile most_gradient_tile() { return kMostGradientTile; }
size_t panel_width() { return width(); }
size_t strip_height() { return kStrip; }

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {

HWY_EXPORT(multiply_packed);
HWY_EXPORT(multiply_gradient);
HWY_EXPORT(gradient_scratch);
HWY_EXPORT(most_gradient_tile);
HWY_EXPORT(panel_width);
HWY_EXPORT(strip_height);

size_t panel_width() { return HWY_DYNAMIC_DISPATCH(panel_width)(); }
size_t strip_height() { return HWY_DYNAMIC_DISPATCH(strip_height)(); }

void pack_panels(size_t k, size_t n, size_t width, const float* rows, float* panels) {
  constexpr size_t kLine = 16;  // floats; lines of rows far apart would drive each other out
  for (size_t column = 0; column < n; column += width) {
    const size_t columns = std::min(width, n - column);
    for (size_t first = 0; first < k; first += kLine) {
      const size_t depth = std::min(kLine, k - first);
      for (size_t j = 0; j < columns; ++j) {
        const float* from = rows + (column + j) * k + first;
        for (size_t i = 0; i < depth; ++i) {
          panels[i * width + j] = from[i];
        }
      }
      for (size_t i = 0; i < depth; ++i, panels += width) {
        std::fill(panels + columns, panels + width, 0.0F);
      }
    }
  }
}

void unpack_panels(size_t k, size_t n, size_t width, const float* panels, float* rows) {
  for (size_t column = 0; column < n; column += width) {
    const size_t columns = std::min(width, n - column);
    for (size_t i = 0; i < k; ++i) {
      for (size_t j = 0; j < columns; ++j) {
        rows[(column + j) * k + i] = panels[j];
      }
      panels += width;
    }
  }
}

void transpose_panels(size_t k, size_t n, size_t width, const float* panels, size_t first_row,
                      size_t rows, float* transposed) {
  for (size_t row = first_row; row < first_row + rows; row += width) {
    const size_t block = std::min(width, k - row);
    for (size_t column = 0; column < n; column += width) {
      const float* from = panels + column * k + row * width;
      float* to = transposed + row * n + column * width;
      transpose(block, std::min(width, n - column), from, width, to, width);
    }
  }
}

GradientTile most_gradient_tile() { return HWY_DYNAMIC_DISPATCH(most_gradient_tile)(); }

size_t gradient_scratch(size_t rows) { return HWY_DYNAMIC_DISPATCH(gradient_scratch)(rows); }

void multiply(const PackedProduct& product) { HWY_DYNAMIC_DISPATCH(multiply_packed)(product); }

void multiply(const GradientProduct& product, float* scratch) {
  HWY_DYNAMIC_DISPATCH(multiply_gradient)(product, scratch);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

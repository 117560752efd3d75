#include <algorithm>
#include <cstring>

#include "engine/cpu/bf16.h"
#include "engine/cpu/fetcher.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/packed.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <hwy/base.h>

namespace bertrand::cpu {

#if defined(__x86_64__)

// Debian's Highway has no word for these instructions.
#define BERTRAND_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace {

constexpr size_t kLanes = 16;
constexpr size_t kVectors = kBf16Panel / kLanes;

// As in f32, a tile of C is 6 x 4 vectors of 32 registers.
constexpr size_t kStrip = 6;
static_assert(kMostBlockRows % kStrip == 0, "blocks are whole strips");

// Pairs of k, or of tokens, at a time: in bytes as much as in f32.
constexpr size_t kDepth = 768;
constexpr size_t kGradientDepth = 256;

// Panels of B that are packed together, so that a row's cache lines next to one another are read at
// once.
constexpr size_t kGroup = 4;

/// Where a tile finds its pairs of A: pair p of row i at begin + i * row + p * column.
struct PairsOfA {
  const uint16_t* begin;
  size_t row, column;
};

struct Tile {
  size_t columns;
  size_t depth;  ///< pairs
  float* c;
  size_t c_stride;
};

/// What a tile begins with.
enum class Begin { zero, bias, c };

BERTRAND_BF16 inline __mmask16 mask_of(size_t columns, size_t vector) {
  const size_t first = vector * kLanes;
  const size_t left = columns > first ? std::min(kLanes, columns - first) : 0;
  return static_cast<__mmask16>((1U << left) - 1);
}

/// C (kRows rows, one panel of columns) = begin + A B. Unrolled, so that the sums stay in
/// registers.
template <Begin kBegin, size_t kRows>
BERTRAND_BF16 void tile(const Tile& to, const PairsOfA& a, const Bf16Pair* b, const float* bias) {
  __m512 sums[kRows][kVectors];
  __mmask16 masks[kVectors];
  HWY_UNROLL(6)
  for (size_t j = 0; j < kVectors; ++j) {
    masks[j] = mask_of(to.columns, j);
  }
  HWY_UNROLL(6)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      if constexpr (kBegin == Begin::c) {
        sums[i][j] = _mm512_maskz_loadu_ps(masks[j], to.c + i * to.c_stride + j * kLanes);
      } else if constexpr (kBegin == Begin::bias) {
        sums[i][j] = _mm512_maskz_loadu_ps(masks[j], bias + j * kLanes);
      } else {
        sums[i][j] = _mm512_setzero_ps();
      }
    }
  }
  const uint16_t* column = a.begin;
  for (size_t p = 0; p < to.depth; ++p) {
    __m512bh vectors[kVectors];
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      vectors[j] = __builtin_bit_cast(__m512bh, _mm512_loadu_si512(b + j * kLanes));
    }
    HWY_UNROLL(6)
    for (size_t i = 0; i < kRows; ++i) {
      int pair;
      std::memcpy(&pair, column + i * a.row, sizeof pair);
      const auto factors = __builtin_bit_cast(__m512bh, _mm512_set1_epi32(pair));
      HWY_UNROLL(6)
      for (size_t j = 0; j < kVectors; ++j) {
        sums[i][j] = _mm512_dpbf16_ps(sums[i][j], factors, vectors[j]);
      }
    }
    column += a.column;
    b += kBf16Panel;
  }
  HWY_UNROLL(6)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      _mm512_mask_storeu_ps(to.c + i * to.c_stride + j * kLanes, masks[j], sums[i][j]);
    }
  }
}

/// Whole tiles of kRows rows of one panel of C from `row` on; returns the row after them.
template <Begin kBegin, size_t kRows>
size_t tiles_of_rows(size_t row, size_t rows, Tile to, PairsOfA a, const Bf16Pair* b,
                     const float* bias) {
  to.c += row * to.c_stride;
  a.begin += row * a.row;
  for (; row + kRows <= rows; row += kRows) {
    tile<kBegin, kRows>(to, a, b, bias);
    to.c += kRows * to.c_stride;
    a.begin += kRows * a.row;
  }
  return row;
}

/// One panel of C, all rows, A where it lies.
template <Begin kBegin>
void panel_of_rows(size_t rows, const Tile& to, const PairsOfA& a, const Bf16Pair* b,
                   const float* bias) {
  size_t row = tiles_of_rows<kBegin, kStrip>(0, rows, to, a, b, bias);
  row = tiles_of_rows<kBegin, kStrip / 2>(row, rows, to, a, b, bias);
  tiles_of_rows<kBegin, 1>(row, rows, to, a, b, bias);
}

/// From one strip of A to the next, in pairs: a line more than it holds, so that strips written
/// side by side do not fall into the same few sets of the cache.
constexpr size_t strip_size(size_t depth) { return depth * kStrip + 16; }

size_t strips_of(size_t rows) { return (rows + kStrip - 1) / kStrip; }

/// One panel of dB, all rows, A in strips.
template <Begin kBegin>
void panel_of_strips(size_t rows, const Tile& to, const Bf16Pair* strips, const Bf16Pair* b,
                     Fetcher<uint16_t>& next_b, Fetcher<uint16_t>& next_a) {
  for (size_t row = 0; row < rows; row += kStrip) {
    next_b.fetch();
    next_a.fetch();
    Tile strip = to;
    strip.c += row * to.c_stride;
    const auto* begin = reinterpret_cast<const uint16_t*>(strips);
    panel_of_rows<kBegin>(std::min(kStrip, rows - row), strip, {begin, 2, 2 * kStrip}, b,
                          /*bias=*/nullptr);
    strips += strip_size(to.depth);
  }
}

/// `depth` is cut into equal parts of at most `most`.
size_t depth_of_a_part(size_t depth, size_t most) {
  const size_t parts = (depth + most - 1) / most;
  return (depth + parts - 1) / parts;
}

/// The masked forms, because GCC 12 warns of what the others leave undefined.
BERTRAND_BF16 inline __m512i pairs_of(__m256i low, __m256i high) {
  constexpr __mmask16 kAll = 0xFFFF;
  return _mm512_or_si512(
      _mm512_maskz_cvtepu16_epi32(kAll, low),
      _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, high), 16));
}

constexpr Bf16Pair pair_of(uint16_t low, uint16_t high) {
  return low | static_cast<Bf16Pair>(high) << 16;
}

/// Two rows of A [tokens, rows], the second null past the last token, to one column of strips.
BERTRAND_BF16 void pack_two_tokens(size_t rows, const uint16_t* first, const uint16_t* second,
                                   size_t strip, Bf16Pair* to) {
  size_t row = 0;
  // A vector holds two numbers more than a strip.
  for (; second != nullptr && row + 8 <= rows; row += kStrip) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first + row));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(second + row));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(low, high));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 4), _mm_unpackhi_epi16(low, high));
    to += strip;
  }
  for (; row < rows; row += kStrip) {
    for (size_t i = 0; i < kStrip; ++i) {
      const bool inside = row + i < rows;
      to[i] = pair_of(inside ? first[row + i] : uint16_t{0},
                      inside && second != nullptr ? second[row + i] : uint16_t{0});
    }
    to += strip;
  }
}

/// A transposed, [tokens, rows], into strips of pairs of tokens.
void pack_strips(size_t tokens, size_t rows, const uint16_t* a, size_t stride, Bf16Pair* strips) {
  const size_t strip = strip_size((tokens + 1) / 2);
  for (size_t token = 0; token < tokens; token += 2) {
    const uint16_t* first = a + token * stride;
    pack_two_tokens(rows, first, token + 1 < tokens ? first + stride : nullptr, strip,
                    strips + token / 2 * kStrip);
  }
}

/// `columns` columns of dC [tokens, n] into panels of pairs of tokens.
BERTRAND_BF16 void pack_panels_of_tokens(size_t tokens, size_t columns, const uint16_t* dc,
                                         size_t stride, Bf16Pair* panels) {
  const size_t panel = (tokens + 1) / 2 * kBf16Panel;
  for (size_t token = 0; token < tokens; token += 2) {
    const uint16_t* row = dc + token * stride;
    Bf16Pair* to = panels + token / 2 * kBf16Panel;
    for (size_t column = 0; column < columns; column += kBf16Panel) {
      for (size_t j = 0; j < kVectors; ++j) {
        const size_t at = column + j * kLanes;
        const __mmask16 mask = mask_of(columns, at / kLanes);
        const __mmask16 next = token + 1 < tokens ? mask : __mmask16{0};
        _mm512_store_si512(to + j * kLanes,
                           pairs_of(_mm256_maskz_loadu_epi16(mask, row + at),
                                    _mm256_maskz_loadu_epi16(next, row + stride + at)));
      }
      to += panel;
    }
  }
}

}  // namespace

bool has_bf16_panels() {
  return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && panel_width() == kBf16Panel;
}

BERTRAND_BF16 void round_panel(size_t k, const float* panel, Bf16Pair* rounded) {
  for (size_t i = 0; i < k; i += 2) {
    for (size_t j = 0; j < kBf16Panel; j += kLanes) {
      const __mmask16 second = i + 1 < k ? __mmask16{0xFFFF} : __mmask16{0};
      const auto low = _mm512_cvtneps_pbh(_mm512_loadu_ps(panel + j));
      const auto high = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(second, panel + kBf16Panel + j));
      _mm512_storeu_si512(rounded + j, pairs_of(__builtin_bit_cast(__m256i, low),
                                                __builtin_bit_cast(__m256i, high)));
    }
    panel += 2 * kBf16Panel;
    rounded += kBf16Panel;
  }
}

void round_transposed_panel(size_t k, size_t n, const float* panels, size_t first_row,
                            Bf16Pair* rounded) {
  const size_t rows = std::min(kBf16Panel, k - first_row);
  alignas(64) uint16_t row[kBf16Panel];
  for (size_t column = 0; column < n; column += kBf16Panel) {
    const size_t columns = std::min(kBf16Panel, n - column);
    Bf16Pair* to = rounded + column / 2 * kBf16Panel;
    for (size_t i = 0; i < kBf16Panel; ++i) {
      if (i < rows) {
        to_bf16(kBf16Panel, panels + column * k + (first_row + i) * kBf16Panel, row);
      } else {
        std::fill_n(row, kBf16Panel, uint16_t{0});
      }
      for (size_t j = 0; j < columns; j += 2) {
        to[j / 2 * kBf16Panel + i] = pair_of(row[j], row[j + 1]);
      }
    }
  }
}

void multiply(const Bf16Product& product) {
  const size_t pairs = (product.k + 1) / 2;
  const size_t most = depth_of_a_part(pairs, kDepth);
  for (size_t p = 0; p < pairs; p += most) {
    const auto run = product.accumulate || p > 0 ? panel_of_rows<Begin::c>
                     : product.bias != nullptr   ? panel_of_rows<Begin::bias>
                                                 : panel_of_rows<Begin::zero>;
    for (size_t column = 0; column < product.n; column += kBf16Panel) {
      const Tile to = {std::min(kBf16Panel, product.n - column), std::min(most, pairs - p),
                       product.c + column, product.c_stride};
      run(product.m, to, {product.a + 2 * p, product.a_stride, 2},
          product.b + column * pairs + p * kBf16Panel,
          product.bias == nullptr ? nullptr : product.bias + column);
    }
  }
}

size_t bf16_gradient_scratch(size_t rows) {
  return (rows / kStrip + 1) * strip_size(kGradientDepth) + kGroup * kBf16Panel * kGradientDepth;
}

void multiply(const Bf16GradientProduct& product, Bf16Pair* scratch) {
  Bf16Pair* const strips = scratch;
  Bf16Pair* const packed = scratch + (product.rows / kStrip + 1) * strip_size(kGradientDepth);
  // Whole pairs of tokens, but for the last.
  const size_t most = 2 * depth_of_a_part((product.tokens + 1) / 2, kGradientDepth);
  const size_t end = product.first_panel + product.panels;
  const size_t tiles = strips_of(product.rows);
  for (size_t p = 0; p < product.tokens; p += most) {
    const size_t tokens = std::min(most, product.tokens - p);
    const size_t depth = (tokens + 1) / 2;
    const uint16_t* a = product.a + p * product.a_stride + product.first_row;
    pack_strips(tokens, product.rows, a, product.a_stride, strips);
    const size_t tokens_left = std::min(most, product.tokens - p - tokens);
    Fetcher next_a(a + tokens * product.a_stride, tokens_left, product.rows, product.a_stride,
                   tiles * product.panels);
    const auto run =
        product.accumulate || p > 0 ? panel_of_strips<Begin::c> : panel_of_strips<Begin::zero>;
    for (size_t group = product.first_panel; group < end; group += kGroup) {
      const size_t panels = std::min(kGroup, end - group);
      const size_t column = group * kBf16Panel;
      const uint16_t* dc = product.dc + p * product.dc_stride + column;
      pack_panels_of_tokens(tokens, std::min(panels * kBf16Panel, product.n - column), dc,
                            product.dc_stride, packed);
      const bool is_last = group + kGroup >= end;
      const uint16_t* next_dc =
          is_last ? product.dc + (p + tokens) * product.dc_stride + product.first_panel * kBf16Panel
                  : dc + kGroup * kBf16Panel;
      Fetcher next_b(next_dc, is_last ? tokens_left : tokens, panels * kBf16Panel,
                     product.dc_stride, tiles * panels);
      for (size_t index = 0; index < panels; ++index) {
        float* db =
            product.db + (column + index * kBf16Panel) * product.k + product.first_row * kBf16Panel;
        run(product.rows, {kBf16Panel, depth, db, kBf16Panel}, strips,
            packed + index * kBf16Panel * depth, next_b, next_a);
      }
    }
  }
}

#else

bool has_bf16_panels() { return false; }

void round_panel(size_t, const float*, Bf16Pair*) {}

void round_transposed_panel(size_t, size_t, const float*, size_t, Bf16Pair*) {}

void multiply(const Bf16Product&) {}

size_t bf16_gradient_scratch(size_t) { return 0; }

void multiply(const Bf16GradientProduct&, Bf16Pair*) {}

#endif

}  // namespace bertrand::cpu

#include "engine/cpu/int8_avx2.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <hwy/base.h>

namespace bertrand::cpu {

#if defined(__x86_64__)

#define BERTRAND_AVX2 __attribute__((target("avx2")))

namespace {

/// Not __m256i, see int8_vnni.cpp.
using Sums = int32_t __attribute__((vector_size(32)));

constexpr size_t kVectors = 2;  // of four columns with two sums each

/// The two sums of each column become one.
BERTRAND_AVX2 inline __m256i joined(Sums low, Sums high) {
  // pairs of columns 0 1 4 5 and 2 3 6 7
  const __m256i sums =
      _mm256_hadd_epi32(reinterpret_cast<__m256i>(low), reinterpret_cast<__m256i>(high));
  return _mm256_permute4x64_epi64(sums, 0xD8);
}

/// kAvx2Columns columns from `column` on. Unrolled, so that the sums stay in registers: twelve,
/// two vectors of B, one of A and one of products are all there are.
template <size_t kRows>
BERTRAND_AVX2 void compute(const Int8Tile& tile, size_t column) {
  Sums sums[kRows][kVectors];
  HWY_UNROLL(6)
  for (size_t i = 0; i < kRows; ++i) {
    sums[i][0] = Sums{};
    sums[i][1] = Sums{};
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b + 4 * column;
  HWY_UNROLL(2)
  for (size_t group = 0; group < tile.groups; ++group) {
    const __m256i low = _mm256_cvtepi8_epi16(
        _mm_loadu_si128(static_cast<const __m128i*>(static_cast<const void*>(b))));
    const __m256i high = _mm256_cvtepi8_epi16(
        _mm_loadu_si128(static_cast<const __m128i*>(static_cast<const void*>(b + 16))));
    HWY_UNROLL(6)
    for (size_t i = 0; i < kRows; ++i) {
      int64_t four;
      std::memcpy(&four, a + i * tile.a_stride, sizeof four);
      const __m256i factors = _mm256_set1_epi64x(four);
      sums[i][0] += reinterpret_cast<Sums>(_mm256_madd_epi16(factors, low));
      sums[i][1] += reinterpret_cast<Sums>(_mm256_madd_epi16(factors, high));
    }
    a += sizeof(int64_t);
    b += tile.b_stride;
  }
  const auto* words = static_cast<const void*>(tile.b_sums + column);
  const __m256i b_sums = _mm256_loadu_si256(static_cast<const __m256i*>(words));
  const __m256 b_scales = _mm256_loadu_ps(tile.b_scales + column);
  const __m256 bias = _mm256_loadu_ps(tile.bias + column);
  HWY_UNROLL(6)
  for (size_t i = 0; i < kRows; ++i) {
    const __m256i shift = _mm256_mullo_epi32(b_sums, _mm256_set1_epi32(tile.a_zeros[i]));
    const __m256 exact =
        _mm256_cvtepi32_ps(_mm256_sub_epi32(joined(sums[i][0], sums[i][1]), shift));
    const __m256 scales = _mm256_mul_ps(b_scales, _mm256_set1_ps(tile.a_scales[i]));
    const __m256 result = _mm256_add_ps(_mm256_mul_ps(exact, scales), bias);
    _mm256_storeu_ps(tile.c + i * tile.c_stride + column, result);
  }
}

using Compute = void (*)(const Int8Tile&, size_t column);

constexpr std::array<Compute, kInt8TileRows> kOfRows = {compute<1>, compute<2>, compute<3>,
                                                        compute<4>, compute<5>, compute<6>};

}  // namespace

void avx2_tile(const Int8Tile& tile) {
  for (size_t column = 0; column < tile.columns; column += kAvx2Columns) {
    kOfRows[tile.rows - 1](tile, column);
  }
}

#else

void avx2_tile(const Int8Tile&) {}

#endif

}  // namespace bertrand::cpu

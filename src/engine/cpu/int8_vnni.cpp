#include "engine/cpu/int8_vnni.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <hwy/base.h>

namespace bertrand::cpu {

#if defined(__x86_64__)

// Debian's Highway has no word for these instructions.
#define BERTRAND_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace {

constexpr size_t kLanes = 16;
constexpr size_t kMostVectors = 4;

/// Not __m512i, which holds numbers of 64 bits to GCC 12: it would keep two of each sum, one of
/// them in memory.
using Sums = int32_t __attribute__((vector_size(64)));

/// The columns of a vector that are there.
BERTRAND_VNNI inline __mmask16 mask_of(size_t columns, size_t vector) {
  const size_t left = std::min(kLanes, columns - vector * kLanes);
  return static_cast<__mmask16>((1U << left) - 1);
}

// Unrolled, so that the sums stay in registers.
template <size_t kRows, size_t kVectors>
BERTRAND_VNNI void compute(const Int8Tile& tile) {
  Sums sums[kRows][kVectors];
  __mmask16 masks[kVectors];
  HWY_UNROLL(6)
  for (size_t j = 0; j < kVectors; ++j) {
    masks[j] = mask_of(tile.columns, j);
  }
  HWY_UNROLL(6)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      sums[i][j] = Sums{};
    }
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  for (size_t group = 0; group < tile.groups; ++group) {
    __m512i vectors[kVectors];
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      vectors[j] = _mm512_loadu_si512(b + j * sizeof(__m512i));
    }
    HWY_UNROLL(6)
    for (size_t i = 0; i < kRows; ++i) {
      int four;
      std::memcpy(&four, a + i * tile.a_stride, sizeof four);
      const __m512i factors = _mm512_set1_epi32(four);
      HWY_UNROLL(6)
      for (size_t j = 0; j < kVectors; ++j) {
        sums[i][j] = reinterpret_cast<Sums>(
            _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums[i][j]), factors, vectors[j]));
      }
    }
    a += sizeof(int);
    b += tile.b_stride;
  }
  HWY_UNROLL(6)
  for (size_t j = 0; j < kVectors; ++j) {
    const size_t column = j * kLanes;
    const __m512i b_sums = _mm512_maskz_loadu_epi32(masks[j], tile.b_sums + column);
    const __m512 b_scales = _mm512_maskz_loadu_ps(masks[j], tile.b_scales + column);
    const __m512 bias = _mm512_maskz_loadu_ps(masks[j], tile.bias + column);
    HWY_UNROLL(6)
    for (size_t i = 0; i < kRows; ++i) {
      const __m512i shift = _mm512_mullo_epi32(b_sums, _mm512_set1_epi32(tile.a_zeros[i]));
      // Without a mask GCC 12 warns of its own header.
      const __m512 exact = _mm512_maskz_cvtepi32_ps(
          0xFFFF, _mm512_sub_epi32(reinterpret_cast<__m512i>(sums[i][j]), shift));
      const __m512 scales = _mm512_mul_ps(b_scales, _mm512_set1_ps(tile.a_scales[i]));
      const __m512 result = _mm512_add_ps(_mm512_mul_ps(exact, scales), bias);
      _mm512_mask_storeu_ps(tile.c + i * tile.c_stride + column, masks[j], result);
    }
  }
}

using Compute = void (*)(const Int8Tile&);

template <size_t kRows>
constexpr std::array<Compute, kMostVectors> kOfRows = {compute<kRows, 1>, compute<kRows, 2>,
                                                       compute<kRows, 3>, compute<kRows, 4>};

constexpr std::array<std::array<Compute, kMostVectors>, kInt8TileRows> kAllSizes = {
    kOfRows<1>, kOfRows<2>, kOfRows<3>, kOfRows<4>, kOfRows<5>, kOfRows<6>};

}  // namespace

bool has_vnni() { return __builtin_cpu_supports("avx512vnni") != 0; }

void vnni_tile(const Int8Tile& tile) {
  kAllSizes[tile.rows - 1][(tile.columns - 1) / kLanes](tile);
}

#else

bool has_vnni() { return false; }

void vnni_tile(const Int8Tile&) {}

#endif

}  // namespace bertrand::cpu

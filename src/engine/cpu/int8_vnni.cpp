#include "engine/cpu/int8_vnni.h"

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

constexpr size_t kVectors = 4;  // of 16 columns
constexpr size_t kPanelBytes = 256;

// Unrolled, so that the sums stay in registers.
template <size_t kRows>
BERTRAND_VNNI void tile(size_t groups, const uint8_t* a, size_t a_stride, const int8_t* b,
                        int32_t* sums) {
  __m512i all[kRows][kVectors];
  HWY_UNROLL(6)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      all[i][j] = _mm512_setzero_si512();
    }
  }
  for (size_t group = 0; group < groups; ++group) {
    __m512i vectors[kVectors];
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      vectors[j] = _mm512_loadu_si512(b + j * sizeof(__m512i));
    }
    HWY_UNROLL(6)
    for (size_t i = 0; i < kRows; ++i) {
      int four;
      std::memcpy(&four, a + i * a_stride + group * sizeof four, sizeof four);
      const __m512i factors = _mm512_set1_epi32(four);
      HWY_UNROLL(6)
      for (size_t j = 0; j < kVectors; ++j) {
        all[i][j] = _mm512_dpbusd_epi32(all[i][j], factors, vectors[j]);
      }
    }
    b += kPanelBytes;
  }
  HWY_UNROLL(6)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(6)
    for (size_t j = 0; j < kVectors; ++j) {
      _mm512_storeu_si512(sums + (i * kVectors + j) * 16, all[i][j]);
    }
  }
}

}  // namespace

bool has_vnni() { return __builtin_cpu_supports("avx512vnni") != 0; }

void vnni_sums(size_t rows, size_t groups, const uint8_t* a, size_t a_stride, const int8_t* b,
               int32_t* sums) {
  if (rows == kVnniRows) {
    tile<kVnniRows>(groups, a, a_stride, b, sums);
    return;
  }
  for (size_t row = 0; row < rows; ++row) {
    tile<1>(groups, a + row * a_stride, a_stride, b, sums + row * kVectors * 16);
  }
}

#else

bool has_vnni() { return false; }

void vnni_sums(size_t, size_t, const uint8_t*, size_t, const int8_t*, int32_t*) {}

#endif

}  // namespace bertrand::cpu

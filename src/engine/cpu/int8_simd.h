// Helpers of the SIMD files of 8-bit numbers. Included once for each instruction set, as simd.h.
#if defined(BERTRAND_INT8_SIMD_H) == defined(HWY_TARGET_TOGGLE)
#ifdef BERTRAND_INT8_SIMD_H
#undef BERTRAND_INT8_SIMD_H
#else
#define BERTRAND_INT8_SIMD_H
#endif

#include <cstdint>

#include "engine/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

/// Adding it leaves no bits but those of the nearest whole number, of |x| < 2^22, to nearest even.
constexpr float kWhole = 12582912;  // 1.5 * 2^23
constexpr int32_t kWholeBits = 0x4B400000;

/// kWholeBits + the nearest whole number: in fewer steps than NearestInt, which takes any number.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> bits_of_nearest(D d, hn::Vec<D> x) {
  return hn::BitCast(hn::RebindToSigned<D>(), hn::Add(x, hn::Set(d, kWhole)));
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

// Helpers of the SIMD files. Included once for each instruction set (see hwy/foreach_target.h),
// hence the unusual guard.
#if defined(BERTRAND_SIMD_H) == defined(HWY_TARGET_TOGGLE)
#ifdef BERTRAND_SIMD_H
#undef BERTRAND_SIMD_H
#else
#define BERTRAND_SIMD_H
#endif

#include <cstddef>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Lanes = hn::ScalableTag<float>;

// Steps of a product's inner loop at once. Where vectors are short, counting takes a tenth of all
// instructions; with AVX-512 GCC 12 would have no register left.
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kSteps = 1;
#else
constexpr size_t kSteps = 2;
#endif

/// Calls body(tag, i) for whole vectors, then for what is left by ever shorter ones: no element
/// past the end is touched.
template <typename D, typename Body>
HWY_INLINE void for_vectors_from(D d, size_t i, size_t count, const Body& body) {
  const size_t step = hn::Lanes(d);
  for (; i + step <= count; i += step) {
    body(d, i);
  }
  if constexpr (hn::MaxLanes(d) > 1) {
    for_vectors_from(hn::Half<D>(), i, count, body);
  }
}

template <typename Body>
HWY_INLINE void for_vectors(size_t count, const Body& body) {
  for_vectors_from(Lanes(), /*i=*/0, count, body);
}

/// The sum of term(tag, i) over the elements from i on, by vectors of ever fewer lanes.
template <typename D, typename Term>
HWY_INLINE float sum_from(D d, size_t i, size_t count, const Term& term) {
  float sum = 0;
  if (i + hn::Lanes(d) <= count) {
    sum = hn::GetLane(hn::SumOfLanes(d, term(d, i)));
    i += hn::Lanes(d);
  }
  if constexpr (hn::MaxLanes(d) > 1) {
    sum += sum_from(hn::Half<D>(), i, count, term);
  }
  return sum;
}

/// The sum of term(tag, i) over all elements.
template <typename Term>
HWY_INLINE float sum_vectors(size_t count, const Term& term) {
  const Lanes lanes;
  const size_t step = hn::Lanes(lanes);
  auto sum0 = hn::Zero(lanes);
  auto sum1 = hn::Zero(lanes);
  size_t i = 0;
  for (; i + 2 * step <= count; i += 2 * step) {
    sum0 = hn::Add(sum0, term(lanes, i));
    sum1 = hn::Add(sum1, term(lanes, i + step));
  }
  for (; i + step <= count; i += step) {
    sum0 = hn::Add(sum0, term(lanes, i));
  }
  const float sum = hn::GetLane(hn::SumOfLanes(lanes, hn::Add(sum0, sum1)));
  if constexpr (hn::MaxLanes(lanes) > 1) {
    return sum + sum_from(hn::Half<Lanes>(), i, count, term);
  }
  return sum;
}

/// e to the x for x <= 88, 0 below -87, NaN for NaN; relative error below 2e-7. x = n ln 2 + r,
/// Taylor series in r.
template <class D, class V>
HWY_INLINE V exponential(D d, V x) {
  const hn::RebindToSigned<D> integers;
  const V lowest = hn::Set(d, -87.0F);
  const auto underflows = hn::Lt(x, lowest);
  x = hn::IfThenElse(underflows, lowest, x);  // Max would make a number of NaN
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504F)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), r);
  V p = hn::Set(d, 1.0F / 720);
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 120));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 24));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 6));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(integers, n), hn::Set(integers, 127)));
  return hn::IfThenZeroElse(underflows, hn::Mul(p, hn::BitCast(d, power)));
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

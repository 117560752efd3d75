#include "measure/fma_loop.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "measure/fma_loop.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bertrand::measure::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Twelve sums that do not wait for each other: more than latency times units of any x86-64 core
// (4 x 2), and with the two factors no more than its 16 registers.
double fma_loop(long steps, float& sum) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, 0.999F + sum);
  const auto term = hn::Set(d, 0.001F + sum);
  // They begin differently, else a compiler would see that all are one.
  auto s0 = hn::Set(d, 0.0F + sum);
  auto s1 = hn::Set(d, 1.0F + sum);
  auto s2 = hn::Set(d, 2.0F + sum);
  auto s3 = hn::Set(d, 3.0F + sum);
  auto s4 = hn::Set(d, 4.0F + sum);
  auto s5 = hn::Set(d, 5.0F + sum);
  auto s6 = hn::Set(d, 6.0F + sum);
  auto s7 = hn::Set(d, 7.0F + sum);
  auto s8 = hn::Set(d, 8.0F + sum);
  auto s9 = hn::Set(d, 9.0F + sum);
  auto s10 = hn::Set(d, 10.0F + sum);
  auto s11 = hn::Set(d, 11.0F + sum);
  for (long step = 0; step < steps; ++step) {
    s0 = hn::MulAdd(s0, factor, term);
    s1 = hn::MulAdd(s1, factor, term);
    s2 = hn::MulAdd(s2, factor, term);
    s3 = hn::MulAdd(s3, factor, term);
    s4 = hn::MulAdd(s4, factor, term);
    s5 = hn::MulAdd(s5, factor, term);
    s6 = hn::MulAdd(s6, factor, term);
    s7 = hn::MulAdd(s7, factor, term);
    s8 = hn::MulAdd(s8, factor, term);
    s9 = hn::MulAdd(s9, factor, term);
    s10 = hn::MulAdd(s10, factor, term);
    s11 = hn::MulAdd(s11, factor, term);
  }
  const auto all = hn::Add(hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(s4, s5)),
                           hn::Add(hn::Add(hn::Add(s6, s7), hn::Add(s8, s9)), hn::Add(s10, s11)));
  sum = hn::GetLane(hn::SumOfLanes(d, all));
  return 2.0 * 12 * static_cast<double>(hn::Lanes(d)) * static_cast<double>(steps);
}

}  // namespace bertrand::measure::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bertrand::measure {

HWY_EXPORT(fma_loop);

double fma_loop(long steps, float& sum) { return HWY_DYNAMIC_DISPATCH(fma_loop)(steps, sum); }

}  // namespace bertrand::measure
#endif

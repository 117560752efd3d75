#include "engine/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_adam.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

template <bool kHasGradient>
HWY_INLINE void move(size_t count, const AdamStep& step, const float* gradient, float* m, float* v,
                     float* values) {
  for_vectors(count, [&](auto d, size_t i) {
    const auto set = [&](float value) { return hn::Set(d, value); };
    auto first = hn::Mul(hn::LoadU(d, m + i), set(step.beta1));
    auto second = hn::Mul(hn::LoadU(d, v + i), set(step.beta2));
    if constexpr (kHasGradient) {
      const auto g = hn::Mul(hn::LoadU(d, gradient + i), set(step.gradient_scale));
      first = hn::MulAdd(hn::LoadU(d, m + i), set(step.beta1), hn::Mul(g, set(1.0F - step.beta1)));
      second = hn::MulAdd(hn::LoadU(d, v + i), set(step.beta2),
                          hn::Mul(hn::Mul(g, g), set(1.0F - step.beta2)));
    }
    hn::StoreU(first, d, m + i);
    hn::StoreU(second, d, v + i);
    const auto divisor = hn::MulAdd(hn::Sqrt(second), set(step.v_scale), set(step.epsilon));
    const auto value = hn::LoadU(d, values + i);
    const auto kept = hn::NegMulAdd(value, set(step.decay), value);
    hn::StoreU(hn::NegMulAdd(set(step.step_size), hn::Div(first, divisor), kept), d, values + i);
  });
}

void adam(size_t count, const AdamStep& step, const float* gradient, float* m, float* v,
          float* values) {
  if (gradient == nullptr) {
    move<false>(count, step, gradient, m, v, values);
  } else {
    move<true>(count, step, gradient, m, v, values);
  }
}

double sum_of_squares(size_t count, const float* x) {
  const hn::ScalableTag<double> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  // Four sums, since one waits for itself.
  auto sum0 = hn::Zero(doubles);
  auto sum1 = sum0;
  auto sum2 = sum0;
  auto sum3 = sum0;
  const size_t lanes = hn::Lanes(doubles);
  const auto add = [&](auto& sum, size_t at) {
    const auto value = hn::PromoteTo(doubles, hn::LoadU(floats, x + at));
    sum = hn::MulAdd(value, value, sum);
  };
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    add(sum0, i);
    add(sum1, i + lanes);
    add(sum2, i + 2 * lanes);
    add(sum3, i + 3 * lanes);
  }
  for (; i + lanes <= count; i += lanes) {
    add(sum0, i);
  }
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  double total = hn::GetLane(hn::SumOfLanes(doubles, sum));
  for (; i < count; ++i) {
    total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return total;
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {

HWY_EXPORT(adam);
HWY_EXPORT(sum_of_squares);

void adam(size_t count, const AdamStep& step, const float* gradient, float* m, float* v,
          float* values) {
  HWY_DYNAMIC_DISPATCH(adam)(count, step, gradient, m, v, values);
}

double sum_of_squares(size_t count, const float* x) {
  return HWY_DYNAMIC_DISPATCH(sum_of_squares)(count, x);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

#include <cmath>

#include "engine/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

/// f32 to bf16, to nearest even; what is not a number stays none, whatever its bits.
template <class D>
HWY_INLINE void store_rounded(D, hn::Vec<D> x, uint16_t* y) {
  const hn::RebindToUnsigned<D> words;
  const hn::Rebind<uint16_t, D> halves;
  const auto bits = hn::BitCast(words, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1U));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(words, 0x7FFFU))));
  const auto nan = hn::RebindMask(words, hn::IsNaN(x));
  const auto stored = hn::IfThenElse(nan, hn::Set(words, 0x7FC0U), rounded);
  hn::StoreU(hn::TruncateTo(halves, stored), halves, y);
}

/// x to the columns of y from i on.
template <class D>
HWY_INLINE void store(D d, hn::Vec<D> x, RowTarget y, size_t i) {
  if (y.f32 != nullptr) {
    hn::StoreU(x, d, y.f32 + i);
  }
  if (y.bf16 != nullptr) {
    store_rounded(d, x, y.bf16 + i);
  }
}

void add_bias(size_t rows, size_t columns, const float* bias, float* x, size_t stride) {
  for (size_t row = 0; row < rows; ++row) {
    float* HWY_RESTRICT values = x + row * stride;
    for_vectors(columns, [&](auto d, size_t i) {
      hn::StoreU(hn::Add(hn::LoadU(d, values + i), hn::LoadU(d, bias + i)), d, values + i);
    });
  }
}

/// The normal distribution at x: the probability below x and the density.
/// Phi(-|x|) = exp(-x^2 / 2) t P(t) / 2 with t = 1 / (1 + 0.35 |x| / sqrt(2)); P is a least-maximum
/// fit of degree 6 to erfcx, absolute error below 1e-8 before rounding.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void normal_distribution(D d, V x, V& below, V& density) {
  const V t = hn::Div(hn::Set(d, 1.0F),
                      hn::MulAdd(hn::Abs(x), hn::Set(d, 0.35F * 0.70710678F), hn::Set(d, 1.0F)));
  V p = hn::Set(d, -0.19805178265426063F);
  p = hn::MulAdd(p, t, hn::Set(d, 0.7726370896843614F));
  p = hn::MulAdd(p, t, hn::Set(d, -0.6810377288975213F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.6848341616798093F));
  p = hn::MulAdd(p, t, hn::Set(d, -0.008555099716150984F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.2358229481524453F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.19435040713170315F));
  const V bell = exponential(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5F)));
  const V tail = hn::Mul(hn::Mul(hn::Mul(p, t), bell), hn::Set(d, 0.5F));
  below = hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Sub(hn::Set(d, 1.0F), tail), tail);
  density = hn::Mul(bell, hn::Set(d, 0.39894228F));
}

/// tanh(u) and u = sqrt(2 / pi) (x + 0.044715 x^3) of GELU's tanh form.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_tanh(D d, V x) {
  const V inner = hn::Mul(hn::Mul(x, hn::Set(d, 0.7978845608F)),
                          hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715F), hn::Set(d, 1.0F)));
  // tanh(u) = 1 - 2 / (exp(2 u) + 1); the bound keeps exp in range, where tanh is 1 already.
  const V bounded = hn::Min(hn::Max(hn::Add(inner, inner), hn::Set(d, -40.0F)), hn::Set(d, 40.0F));
  const V power = exponential(d, bounded);
  return hn::Sub(hn::Set(d, 1.0F), hn::Div(hn::Set(d, 2.0F), hn::Add(power, hn::Set(d, 1.0F))));
}

/// GELU(x) and, where `slope` is not null, its derivative.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu(D d, V x, bool tanh_form, V* slope) {
  if (tanh_form) {
    const V one = hn::Set(d, 1.0F);
    const V half = hn::Mul(x, hn::Set(d, 0.5F));
    const V t = gelu_tanh(d, x);
    if (slope != nullptr) {
      const V inner = hn::Mul(hn::Set(d, 0.7978845608F),
                              hn::MulAdd(hn::Mul(x, x), hn::Set(d, 3 * 0.044715F), one));
      const V sech2 = hn::NegMulAdd(t, t, one);
      *slope = hn::Mul(hn::Set(d, 0.5F), hn::MulAdd(hn::Mul(x, sech2), inner, hn::Add(one, t)));
    }
    return hn::MulAdd(half, t, half);
  }
  V below;
  V density;
  normal_distribution(d, x, below, density);
  if (slope != nullptr) {
    *slope = hn::MulAdd(x, density, below);
  }
  return hn::Mul(x, below);
}

template <class D>
HWY_INLINE hn::Vec<D> with_bias(D d, const float* x, const float* bias, size_t i) {
  const auto value = hn::LoadU(d, x + i);
  return bias == nullptr ? value : hn::Add(value, hn::LoadU(d, bias + i));
}

void bias_gelu(bool tanh_form, size_t columns, const float* bias, const float* x, RowTarget y) {
  for_vectors(columns, [&](auto d, size_t i) {
    const auto value = with_bias(d, x, bias, i);
    store(d, gelu(d, value, tanh_form, static_cast<hn::Vec<decltype(d)>*>(nullptr)), y, i);
  });
}

void bias_gelu_with_slope(bool tanh_form, size_t columns, const float* bias, float* x,
                          RowTarget y) {
  for_vectors(columns, [&](auto d, size_t i) {
    hn::Vec<decltype(d)> slope;
    store(d, gelu(d, with_bias(d, x, bias, i), tanh_form, &slope), y, i);
    hn::StoreU(slope, d, x + i);
  });
}

float layer_norm(size_t columns, const float* x, const float* bias, const float* mask,
                 const float* residual, const float* gamma, const float* beta, float epsilon,
                 float* normalized, RowTarget y) {
  const auto summed = [&](auto d, size_t i) {
    auto value = hn::LoadU(d, x + i);
    value = bias == nullptr ? value : hn::Add(value, hn::LoadU(d, bias + i));
    value = mask == nullptr ? value : hn::Mul(value, hn::LoadU(d, mask + i));
    value = residual == nullptr ? value : hn::Add(value, hn::LoadU(d, residual + i));
    hn::StoreU(value, d, normalized + i);
    return value;
  };
  const auto count = static_cast<float>(columns);
  const float mean = sum_vectors(columns, summed) / count;
  const float squares = sum_vectors(columns, [&](auto d, size_t i) {
    const auto centred = hn::Sub(hn::LoadU(d, normalized + i), hn::Set(d, mean));
    return hn::Mul(centred, centred);
  });
  const float rstd = 1.0F / std::sqrt(squares / count + epsilon);
  for_vectors(columns, [&](auto d, size_t i) {
    const auto value =
        hn::Mul(hn::Sub(hn::LoadU(d, normalized + i), hn::Set(d, mean)), hn::Set(d, rstd));
    hn::StoreU(value, d, normalized + i);
    store(d, hn::MulAdd(value, hn::LoadU(d, gamma + i), hn::LoadU(d, beta + i)), y, i);
  });
  return rstd;
}

void layer_norm_backward(size_t columns, const float* dy, const float* normalized, float rstd,
                         const float* gamma, float* dx, float* dgamma, float* dbeta) {
  const auto count = static_cast<float>(columns);
  const float mean =
      sum_vectors(columns,
                  [&](auto d, size_t i) {
                    const auto gradient = hn::LoadU(d, dy + i);
                    hn::StoreU(hn::Add(hn::LoadU(d, dbeta + i), gradient), d, dbeta + i);
                    return hn::Mul(gradient, hn::LoadU(d, gamma + i));
                  }) /
      count;
  const float projection =
      sum_vectors(columns,
                  [&](auto d, size_t i) {
                    const auto product =
                        hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, normalized + i));
                    hn::StoreU(hn::Add(hn::LoadU(d, dgamma + i), product), d, dgamma + i);
                    return hn::Mul(product, hn::LoadU(d, gamma + i));
                  }) /
      count;
  for_vectors(columns, [&](auto d, size_t i) {
    const auto g = hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, gamma + i));
    const auto inner = hn::NegMulAdd(hn::LoadU(d, normalized + i), hn::Set(d, projection),
                                     hn::Sub(g, hn::Set(d, mean)));
    hn::StoreU(hn::Mul(inner, hn::Set(d, rstd)), d, dx + i);
  });
}

void mask_and_sum(size_t columns, const float* x, const float* mask, RowTarget y,
                  float* column_sums) {
  for_vectors(columns, [&](auto d, size_t i) {
    auto value = hn::LoadU(d, x + i);
    value = mask == nullptr ? value : hn::Mul(value, hn::LoadU(d, mask + i));
    store(d, value, y, i);
    hn::StoreU(hn::Add(hn::LoadU(d, column_sums + i), value), d, column_sums + i);
  });
}

void add(size_t count, const float* x, float* y) {
  for_vectors(count, [&](auto d, size_t i) {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  });
}

void add_scaled(size_t count, float factor, const float* x, float* y) {
  for_vectors(count, [&](auto d, size_t i) {
    hn::StoreU(hn::MulAdd(hn::LoadU(d, x + i), hn::Set(d, factor), hn::LoadU(d, y + i)), d, y + i);
  });
}

void multiply_in_place(size_t count, const float* x, float* y) {
  for_vectors(count, [&](auto d, size_t i) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  });
}

float dot(size_t count, const float* x, const float* y) {
  return sum_vectors(
      count, [&](auto d, size_t i) { return hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, y + i)); });
}

void to_bf16(size_t count, const float* x, uint16_t* y) {
  for_vectors(count, [&](auto d, size_t i) { store_rounded(d, hn::LoadU(d, x + i), y + i); });
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {

HWY_EXPORT(add_bias);
HWY_EXPORT(bias_gelu);
HWY_EXPORT(bias_gelu_with_slope);
HWY_EXPORT(layer_norm);
HWY_EXPORT(layer_norm_backward);
HWY_EXPORT(mask_and_sum);
HWY_EXPORT(add);
HWY_EXPORT(add_scaled);
HWY_EXPORT(multiply_in_place);
HWY_EXPORT(dot);
HWY_EXPORT(to_bf16);

void add_bias(size_t rows, size_t columns, const float* bias, float* x, size_t stride) {
  HWY_DYNAMIC_DISPATCH(add_bias)(rows, columns, bias, x, stride);
}

void bias_gelu(bool tanh_form, size_t columns, const float* bias, const float* x, RowTarget y) {
  HWY_DYNAMIC_DISPATCH(bias_gelu)(tanh_form, columns, bias, x, y);
}

void bias_gelu_with_slope(bool tanh_form, size_t columns, const float* bias, float* x,
                          RowTarget y) {
  HWY_DYNAMIC_DISPATCH(bias_gelu_with_slope)(tanh_form, columns, bias, x, y);
}

float layer_norm(size_t columns, const float* x, const float* bias, const float* mask,
                 const float* residual, const float* gamma, const float* beta, float epsilon,
                 float* normalized, RowTarget y) {
  return HWY_DYNAMIC_DISPATCH(layer_norm)(columns, x, bias, mask, residual, gamma, beta, epsilon,
                                          normalized, y);
}

void layer_norm_backward(size_t columns, const float* dy, const float* normalized, float rstd,
                         const float* gamma, float* dx, float* dgamma, float* dbeta) {
  HWY_DYNAMIC_DISPATCH(layer_norm_backward)
  (columns, dy, normalized, rstd, gamma, dx, dgamma, dbeta);
}

void mask_and_sum(size_t columns, const float* x, const float* mask, RowTarget y,
                  float* column_sums) {
  HWY_DYNAMIC_DISPATCH(mask_and_sum)(columns, x, mask, y, column_sums);
}

void add(size_t count, const float* x, float* y) { HWY_DYNAMIC_DISPATCH(add)(count, x, y); }

void add_scaled(size_t count, float factor, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(add_scaled)(count, factor, x, y);
}

void multiply_in_place(size_t count, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(multiply_in_place)(count, x, y);
}

float dot(size_t count, const float* x, const float* y) {
  return HWY_DYNAMIC_DISPATCH(dot)(count, x, y);
}

void to_bf16(size_t count, const float* x, uint16_t* y) {
  HWY_DYNAMIC_DISPATCH(to_bf16)(count, x, y);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

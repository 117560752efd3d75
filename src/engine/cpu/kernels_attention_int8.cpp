#include <algorithm>
#include <limits>

#include "engine/cpu/attention_int8.h"
#include "engine/cpu/int8_vnni.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_attention_int8.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/int8_simd.h"

// Here, too, no operation is joined with another, and sums are made in one order: the bits are to
// be the same on every instruction set.
HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

constexpr float kMost = 127;  // the largest number

/// Of smaller ones there would be no finite inverse: they become zeros.
constexpr float kLeast = kMost * std::numeric_limits<float>::min();

template <class D>
HWY_INLINE hn::Vec<D> row_sum(D d, const HeadRows& rows, size_t column) {
  auto sum = hn::Zero(d);
  for (size_t row = 0; row < rows.length; ++row) {
    sum = hn::Add(sum, hn::LoadU(d, rows.x + row * rows.stride + column));
  }
  return sum;
}

/// The largest distance of a row from `means`.
float distance(size_t count, const float* x, const float* means) {
  const Lanes lanes;
  auto most = hn::Zero(lanes);
  size_t i = 0;
  for (; i + hn::Lanes(lanes) <= count; i += hn::Lanes(lanes)) {
    const auto difference = hn::Sub(hn::LoadU(lanes, x + i), hn::LoadU(lanes, means + i));
    most = hn::Max(most, hn::Abs(difference));
  }
  float result = hn::GetLane(hn::MaxOfLanes(lanes, most));
  for (; i < count; ++i) {
    const float difference = x[i] - means[i];
    result = std::max(result, difference < 0 ? -difference : difference);
  }
  return result;
}

/// Numbers of a key go to its column, which begins at `column`; returns their sum.
int32_t round_key(size_t count, const float* x, const float* means, float inverse, int8_t* numbers,
                  int8_t* column) {
  for_vectors(count, [&](auto d, size_t i) {
    const hn::RebindToSigned<decltype(d)> integers;
    const hn::Rebind<int8_t, decltype(d)> bytes;
    const auto difference = hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, means + i));
    const auto nearest = bits_of_nearest(d, hn::Mul(difference, hn::Set(d, inverse)));
    const auto number = hn::Sub(nearest, hn::Set(integers, kWholeBits));
    hn::StoreU(hn::DemoteTo(bytes, number), bytes, numbers + i);
  });
  int32_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += numbers[i];
  }
  for (size_t i = 0; i < count; i += 4) {
    hwy::CopyBytes<4>(numbers + i, column + i * kInt8Panel);
  }
  return sum;
}

/// Columns of scores. Returns 0, or NaN where not all is finite. `numbers` has room for a row in
/// whole groups of four.
float round_keys(const HeadRows& keys, float* means, int8_t* numbers, int8_t* panels, float* scales,
                 int32_t* sums) {
  const auto count = static_cast<float>(keys.length);
  float check = 0;
  for_vectors(keys.size, [&](auto d, size_t i) {
    hn::StoreU(hn::Div(row_sum(d, keys, i), hn::Set(d, count)), d, means + i);
  });
  for (size_t i = 0; i < keys.size; ++i) {
    check += means[i] - means[i];
  }
  const size_t depth = (keys.size + 3) / 4 * 4;
  std::fill(numbers + keys.size, numbers + depth, int8_t{0});
  for (size_t token = 0; token < keys.length; ++token) {
    const float* x = keys.x + token * keys.stride;
    const float most = distance(keys.size, x, means);
    const float inverse = most >= kLeast ? kMost / most : 0;
    scales[token] = most / kMost;
    check += most - most;
    sums[token] =
        round_key(keys.size, x, means, inverse, numbers,
                  panels + token / kInt8Panel * kInt8Panel * depth + token % kInt8Panel * 4);
  }
  return check;
}

/// Four tokens of a column in one word.
void round_values(const HeadRows& values, size_t width, float* means, int8_t* panels,
                  float* scales) {
  const size_t depth = (values.length + 3) / 4 * 4;
  for_vectors(values.size, [&](auto d, size_t i) {
    const hn::RebindToSigned<decltype(d)> words;
    const float* HWY_RESTRICT x = values.x + i;
    auto least = hn::LoadU(d, x);
    auto most = least;
    auto sum = hn::Zero(d);
    for (size_t row = 0; row < values.length; ++row) {
      const auto value = hn::LoadU(d, x + row * values.stride);
      least = hn::Min(least, value);
      most = hn::Max(most, value);
      sum = hn::Add(sum, value);
    }
    const auto mean = hn::Div(sum, hn::Set(d, static_cast<float>(values.length)));
    const auto furthest = hn::Max(hn::Sub(most, mean), hn::Sub(mean, least));
    const auto inverse = hn::IfThenElseZero(hn::Ge(furthest, hn::Set(d, kLeast)),
                                            hn::Div(hn::Set(d, kMost), furthest));
    hn::StoreU(mean, d, means + i);
    hn::StoreU(hn::Div(furthest, hn::Set(d, kMost)), d, scales + i);
    const auto number = [&](size_t row) {
      const auto difference = hn::Sub(hn::LoadU(d, x + row * values.stride), mean);
      return hn::And(bits_of_nearest(d, hn::Mul(difference, inverse)), hn::Set(words, 255));
    };
    int8_t* to = panels + i / kInt8Panel * kInt8Panel * depth + i % kInt8Panel * 4;
    size_t row = 0;
    for (; row + 4 <= values.length; row += 4) {
      const auto low = hn::Or(number(row), hn::ShiftLeft<8>(number(row + 1)));
      const auto high = hn::Or(number(row + 2), hn::ShiftLeft<8>(number(row + 3)));
      hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(high)), words,
                 reinterpret_cast<int32_t*>(to + row * width));
    }
    if (row < values.length) {
      auto word = hn::Zero(words);
      for (size_t last = values.length; last-- > row;) {
        word = hn::Or(hn::ShiftLeft<8>(word), number(last));
      }
      hn::StoreU(word, words, reinterpret_cast<int32_t*>(to + row * width));
    }
  });
}

/// 255 * 2^x for -100 <= x <= 0, relative error 1e-4: x = n + r, a least-maximum fit in r.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V power_of_two(D d, V x) {
  const hn::RebindToSigned<D> integers;
  const V whole = hn::Add(x, hn::Set(d, kWhole));
  const V r = hn::Sub(x, hn::Sub(whole, hn::Set(d, kWhole)));
  V p = hn::Set(d, 14.0273283F);
  p = hn::Add(hn::Mul(p, r), hn::Set(d, 61.7639228F));
  p = hn::Add(hn::Mul(p, r), hn::Set(d, 176.787155F));
  p = hn::Add(hn::Mul(p, r), hn::Set(d, 255.0F));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(integers, whole));
  return hn::BitCast(d, hn::Add(hn::BitCast(integers, p), exponent));
}

/// Rounds 255 * 2^(x - most) and returns the exact ones' sum.
template <class Q>
float round_powers(size_t columns, const float* HWY_RESTRICT x, float most, Q* HWY_RESTRICT q) {
  constexpr size_t kSums = 16;  // whatever the vectors are
  const hn::CappedTag<float, kSums> d;
  const hn::RebindToSigned<decltype(d)> integers;
  const hn::Rebind<Q, decltype(d)> narrow;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kLanes = hn::MaxLanes(d);
  V sums[kSums / kLanes];
  HWY_UNROLL(16)
  for (V& sum : sums) {
    sum = hn::Zero(d);
  }
  for (size_t i = 0; i < columns; i += kSums) {
    HWY_UNROLL(16)
    for (size_t j = 0; j < kSums / kLanes; ++j) {
      const size_t at = i + j * kLanes;
      const V below = hn::Sub(hn::LoadU(d, x + at), hn::Set(d, most));
      const V power = power_of_two(d, hn::Max(below, hn::Set(d, -100.0F)));
      sums[j] = hn::Add(sums[j], power);
      const auto number = hn::And(bits_of_nearest(d, power), hn::Set(integers, 255));
      hn::StoreU(hn::DemoteTo(narrow, number), narrow, q + at);
    }
  }
  HWY_ALIGN float lanes[kSums];
  for (size_t j = 0; j < kSums / kLanes; ++j) {
    hn::Store(sums[j], d, lanes + j * kLanes);
  }
  for (size_t half = kSums / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) {
      lanes[i] += lanes[i + half];
    }
  }
  return lanes[0];
}

void quantize_softmax(size_t columns, const float* x, uint8_t* q, float* scale) {
  const Lanes d;
  auto highest = hn::LoadU(d, x);
  for (size_t i = 0; i < columns; i += hn::Lanes(d)) {
    highest = hn::Max(highest, hn::LoadU(d, x + i));
  }
  const float most = hn::GetLane(hn::MaxOfLanes(d, highest));
  const float sum = takes_bytes(HWY_TARGET)
                        ? round_powers(columns, x, most, q)
                        : round_powers(columns, x, most, reinterpret_cast<int16_t*>(q));
  *scale = 1 / sum + (most - most);
}

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {
namespace {

size_t rounded(size_t count, size_t step) { return (count + step - 1) / step * step; }

}  // namespace

HWY_EXPORT(round_keys);
HWY_EXPORT(round_values);
HWY_EXPORT(quantize_softmax);

void Int8Rows::set_softmax(size_t row, size_t columns, const float* x) {
  zeros_.data()[row] = 0;
  HWY_DYNAMIC_DISPATCH(quantize_softmax)
  (columns, x, values_.data() + row * stride_, scales_.data() + row);
}

void Int8Head::reserve(size_t k, size_t n, size_t width) {
  k_ = k;
  n_ = n;
  width_ = width;
  panels_.reserve(rounded(n, width) * rounded(k, 4));
  scales_.reserve(n);
  sums_.reserve(n);
  bias_.reserve(n);
}

void Int8Head::set_keys(const HeadRows& keys) {
  constexpr size_t kFilled = 16;
  constexpr float kTooLow = -1e30F;
  reserve(keys.size, rounded(keys.length, kFilled), kInt8Panel);
  means_.reserve(keys.size);
  numbers_.reserve(rounded(keys.size, 4));
  const float check = HWY_DYNAMIC_DISPATCH(round_keys)(
      keys, means_.data(), numbers_.data(), panels_.data(), scales_.data(), sums_.data());
  std::fill_n(bias_.data(), keys.length, check);
  std::fill(bias_.data() + keys.length, bias_.data() + n_, kTooLow + check);
  std::fill(scales_.data() + keys.length, scales_.data() + n_, 0.0F);
  std::fill(sums_.data() + keys.length, sums_.data() + n_, 0);
}

void Int8Head::set_values(const HeadRows& values) {
  reserve(values.length, values.size, std::min(kInt8Panel, rounded(values.size, 32)));
  HWY_DYNAMIC_DISPATCH(round_values)
  (values, width_, bias_.data(), panels_.data(), scales_.data());
  std::fill_n(sums_.data(), n_, 0);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

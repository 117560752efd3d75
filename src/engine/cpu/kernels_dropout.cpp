#include <algorithm>
#include <cstring>

#include "base/random.h"
#include "engine/cpu/kernels.h"
#include "engine/dropout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels_dropout.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace bertrand::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

void dropout_mask(const DropoutKey& key, uint64_t window, uint32_t place, size_t columns,
                  float* mask, uint8_t* kept) {
  std::fill_n(kept, kept == nullptr ? 0 : dropout_bytes(columns), uint8_t{0});
  each_dropout_element(key, window, place, columns, [&](size_t element, bool keeps) {
    mask[element] = keeps ? key.scale : 0.0F;
    if (kept != nullptr && keeps) {
      kept[element / 8] = static_cast<uint8_t>(kept[element / 8] | 1U << element % 8);
    }
  });
}

void dropout_mask_again(const uint8_t* kept, float scale, size_t columns, float* mask) {
  for (size_t i = 0; i < columns; ++i) {
    mask[i] = (kept[i / 8] >> i % 8 & 1) != 0 ? scale : 0.0F;
  }
}

#else

/// Philox (base/random.h) on the counters in the even lanes; what stands in the odd ones is of no
/// use, before and after.
template <class D, class V = hn::Vec<D> >
HWY_INLINE void philox_round(D words, V multiplier0, V multiplier1, V key0, V key1,
                             V (&counter)[4]) {
  const auto product0 = hn::MulEven(counter[0], multiplier0);
  const auto product1 = hn::MulEven(counter[2], multiplier1);
  const auto high = [&](auto product) { return hn::BitCast(words, hn::ShiftRight<32>(product)); };
  counter[0] = hn::Xor3(high(product1), counter[1], key0);
  counter[1] = hn::BitCast(words, product1);
  counter[2] = hn::Xor3(high(product0), counter[3], key1);
  counter[3] = hn::BitCast(words, product0);
}

/// As many bits as there are lanes, from `bit` on; where they are fewer than 8, in rising order.
/// StoreMaskBits may write 8 bytes, whatever it needs.
template <class D, class M>
HWY_INLINE void store_bits(D d, M mask, size_t bit, uint8_t* bits) {
  uint8_t few[8] = {};
  hn::StoreMaskBits(d, mask, few);
  if (hn::Lanes(d) >= 8) {
    std::memcpy(bits + bit / 8, few, (hn::Lanes(d) + 7) / 8);
  } else {
    const unsigned before = bit % 8 == 0 ? 0U : bits[bit / 8];
    bits[bit / 8] = static_cast<uint8_t>(before | static_cast<unsigned>(few[0]) << bit % 8);
  }
}

/// LoadMaskBits reads 8 bytes, whatever it needs.
template <class D>
HWY_INLINE hn::Mask<D> load_bits(D d, const uint8_t* bits, size_t bit) {
  uint8_t few[8] = {};
  if (hn::Lanes(d) >= 8) {
    std::memcpy(few, bits + bit / 8, (hn::Lanes(d) + 7) / 8);
  } else {
    few[0] = static_cast<uint8_t>(bits[bit / 8] >> bit % 8);
  }
  return hn::LoadMaskBits(d, few);
}

void dropout_mask(const DropoutKey& key, uint64_t window, uint32_t place, size_t columns,
                  float* mask, uint8_t* kept) {
  const hn::CappedTag<uint32_t, kDropoutCounters> words;
  const hn::RepartitionToWide<decltype(words)> wide;
  const hn::RebindToFloat<decltype(words)> floats;
  using V = hn::Vec<decltype(words)>;
  const V multiplier0 = hn::Set(words, Philox::kMultiplier0);
  const V multiplier1 = hn::Set(words, Philox::kMultiplier1);
  const V threshold = hn::Set(words, key.threshold);
  const auto scale = hn::Set(floats, key.scale);
  const auto store = [&](V halves, size_t element) {
    const auto keep = hn::RebindMask(floats, hn::Not(hn::Lt(halves, threshold)));
    hn::StoreU(hn::IfThenElseZero(keep, scale), floats, mask + element);
    if (kept != nullptr) {
      store_bits(floats, keep, element, kept);
    }
  };
  for (size_t group = 0; group < columns; group += kDropoutGroup) {
    for (size_t lane = 0; lane < kDropoutCounters; lane += hn::Lanes(words)) {
      const V numbers =
          hn::Iota(words, static_cast<uint32_t>(group / kDropoutGroup * kDropoutCounters + lane));
      const V odd_numbers = hn::BitCast(words, hn::ShiftRight<32>(hn::BitCast(wide, numbers)));
      const V second = hn::Set(words, place);
      const V third = hn::Set(words, static_cast<uint32_t>(window));
      const V fourth = hn::Set(words, static_cast<uint32_t>(window >> 32));
      V even[4] = {numbers, second, third, fourth};
      V odd[4] = {odd_numbers, second, third, fourth};
      uint32_t key0 = key.words[0];
      uint32_t key1 = key.words[1];
      for (int round = 0; round < Philox::kRounds; ++round) {
        const V first_key = hn::Set(words, key0);
        const V second_key = hn::Set(words, key1);
        philox_round(words, multiplier0, multiplier1, first_key, second_key, even);
        philox_round(words, multiplier0, multiplier1, first_key, second_key, odd);
        key0 += Philox::kWeyl0;
        key1 += Philox::kWeyl1;
      }
      for (size_t word = 0; word < 4; ++word) {
        const size_t element = group + word * 2 * kDropoutCounters + lane;
        const V turned = hn::BitCast(words, hn::ShiftLeft<32>(hn::BitCast(wide, odd[word])));
        const V made = hn::OddEven(turned, even[word]);
        store(hn::And(made, hn::Set(words, 0xFFFFU)), element);
        store(hn::ShiftRight<16>(made), element + kDropoutCounters);
      }
    }
  }
}

void dropout_mask_again(const uint8_t* kept, float scale, size_t columns, float* mask) {
  const hn::CappedTag<float, kDropoutCounters> d;
  for (size_t i = 0; i < columns; i += hn::Lanes(d)) {
    hn::StoreU(hn::IfThenElseZero(load_bits(d, kept, i), hn::Set(d, scale)), d, mask + i);
  }
}

#endif  // HWY_SCALAR

}  // namespace bertrand::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace bertrand::cpu {

HWY_EXPORT(dropout_mask);
HWY_EXPORT(dropout_mask_again);

void dropout_mask(const DropoutKey& key, uint64_t window, uint32_t place, size_t columns,
                  float* mask, uint8_t* kept) {
  HWY_DYNAMIC_DISPATCH(dropout_mask)(key, window, place, columns, mask, kept);
}

void dropout_mask_again(const uint8_t* kept, float scale, size_t columns, float* mask) {
  HWY_DYNAMIC_DISPATCH(dropout_mask_again)(kept, scale, columns, mask);
}

}  // namespace bertrand::cpu

#endif  // HWY_ONCE

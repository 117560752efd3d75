#include "model/int8.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace bertrand {

Int8Scale Int8Scale::of(std::span<const float> row) {
  using Limits = std::numeric_limits<float>;
  constexpr float kMost = 127;
  // The bits of magnitudes compare as they do; those of infinity and NaN are above all others.
  int32_t bits = 0;
  for (const float x : row) {
    bits = std::max(bits, std::bit_cast<int32_t>(x) & 0x7fffffff);
  }
  const auto most = std::bit_cast<float>(bits);
  if (bits >= std::bit_cast<int32_t>(Limits::infinity())) {
    return {Limits::quiet_NaN(), 0};
  }
  return most < kMost * Limits::min() ? Int8Scale() : Int8Scale{most / kMost, kMost / most};
}

}  // namespace bertrand

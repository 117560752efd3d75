#pragma once

#include <cstdint>
#include <span>

namespace bertrand {

/// How a row of weights becomes whole numbers from -127 to 127: x is about scale * round(x). A row
/// in which nothing is as large as 127 times the smallest normal number becomes zeros, for of its
/// scale there would be no finite inverse. That of a row with NaN or infinity is NaN.
struct Int8Scale {
  float scale = 0;
  float inverse = 0;  ///< 0 where all numbers are 0, or not to be had

  static Int8Scale of(std::span<const float> row);

  /// Of a number of the row, where it is finite; halves go away from zero, as std::lround's do.
  /// Without branches, so that compilers make vector code of loops.
  int32_t round(float x) const {
    const float number = x * inverse;
    const auto whole = static_cast<int32_t>(number);
    const float rest = number - static_cast<float>(whole);
    return whole + static_cast<int32_t>(rest >= 0.5F) - static_cast<int32_t>(rest <= -0.5F);
  }
};

}  // namespace bertrand

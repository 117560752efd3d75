#include "model/int8.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

using Limits = std::numeric_limits<float>;

TEST(Int8Scale, SpansTheRow) {
  const std::vector<float> row = {1, -254, 127, 3, 0};
  const Int8Scale scale = Int8Scale::of(row);
  EXPECT_EQ(scale.scale, 2);
  EXPECT_EQ(scale.round(-254), -127);
  EXPECT_EQ(scale.round(127), 64) << "half is rounded away from zero";
  EXPECT_EQ(scale.round(0), 0);
}

TEST(Int8Scale, HasAFiniteInverseOrNone) {
  for (float most = Limits::max(); most > 0; most *= 0.45F) {
    const std::vector<float> row = {-most, most / 2};
    const Int8Scale scale = Int8Scale::of(row);
    ASSERT_TRUE(std::isfinite(scale.inverse)) << most;
    EXPECT_EQ(scale.round(-most), scale.scale > 0 ? -127 : 0) << most;
    EXPECT_EQ(scale.scale > 0, most >= 127 * Limits::min()) << most;
  }
  EXPECT_EQ(Int8Scale::of({}).round(5), 0);
}

TEST(Int8Scale, IsNoNumberWhereTheRowIsNone) {
  for (const float wrong : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
    const std::vector<float> row = {1, wrong, 2};
    EXPECT_TRUE(std::isnan(Int8Scale::of(row).scale));
    EXPECT_EQ(Int8Scale::of(row).inverse, 0);
  }
}

}  // namespace
}  // namespace bertrand

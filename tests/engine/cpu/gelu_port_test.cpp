// docs/parity.md says how near the GELU of some ports of the reference is to the exact one.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "oracle.h"

namespace bertrand {
namespace {

TEST(GeluPort, ARoundedRootOfTwoChangesLessThanTheDocumentationSays) {
  const auto port = [](double x) { return x * 0.5 * (1 + std::erf(x / 1.41421)); };
  double most = 0;
  for (double x = -20; x <= 20; x += 1e-4) {
    most = std::max(most, std::abs(port(x) - test::gelu_oracle(x, /*tanh_form=*/false)));
  }
  EXPECT_LT(most, 1e-6);
  EXPECT_GT(most, 5e-7);  // else the documentation may say less
}

}  // namespace
}  // namespace bertrand

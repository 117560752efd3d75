// The engine through LibTorch against the same tensors, with the same tolerances, as the native
// one.
#include <gtest/gtest.h>

#include "engine/golden_checks.h"
#include "torch_tests.h"

namespace bertrand::test {
namespace {

std::unique_ptr<EngineWithStates> tiny_engine(Activation act = Activation::gelu,
                                              bool example_masks = true) {
  TorchOptions options;
  options.threads = 1;  // others run at the same time
  options.example_masks = example_masks;
  auto engine = torch_engine(tiny_config(act), options);
  load_tiny(*engine);
  return engine;
}

TEST(TorchGolden, ForwardIsPyTorchs) {
  BERTRAND_NEEDS_TORCH();
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_forward(*tiny_engine());
}

TEST(TorchGolden, ForwardWithTanhGeluIsPyTorchs) {
  BERTRAND_NEEDS_TORCH();
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_forward_with_tanh_gelu(*tiny_engine(Activation::gelu_tanh));
}

/// Without dropout both ways of attention are the same function.
TEST(TorchGolden, GradientsArePyTorchs) {
  BERTRAND_NEEDS_TORCH();
  BERTRAND_NEEDS_SHARED(kTiny);
  for (const bool example_masks : {true, false}) {
    expect_golden_gradients(*tiny_engine(Activation::gelu, example_masks));
  }
}

TEST(TorchGolden, TwentyStepsOfBertAdam) {
  BERTRAND_NEEDS_TORCH();
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_trajectory(*tiny_engine(), "bertadam");
}

TEST(TorchGolden, TwentyStepsOfAdamW) {
  BERTRAND_NEEDS_TORCH();
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_trajectory(*tiny_engine(), "adamw");
}

}  // namespace
}  // namespace bertrand::test

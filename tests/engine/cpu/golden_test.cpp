// The engine against tensors dumped from PyTorch (see the shared data's README).
#include <gtest/gtest.h>

#include "engine/cpu/cpu_engine.h"
#include "engine/golden_checks.h"

namespace bertrand::test {
namespace {

std::unique_ptr<CpuEngineWithStates> tiny_engine(unsigned threads = 2,
                                                 Activation act = Activation::gelu) {
  auto engine = make_cpu_engine(tiny_config(act), {threads, Precision::fp32});
  load_tiny(*engine);
  return engine;
}

TEST(Golden, ForwardIsPyTorchs) {
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_forward(*tiny_engine());
}

TEST(Golden, ForwardWithTanhGeluIsPyTorchs) {
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_forward_with_tanh_gelu(*tiny_engine(2, Activation::gelu_tanh));
}

TEST(Golden, GradientsArePyTorchs) {
  BERTRAND_NEEDS_SHARED(kTiny);
  for (const unsigned threads : {1U, 2U, 3U}) {
    expect_golden_gradients(*tiny_engine(threads));
  }
}

TEST(Golden, TwentyStepsOfBertAdam) {
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_trajectory(*tiny_engine(), "bertadam");
}

TEST(Golden, TwentyStepsOfAdamW) {
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_golden_trajectory(*tiny_engine(), "adamw");
}

TEST(Golden, MiniLmLogitsArePyTorchs) {
  BERTRAND_NEEDS_SHARED("models/minilm-squad-reference/model.safetensors");
  const ModelFolder folder = ModelFolder::open(shared_folder() / "models/minilm-squad-reference");
  const auto engine = make_cpu_engine(folder.config(), {/*threads=*/2, Precision::fp32});
  engine->load_parameters(folder.parameters(/*seed=*/1));
  const Golden golden("data/golden/minilm/dev-first-200-windows.safetensors");
  PackedBatch all;
  all.ids = golden.integers<int32_t>("input_ids");
  all.segments = golden.integers<int32_t>("segment_ids");
  all.offsets = golden.integers<int32_t>("offsets");
  all.keys.resize(all.windows());
  const SpanLogits logits = engine->forward(all);
  const auto start = golden.doubles("start_logits");
  const auto end = golden.doubles("end_logits");
  for (size_t row = 0; row < all.tokens(); ++row) {
    ASSERT_NEAR(static_cast<double>(logits.start[row]), start[row], 2e-4);
    ASSERT_NEAR(static_cast<double>(logits.end[row]), end[row], 2e-4);
  }
}

}  // namespace
}  // namespace bertrand::test

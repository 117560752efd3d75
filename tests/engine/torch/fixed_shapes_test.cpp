// Batches rounded up to few shapes, as CUDA's graphs need them, computed by LibTorch on the CPU:
// what is padded changes no score, whether a shape comes for the first time, the second or a later
// one.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/environment.h"
#include "engine/cpu/small_engine.h"
#include "twin.h"

namespace bertrand::test {
namespace {

uint32_t cuda_cards() {
  uint32_t count = 0;
  const int32_t status = built_plugin()->table().count_devices("cuda", nullptr, &count, nullptr);
  return status == bertrand_torch_ok ? count : 0;
}

/// On the CPU, where passes are computed anew, and on a GPU, where they are replayed.
class TorchFixedShapes : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    BERTRAND_NEEDS_TORCH();
    if (is_cuda() && cuda_cards() == 0) GTEST_SKIP() << "no NVIDIA GPU";
  }

  static bool is_cuda() { return std::string(GetParam()) == "cuda"; }

  /// Its dropout is drawn by the device.
  static std::unique_ptr<EngineWithStates> twin(const Engine& native, const char* fixed_shapes,
                                                Precision precision = Precision::fp32) {
    const Environment setting(Environment::Values{{"BERTRAND_FIXED_SHAPES", fixed_shapes}});
    TorchOptions options;
    options.device = GetParam();
    options.precision = precision;
    options.example_masks = false;
    return twin_of(native, options);
  }
};

/// GPUs may add in another order each time.
double rounding(bool is_cuda) { return is_cuda ? 1e-5 : 0; }

void expect_same_scores(Engine& got, Engine& expected, const Batch& batch, double tolerance) {
  const SpanLogits mine = got.forward(batch.packed);
  const SpanLogits theirs = expected.forward(batch.packed);
  ASSERT_EQ(mine.start.size(), theirs.start.size());
  for (size_t i = 0; i < mine.start.size(); ++i) {
    ASSERT_NEAR(mine.start[i], theirs.start[i], tolerance) << "token " << i;
    ASSERT_NEAR(mine.end[i], theirs.end[i], tolerance) << "token " << i;
  }
}

Batch windows_of(const std::vector<size_t>& lengths) {
  Batch batch;
  for (const size_t length : lengths) batch.add(length, 10 * batch.packed.windows() + length);
  return batch;
}

/// Shapes alike and unlike: one window or several, a power of two of them or not, just below and
/// above a step of 64 tokens, and windows of so different lengths that they are left as they are.
const std::vector<std::vector<size_t>> all_batches = {
    {1},  {63},       {64},         {65},        {33},           {5, 130, 64},
    {17}, {128, 128}, {60, 61, 62}, {59, 59, 3}, {1, 1, 1, 500}, {2, 1, 1, 1, 1, 1, 1, 1, 300},
    {512}};

TEST_P(TorchFixedShapes, ScoresAreTheNativeEnginesEachTime) {
  const auto native = small_engine(small_config(2, 16));
  const auto fixed = twin(*native, "1");
  for (int round = 0; round < 3; ++round) {
    for (const std::vector<size_t>& lengths : all_batches) {
      expect_same_scores(*fixed, *native, windows_of(lengths), 1e-4);
    }
  }
}

/// Above 4096 tokens they are computed as they come.
TEST_P(TorchFixedShapes, ALargeBatchIsLeftAsItIs) {
  const auto native = small_engine(small_config(1, 16, /*layers=*/1));
  const auto fixed = twin(*native, "1");
  for (const size_t windows : std::vector<size_t>{8, 9, 8, 9, 8}) {
    expect_same_scores(*fixed, *native, windows_of(std::vector<size_t>(windows, 509)), 1e-4);
  }
}

/// More shapes than are kept: all make room for one too many, and come again.
TEST_P(TorchFixedShapes, OfManyShapesNoneIsTakenForAnother) {
  const auto native = small_engine(small_config(1, 16, /*layers=*/1));
  const auto fixed = twin(*native, "1");
  for (int round = 0; round < 2; ++round) {
    for (size_t windows = 1; windows <= 8; ++windows) {
      for (size_t length = 40; length <= 512; length += 64) {
        const Batch batch = windows_of(std::vector<size_t>(windows, length));
        expect_same_scores(*fixed, *native, batch, 1e-4);
        expect_same_scores(*fixed, *native, batch, 1e-4);
      }
    }
  }
}

TEST_P(TorchFixedShapes, ChangedWeightsAreUsed) {
  const Batch batch = windows_of({40, 70});
  for (const auto& [precision, tolerance] :
       {std::pair{Precision::fp32, 1e-4}, std::pair{Precision::bf16, rounding(is_cuda())}}) {
    const auto native = small_engine(small_config(2, 16));
    const auto fixed = twin(*native, "1", precision);
    const std::vector<float> before = fixed->forward(batch.packed).start;
    for (int step = 0; step < 3; ++step) {
      fixed->backward(batch.packed, batch.targets, Dropout(), 0.5);
      fixed->step(1e-2, OptimizerSettings());
      // The same weights, in an engine that has rounded no others.
      const auto again = twin(*fixed, "1", precision);
      expect_same_scores(*fixed, *again, batch, tolerance);
    }
    const std::vector<float> after = fixed->forward(batch.packed).start;
    EXPECT_GT(relative_difference(after, before), 1e-2);
    copy_parameters(*native, *fixed);
    EXPECT_LE(relative_difference(fixed->forward(batch.packed).start, before), tolerance);
  }
}

TEST_P(TorchFixedShapes, Bf16IsAsCloseToF32AsWithout) {
  const auto native = small_engine(small_config(4, 16));
  const auto fixed = twin(*native, "1", Precision::bf16);
  const auto free = twin(*native, "0", Precision::bf16);
  for (const std::vector<size_t>& lengths : all_batches) {
    const Batch batch = windows_of(lengths);
    const std::vector<float> expected = native->forward(batch.packed).start;
    EXPECT_LT(relative_difference(free->forward(batch.packed).start, expected), 0.05);
    for (int time = 0; time < 3; ++time) {
      EXPECT_LT(relative_difference(fixed->forward(batch.packed).start, expected), 0.05);
    }
  }
}

/// A sum over a batch that comes for the first time, the second, and once more: with others in
/// between, and with gradients that were there before.
TEST_P(TorchFixedShapes, GradientsAreTheNativeEnginesEachTime) {
  const auto native = small_engine(small_config(2, 16));
  const auto fixed = twin(*native, "1");
  for (int round = 0; round < 3; ++round) {
    for (const std::vector<size_t>& lengths : all_batches) {
      const Batch batch = windows_of(lengths);
      const double weight = 1.0 / static_cast<double>(lengths.size() + static_cast<size_t>(round));
      const double expected = native->backward(batch.packed, batch.targets, Dropout(), weight);
      const double loss = fixed->backward(batch.packed, batch.targets, Dropout(), weight);
      ASSERT_NEAR(loss, expected, 1e-4 * std::max(1.0, expected));
    }
    ASSERT_LT(relative_difference(gradients_of(*fixed), gradients_of(*native)), 2e-5);
  }
}

TEST_P(TorchFixedShapes, StepsAreTheNativeEngines) {
  const auto native = small_engine(small_config(2, 16));
  const auto fixed = twin(*native, "1");
  OptimizerSettings settings;
  settings.epsilon = 1e-3;  // where a gradient is zero, rounding is not to become a step
  const std::vector<float> before = parameters_of(*native);
  for (int step = 0; step < 6; ++step) {
    const Batch batch = step % 2 == 0 ? windows_of({40, 70, 3}) : windows_of({66, 90});
    for (Engine* engine : {static_cast<Engine*>(native.get()), static_cast<Engine*>(fixed.get())}) {
      engine->backward(batch.packed, batch.targets, Dropout(), 0.5);
      engine->step(1e-2, settings);
    }
    expect_same_scores(*fixed, *native, batch, 1e-3);
  }
  EXPECT_GT(relative_difference(parameters_of(*native), before), 1e-2);
  EXPECT_LT(relative_difference(parameters_of(*fixed), parameters_of(*native)), 1e-4);
}

/// What is drawn depends on the step, not on how often the shape came before; and what is kept of
/// it is of the size that the probability says.
TEST_P(TorchFixedShapes, DropoutIsASteps) {
  const auto native = small_engine(small_config(2, 16));
  const Batch batch = windows_of({60, 20, 33, 90});
  const auto fixed = twin(*native, "1");
  const auto gradients = [&](uint64_t step, double probability) {
    const Dropout dropout{1, step, probability, probability};
    fixed->backward(batch.packed, batch.targets, dropout, 0.25);
    std::vector<float> sums = gradients_of(*fixed);
    fixed->step(0, OptimizerSettings());  // zeroes them
    return sums;
  };
  const std::vector<float> first = gradients(1, 0.1);
  EXPECT_GT(relative_difference(gradients(2, 0.1), first), 0.05);
  EXPECT_LE(relative_difference(gradients(1, 0.1), first), rounding(is_cuda()));
  EXPECT_LE(relative_difference(gradients(1, 0.1), first), rounding(is_cuda()));
  EXPECT_GT(relative_difference(gradients(1, 0.4), first), 0.05);
  EXPECT_LE(relative_difference(gradients(1, 0.1), first), rounding(is_cuda()));
  // As far from what is without dropout as without rounding.
  const auto free = twin(*native, "0");
  free->backward(batch.packed, batch.targets, Dropout{1, 1, 0.1, 0.1}, 0.25);
  native->backward(batch.packed, batch.targets, Dropout(), 0.25);
  const std::vector<float> none = gradients_of(*native);
  const double usual = relative_difference(gradients_of(*free), none);
  EXPECT_GT(relative_difference(first, none), usual / 3);
  EXPECT_LT(relative_difference(first, none), usual * 3);
}

INSTANTIATE_TEST_SUITE_P(Devices, TorchFixedShapes, testing::Values("cpu", "cuda"));

TEST(TorchFixedShapesSetting, AnotherValueIsRefused) {
  BERTRAND_NEEDS_TORCH();
  const Environment setting(Environment::Values{{"BERTRAND_FIXED_SHAPES", "yes"}});
  try {
    torch_engine(small_config(2, 16));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("BERTRAND_FIXED_SHAPES is \"yes\""),
              std::string::npos);
  }
}

}  // namespace
}  // namespace bertrand::test

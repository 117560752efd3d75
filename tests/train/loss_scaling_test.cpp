// A run in fp16: steps that are made again, and the factor in its snapshots.
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/temporary_folder.h"
#include "small_engine.h"
#include "small_windows.h"
#include "train/snapshot.h"
#include "train/trainer.h"

namespace bertrand {
namespace {

/// Finds the first gradients too large, twice.
class ScalingEngine : public test::SmallEngine {
 public:
  ScalingEngine() : SmallEngine(test::small_config()) {}

  /// Batches whose loss is not a number: those of so many steps from this one on.
  uint64_t overflows_from = UINT64_MAX, overflows = 0;

  double backward(const PackedBatch& batch, const SpanTargets& targets, const Dropout& dropout,
                  double weight) override {
    const double loss = SmallEngine::backward(batch, targets, dropout, weight);
    return overflow() ? std::numeric_limits<double>::quiet_NaN() : loss;
  }

  void skip_step() override {
    load_moments(
        Moment::first, [](const ParameterInfo&, std::span<float>) {}, steps() + 1);
  }

  StepReport step(double learning_rate, const OptimizerSettings& settings) override {
    if (overflow()) {
      scaling_ = {scaling_.scale / 2, 0};
      return {std::numeric_limits<double>::infinity(), /*repeat=*/scaling_.scale >= 1};
    }
    if (scaling_.scale > 1000) {
      scaling_ = {scaling_.scale / 2, 0};
      // As an engine does: the gradients go, and nothing else happens.
      broken_gradient_at = steps();
      SmallEngine::step(learning_rate, settings);
      broken_gradient_at.reset();
      return {0, /*repeat=*/true};
    }
    ++scaling_.good_steps;
    return SmallEngine::step(learning_rate, settings);
  }
  std::optional<LossScaling> loss_scaling() const override { return scaling_; }
  void set_loss_scaling(const LossScaling& scaling) override { scaling_ = scaling; }

 private:
  bool overflow() const {
    return steps() >= overflows_from && steps() - overflows_from < overflows;
  }

  LossScaling scaling_ = {4000, 0};
};

Recipe small_recipe() {
  Recipe recipe = named_recipe("modern", test::small_config());
  recipe.batch_size = 4;
  return recipe;
}

TEST(LossScaling, AStepIsMadeAgainUntilItsGradientFits) {
  const test::SmallWindows windows(20);
  ScalingEngine engine;
  engine.load_parameters(test::small_weights(1));
  Trainer trainer(engine, windows.all(), small_recipe());
  const std::optional<TrainStep> first = trainer.step();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->step, 1U);
  EXPECT_EQ(first->windows, 4U);
  ASSERT_EQ(engine.backward_keys.size(), 3U);
  EXPECT_EQ(engine.backward_keys[1], engine.backward_keys[0]);
  EXPECT_EQ(engine.backward_keys[2], engine.backward_keys[0]);
  EXPECT_EQ(engine.dropouts[2].step, 0U);
  EXPECT_EQ(trainer.step()->step, 2U);
  EXPECT_EQ(engine.backward_keys.size(), 4U);
  EXPECT_EQ(engine.loss_scaling()->scale, 1000);
}

/// As PyTorch's scaler does: the step is not made, and the run goes on.
TEST(LossScaling, AStepWhoseLossIsNotFiniteIsSkipped) {
  const test::SmallWindows windows(20);
  ScalingEngine engine;
  engine.load_parameters(test::small_weights(1));
  engine.set_loss_scaling({1000, 0});
  engine.overflows_from = 1;
  engine.overflows = 2;
  Trainer trainer(engine, windows.all(), small_recipe());
  EXPECT_FALSE(trainer.step()->skipped);
  for (const uint64_t number : {2U, 3U}) {
    const std::optional<TrainStep> step = trainer.step();
    EXPECT_EQ(step->step, number);
    EXPECT_TRUE(step->skipped);
    EXPECT_EQ(trainer.steps(), number);
  }
  const std::optional<TrainStep> next = trainer.step();
  EXPECT_EQ(next->step, 4U);
  EXPECT_FALSE(next->skipped);
  EXPECT_TRUE(std::isfinite(next->loss));
  EXPECT_NE(engine.backward_keys[2], engine.backward_keys[1]) << "each has its own batch";
  EXPECT_EQ(engine.loss_scaling()->scale, 250);
}

TEST(LossScaling, ManySkippedInARowEndTheRun) {
  const test::SmallWindows windows(200);
  ScalingEngine engine;
  engine.load_parameters(test::small_weights(1));
  engine.set_loss_scaling({1000, 0});
  engine.overflows_from = 0;
  engine.overflows = 1000;
  Trainer trainer(engine, windows.all(), small_recipe());
  unsigned skipped = 0;
  try {
    for (; skipped < 100; ++skipped) EXPECT_TRUE(trainer.step()->skipped);
    ADD_FAILURE() << "it goes on for ever";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::runtime);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("after 20 steps that were skipped"),
                                             testing::HasSubstr("--precision bf16 or fp32")));
  }
  EXPECT_EQ(skipped, 20U);
}

TEST(LossScaling, IsInTheSnapshot) {
  const test::TemporaryFolder folder;
  write_file(folder / "pieces.txt", "[PAD]\n");
  ScalingEngine engine;
  engine.load_parameters(test::small_weights(1));
  engine.set_loss_scaling({512, 17});
  RunState state;
  state.recipe = small_recipe();
  state.recipe.precision = Precision::fp16;
  ModelFolderContents contents;
  contents.config = test::small_config();
  contents.vocabulary = folder / "pieces.txt";
  contents.parameters = engine.parameters();
  contents.store_parameters = [&](const ParameterWriter& write) { engine.store_parameters(write); };
  write_snapshot(folder / "snapshot", engine, contents, state);
  const RunState read = read_snapshot_state(folder / "snapshot");
  EXPECT_EQ(read.recipe.precision, Precision::fp16);
  ScalingEngine other;
  load_snapshot(folder / "snapshot", read, other);
  EXPECT_EQ(other.loss_scaling()->scale, 512);
  EXPECT_EQ(other.loss_scaling()->good_steps, 17U);
}

}  // namespace
}  // namespace bertrand

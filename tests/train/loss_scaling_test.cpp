// A run in fp16: steps that are made again, and the factor in its snapshots.
#include <optional>
#include <vector>

#include <gtest/gtest.h>

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

  StepReport step(double learning_rate, const OptimizerSettings& settings) override {
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

// The trainer on the native engine: what the small engine cannot show.

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/temporary_folder.h"
#include "engine/cpu/cpu_engine.h"
#include "small_engine.h"
#include "small_windows.h"
#include "tiny_engine.h"
#include "train/snapshot.h"
#include "train/trainer.h"

namespace bertrand {
namespace {

using test::tiny_config;
using test::tiny_engine;

Recipe tiny_recipe(const char* name) {
  Recipe recipe = named_recipe(name, tiny_config());
  recipe.batch_size = 8;
  recipe.micro_batch_tokens = 50;
  recipe.learning_rate = 0.003;
  recipe.epochs = 3;
  return recipe;
}

std::vector<float> all_of(const Engine& engine) {
  std::vector<float> all;
  const auto append = [&](const ParameterInfo&, std::span<const float> values) {
    all.insert(all.end(), values.begin(), values.end());
  };
  engine.store_parameters(append);
  engine.store_moments(Moment::first, append);
  engine.store_moments(Moment::second, append);
  return all;
}

/// An engine that a snapshot of `engine` was loaded into.
std::unique_ptr<Engine> through_a_snapshot(const Engine& engine, const Recipe& recipe) {
  const test::TemporaryFolder folder;
  write_file(folder / "pieces.txt", "[PAD]\n");
  RunState state;
  state.recipe = recipe;
  state.steps = engine.steps();
  ModelFolderContents contents;
  contents.config = tiny_config();
  contents.vocabulary = folder / "pieces.txt";
  contents.parameters = engine.parameters();
  contents.store_parameters = [&](const ParameterWriter& write) { engine.store_parameters(write); };
  write_snapshot(folder / "snapshot", engine, contents, state);
  std::unique_ptr<Engine> other = make_cpu_engine(tiny_config(), {/*threads=*/2, Precision::fp32});
  load_snapshot(folder / "snapshot", read_snapshot_state(folder / "snapshot"), *other);
  return other;
}

class NativeRun : public testing::TestWithParam<const char*> {};

TEST_P(NativeRun, LearnsWhereTheAnswerIs) {
  const test::SmallWindows windows(200);
  const auto engine = tiny_engine(/*threads=*/2);
  Recipe recipe = tiny_recipe(GetParam());
  recipe.epochs = 6;
  Trainer trainer(*engine, windows.all(), recipe);
  const double before = trainer.step()->loss;
  double after = before;
  while (!trainer.finished()) {
    after = trainer.step()->loss;
  }
  EXPECT_LT(after, before / 3);
}

TEST_P(NativeRun, GoesOnFromASnapshotBitForBit) {
  const test::SmallWindows windows(60);
  const Recipe recipe = tiny_recipe(GetParam());
  const auto whole = tiny_engine(/*threads=*/2);
  Trainer uninterrupted(*whole, windows.all(), recipe);
  const auto part = tiny_engine(/*threads=*/2);
  Trainer begun(*part, windows.all(), recipe);
  while (!uninterrupted.finished()) {
    uninterrupted.step();
  }
  for (int step = 0; step < 11; ++step) {
    begun.step();
  }
  const auto other = through_a_snapshot(*part, recipe);
  Trainer resumed(*other, windows.all(), recipe);
  EXPECT_EQ(resumed.steps(), 11U);
  while (!resumed.finished()) {
    resumed.step();
  }
  EXPECT_EQ(all_of(*other), all_of(*whole));
}

/// Stopped before the first step, a run has no moments yet; they are zeros.
TEST_P(NativeRun, GoesOnFromASnapshotOfTheBeginBitForBit) {
  const test::SmallWindows windows(20);
  const Recipe recipe = tiny_recipe(GetParam());
  const auto whole = tiny_engine(/*threads=*/2);
  const auto other = through_a_snapshot(*tiny_engine(/*threads=*/2), recipe);
  EXPECT_EQ(other->steps(), 0U);
  for (Engine* engine : {whole.get(), other.get()}) {
    Trainer trainer(*engine, windows.all(), recipe);
    while (!trainer.finished()) {
      trainer.step();
    }
  }
  EXPECT_EQ(all_of(*other), all_of(*whole));
}

INSTANTIATE_TEST_SUITE_P(Recipes, NativeRun, testing::Values("modern", "reference"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace bertrand

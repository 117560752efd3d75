#include "train/schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

Recipe reference() { return named_recipe("reference", BertConfig()); }

TEST(Schedule, RisesFromZeroAndFallsToZero) {
  EXPECT_EQ(warmup_linear(0, 0.1), 0);
  EXPECT_DOUBLE_EQ(warmup_linear(0.05, 0.1), 0.5);
  EXPECT_DOUBLE_EQ(warmup_linear(0.1, 0.1), 1);
  EXPECT_DOUBLE_EQ(warmup_linear(0.55, 0.1), 0.5);
  EXPECT_EQ(warmup_linear(1, 0.1), 0);
  EXPECT_EQ(warmup_linear(1.01, 0.1), 0);
  for (const double end : {1.0, 1.01}) {
    EXPECT_FALSE(std::signbit(warmup_linear(end, 0.1))) << "it is shown as -0";
  }
}

TEST(Schedule, WithoutWarmUpBeginsAtTheHighest) {
  EXPECT_EQ(warmup_linear(0, 0), 1);
  EXPECT_DOUBLE_EQ(warmup_linear(0.5, 0), 0.5);
}

TEST(Schedule, ReferenceCountsQuestionsOnFourCards) {
  const ScheduleCounts counts = count_steps(reference(), /*examples=*/87599, /*windows=*/88864, 4);
  EXPECT_EQ(counts.total, 10949U);
  EXPECT_EQ(counts.steps, 11108U);
  EXPECT_EQ(counts.steps_per_epoch, 5554U);
}

/// The last step of an epoch takes what is left, and some windows come twice.
TEST(Schedule, CountsTheWindowsOfSteps) {
  Recipe recipe = reference();
  recipe.batch_size = 4;
  const ScheduleCounts alone = count_steps(recipe, 10, /*windows=*/10, 1);
  EXPECT_EQ(windows_of(alone, 0), 0U);
  EXPECT_EQ(windows_of(alone, 2), 8U);
  EXPECT_EQ(windows_of(alone, 3), 10U);
  EXPECT_EQ(windows_of(alone, 7), 24U);
  const ScheduleCounts shared = count_steps(recipe, 10, /*windows=*/10, 4);
  EXPECT_EQ(windows_of(shared, 1), 12U);
  recipe.batch_size = 2;
  EXPECT_EQ(windows_of(count_steps(recipe, 10, /*windows=*/10, 4), 3), 20U);
}

TEST(Schedule, ReferenceEndsWithStepsOfRateZero) {
  const Recipe recipe = reference();
  const ScheduleCounts counts = count_steps(recipe, 87599, 88864, 4);
  EXPECT_EQ(learning_rate_at(recipe, counts, 0), 0);
  EXPECT_GT(learning_rate_at(recipe, counts, 10948), 0);
  EXPECT_EQ(learning_rate_at(recipe, counts, 10949), 0);
  EXPECT_EQ(learning_rate_at(recipe, counts, 11107), 0);
}

TEST(Schedule, ReferenceOnOneCardWithAccumulation) {
  Recipe recipe = reference();
  EXPECT_EQ(count_steps(recipe, 87599, 88864, 1).total, 43798U);
  recipe.batch_size = 32;
  recipe.accumulation = 5;  // parts of 6 windows: floor(87599 / 6 / 5) = 2919
  EXPECT_EQ(count_steps(recipe, 87599, 88864, 1).total, 5838U);
}

TEST(Schedule, ReferenceLeavesItsTotalAloneWhenStoppedEarly) {
  Recipe recipe = reference();
  recipe.max_steps = 100;
  const ScheduleCounts counts = count_steps(recipe, 87599, 88864, 1);
  EXPECT_EQ(counts.steps, 100U);
  EXPECT_EQ(counts.total, 43798U);
}

TEST(Schedule, ModernFallsOverTheStepsMade) {
  Recipe recipe = named_recipe("modern", BertConfig());
  ScheduleCounts counts = count_steps(recipe, 87599, 88864, 1);
  EXPECT_EQ(counts.steps_per_epoch, 2777U);
  EXPECT_EQ(counts.steps, 5554U);
  EXPECT_EQ(counts.total, 5554U);
  recipe.max_steps = 100;
  counts = count_steps(recipe, 87599, 88864, 1);
  EXPECT_EQ(counts.total, 100U);
  EXPECT_EQ(learning_rate_at(recipe, counts, 0), 0);
  EXPECT_DOUBLE_EQ(learning_rate_at(recipe, counts, 10), recipe.learning_rate);
  EXPECT_GT(learning_rate_at(recipe, counts, 99), 0);
}

TEST(Schedule, MoreStepsThanTheEpochsHoldAreNotMade) {
  Recipe recipe = named_recipe("modern", BertConfig());
  recipe.max_steps = 100000;
  EXPECT_EQ(count_steps(recipe, 100, 100, 1).steps, 8U);
}

TEST(Schedule, FewerQuestionsThanABatchGiveRateZero) {
  const Recipe recipe = reference();
  const ScheduleCounts counts = count_steps(recipe, 3, 3, 1);
  EXPECT_EQ(counts.total, 0U);
  EXPECT_EQ(learning_rate_at(recipe, counts, 0), 0);
}

}  // namespace
}  // namespace bertrand

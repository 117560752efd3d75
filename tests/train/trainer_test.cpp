#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "small_engine.h"
#include "small_windows.h"

namespace bertrand {
namespace {

using test::SmallEngine;
using test::SmallWindows;
using testing::HasSubstr;

Recipe small_recipe(const char* name = "modern") {
  Recipe recipe = named_recipe(name, test::small_config());
  recipe.batch_size = 4;
  recipe.learning_rate = 0.05;
  return recipe;
}

std::unique_ptr<SmallEngine> small_engine() {
  auto engine = std::make_unique<SmallEngine>(test::small_config());
  engine->load_parameters(test::small_weights(1));
  return engine;
}

std::vector<float> weights_of(const Engine& engine) {
  std::vector<float> all;
  engine.store_parameters([&](const ParameterInfo&, std::span<const float> values) {
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

TEST(MicroBatches, KeepToTheTokensAndTakeEveryWindowOnceInOrder) {
  std::vector<uint32_t> lengths, batch;
  for (uint32_t i = 0; i < 40; ++i) {
    lengths.push_back(10 + i * 37 % 90);
    batch.push_back(39 - i);
  }
  for (const size_t tokens : {100U, 250U, 600U, 100000U}) {
    std::vector<uint32_t> joined;
    for (const auto& piece : micro_batches(batch, lengths, tokens, 1)) {
      size_t sum = 0;
      for (const uint32_t window : piece) {
        sum += lengths[window];
      }
      EXPECT_FALSE(piece.empty());
      EXPECT_LE(sum, tokens);
      joined.insert(joined.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(joined, batch);
  }
}

TEST(MicroBatches, AreAlikeInTokens) {
  const std::vector<uint32_t> lengths(32, 180);
  std::vector<uint32_t> batch(32);
  std::iota(batch.begin(), batch.end(), 0U);
  const auto pieces = micro_batches(batch, lengths, 4096, 1);
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0].size(), 16U);
}

TEST(MicroBatches, AreAsManyAsAskedFor) {
  const std::vector<uint32_t> lengths(12, 10);
  std::vector<uint32_t> batch(12);
  std::iota(batch.begin(), batch.end(), 0U);
  EXPECT_EQ(micro_batches(batch, lengths, 4096, 1).size(), 1U);
  EXPECT_EQ(micro_batches(batch, lengths, 4096, 3).size(), 3U);
  EXPECT_EQ(micro_batches(batch, lengths, 4096, 12).size(), 12U);
}

TEST(MicroBatches, AreAsManyAsAskedForWhereOneWindowIsMostOfTheBatch) {
  const std::vector<uint32_t> lengths = {1, 1, 100};
  EXPECT_EQ(micro_batches(std::vector<uint32_t>{0, 1, 2}, lengths, 4096, 3).size(), 3U);
  EXPECT_EQ(micro_batches(std::vector<uint32_t>{2, 1, 0}, lengths, 4096, 3).size(), 3U);
}

TEST(MicroBatches, ALongWindowGoesAlone) {
  const std::vector<uint32_t> lengths = {10, 500, 10};
  const std::vector<uint32_t> batch = {0, 1, 2};
  EXPECT_EQ(micro_batches(batch, lengths, 100, 1).size(), 3U);
}

TEST(Trainer, MakesAllStepsOfAllEpochs) {
  const SmallWindows windows(30);
  const auto engine = small_engine();
  for (const char* name : {"modern", "reference"}) {
    const auto fresh = small_engine();
    Trainer trainer(*fresh, windows.all(), small_recipe(name));
    EXPECT_EQ(trainer.counts().steps, 16U);
    std::vector<size_t> sizes;
    while (!trainer.finished()) {
      sizes.push_back(trainer.step()->windows);
    }
    EXPECT_EQ(fresh->steps(), 16U);
    std::map<uint64_t, int> seen;
    for (const auto& keys : fresh->backward_keys) {
      for (const uint64_t key : keys) {
        ++seen[key];
      }
    }
    EXPECT_EQ(seen.size(), 30U);
    EXPECT_TRUE(
        std::all_of(seen.begin(), seen.end(), [](const auto& at) { return at.second == 2; }));
  }
}

TEST(Trainer, WeighsAWindowByItsWholeBatch) {
  const SmallWindows windows(6);
  const auto engine = small_engine();
  Recipe recipe = small_recipe("reference");
  recipe.micro_batch_tokens = 1;
  recipe.epochs = 1;
  Trainer trainer(*engine, windows.all(), recipe);
  trainer.step();
  trainer.step();
  EXPECT_THAT(engine->backward_weights, testing::ElementsAre(0.25, 0.25, 0.25, 0.25, 0.5, 0.5));
}

TEST(Trainer, MicroBatchesChangeNothingButRounding) {
  const SmallWindows windows(30);
  std::vector<std::vector<double>> losses;
  for (const uint32_t tokens : {1U, 17U, 4096U}) {
    const auto engine = small_engine();
    Recipe recipe = small_recipe();
    recipe.micro_batch_tokens = tokens;
    Trainer trainer(*engine, windows.all(), recipe);
    losses.emplace_back();
    while (!trainer.finished()) {
      losses.back().push_back(trainer.step()->loss);
    }
  }
  for (size_t step = 0; step < losses[0].size(); ++step) {
    EXPECT_NEAR(losses[0][step], losses[2][step], 1e-4);
    EXPECT_NEAR(losses[1][step], losses[2][step], 1e-4);
  }
}

TEST(Trainer, Learns) {
  const SmallWindows windows(60);
  const auto engine = small_engine();
  Recipe recipe = small_recipe();
  recipe.epochs = 20;
  Trainer trainer(*engine, windows.all(), recipe);
  const double before = trainer.step()->loss;
  double after = before;
  while (!trainer.finished()) {
    after = trainer.step()->loss;
  }
  EXPECT_LT(after, before / 2);
}

TEST(Trainer, GivesTheEngineSeedStepAndRate) {
  const SmallWindows windows(10);
  const auto engine = small_engine();
  Recipe recipe = small_recipe();
  recipe.seed = 7;
  recipe.hidden_dropout = 0.2;
  recipe.attention_dropout = 0.3;
  Trainer trainer(*engine, windows.all(), recipe);
  std::vector<double> rates;
  while (!trainer.finished()) {
    rates.push_back(trainer.step()->learning_rate);
  }
  EXPECT_EQ(rates, engine->rates);
  EXPECT_EQ(rates[0], 0);
  EXPECT_DOUBLE_EQ(rates[3], 0.05 * (3.0 / 6 - 1) / (0.1 - 1));
  ASSERT_EQ(engine->dropouts.size(), rates.size());
  for (uint64_t step = 0; step < rates.size(); ++step) {
    EXPECT_EQ(engine->dropouts[step].seed, 7U);
    EXPECT_EQ(engine->dropouts[step].step, step);
    EXPECT_EQ(engine->dropouts[step].hidden, 0.2);
    EXPECT_EQ(engine->dropouts[step].attention, 0.3);
  }
}

TEST(Trainer, StopsBetweenMicroBatchesWithoutAStep) {
  const SmallWindows windows(30);
  const auto engine = small_engine();
  Recipe recipe = small_recipe();
  recipe.micro_batch_tokens = 1;
  Trainer trainer(*engine, windows.all(), recipe);
  trainer.step();
  const std::vector<float> before = weights_of(*engine);
  int asked = 0;
  EXPECT_FALSE(trainer.step({[&] { return ++asked == 3; }, {}}).has_value());
  EXPECT_EQ(trainer.steps(), 1U);
  EXPECT_EQ(weights_of(*engine), before);
}

TEST(Trainer, ALossThatIsNoNumberEndsTheRunBeforeItsStep) {
  const SmallWindows windows(30);
  const auto engine = small_engine();
  engine->broken_loss_at = 2;
  Trainer trainer(*engine, windows.all(), small_recipe());
  trainer.step();
  trainer.step();
  try {
    trainer.step();
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::runtime);
    EXPECT_THAT(error.what(), HasSubstr("Step 3: the loss is not finite (nan)"));
  }
  EXPECT_EQ(engine->steps(), 2U);
}

TEST(Trainer, SoDoesAGradient) {
  const SmallWindows windows(30);
  const auto engine = small_engine();
  engine->broken_gradient_at = 0;
  Trainer trainer(*engine, windows.all(), small_recipe());
  try {
    trainer.step();
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Step 1: the gradient is not finite (inf)"));
  }
}

TEST(Trainer, CountsQuestionsNotWindowsForTheReference) {
  const SmallWindows windows(30, /*per_example=*/3);
  const auto engine = small_engine();
  const Trainer trainer(*engine, windows.all(), small_recipe("reference"));
  EXPECT_EQ(trainer.counts().total, 4U);  // floor(10 / 4) * 2
  EXPECT_EQ(trainer.counts().steps, 16U);
}

TEST(Trainer, WithoutWindowsThereIsNothingToTrainOn) {
  const auto engine = small_engine();
  EXPECT_THROW(Trainer(*engine, {}, small_recipe()), Error);
}

}  // namespace
}  // namespace bertrand

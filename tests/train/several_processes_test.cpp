// The trainer in several processes: their steps are those of one that is given all their batches.
#include <map>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "distributed/thread_group.h"
#include "small_engine.h"
#include "small_windows.h"
#include "tiny_engine.h"
#include "train/trainer.h"

namespace bertrand {
namespace {

using test::run_good_processes;
using test::run_processes;
using test::SmallEngine;
using test::SmallWindows;
using test::tiny_config;
using test::tiny_engine;
using testing::HasSubstr;

std::vector<float> weights_of(const Engine& engine) {
  std::vector<float> all;
  engine.store_parameters([&](const ParameterInfo&, std::span<const float> values) {
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

// ---- on the native engine, with dropout ----

constexpr uint64_t kSteps = 50;

Recipe tiny_recipe(const std::string& name) {
  Recipe recipe = named_recipe(name, tiny_config());
  recipe.batch_size = 4;
  recipe.micro_batch_tokens = 30;
  recipe.learning_rate = 3e-5;
  recipe.epochs = 8;
  return recipe;
}

/// What processes, or the one that stands for them, leave.
struct Result {
  std::vector<double> losses;
  std::vector<float> weights;
};

std::vector<Result> train_processes(const Recipe& recipe, const SmallWindows& windows,
                                    unsigned count) {
  std::vector<Result> results(count);
  run_good_processes(count, [&](ProcessGroup& group) {
    Result& mine = results[group.place().rank];
    const auto engine = tiny_engine(/*threads=*/1);
    Trainer trainer(*engine, windows.all(), recipe, &group);
    while (trainer.steps() < kSteps) {
      mine.losses.push_back(trainer.step()->loss);
    }
    mine.weights = weights_of(*engine);
  });
  return results;
}

/// One process that computes, in each step, the batches of all ranks at once.
Result train_union(const Recipe& recipe, const SmallWindows& windows, unsigned count) {
  std::vector<uint32_t> lengths;
  for (const Window& window : windows.all()) {
    lengths.push_back(static_cast<uint32_t>(window.ids.size()));
  }
  const ScheduleCounts counts = count_steps(recipe, lengths.size(), lengths.size(), count);
  const auto engine = tiny_engine(/*threads=*/1);
  Result result;
  for (uint64_t step = 0; step < kSteps; ++step) {
    PackedBatch packed;
    SpanTargets targets;
    for (unsigned rank = 0; rank < count; ++rank) {
      const uint64_t epoch = step / counts.steps_per_epoch;
      const EpochOrder order =
          recipe.order == WindowOrder::torch
              ? torch_order(static_cast<uint32_t>(lengths.size()), recipe.batch_size, recipe.seed,
                            epoch, {count, rank})
              : length_aware_order(lengths, recipe.batch_size, recipe.seed, epoch, {count, rank});
      for (const uint32_t index : order.batch(step % counts.steps_per_epoch)) {
        const Window& window = windows.all()[index];
        packed.add(window.ids, window.document_begin, index);
        targets.start.push_back(window.start);
        targets.end.push_back(window.end);
      }
    }
    const double weight = 1.0 / static_cast<double>(packed.windows());
    const Dropout dropout = {recipe.seed, step, recipe.hidden_dropout, recipe.attention_dropout};
    result.losses.push_back(engine->backward(packed, targets, dropout, weight) * weight);
    engine->step(learning_rate_at(recipe, counts, step), recipe.optimizer);
  }
  result.weights = weights_of(*engine);
  return result;
}

using Case = std::tuple<const char*, unsigned>;

class SeveralProcesses : public testing::TestWithParam<Case> {};

TEST_P(SeveralProcesses, MakeTheStepsOfOneWithTheUnionOfTheirBatches) {
  const auto& [name, count] = GetParam();
  // 101: the last batch of an epoch is short, and some windows come twice.
  const SmallWindows windows(101);
  const Recipe recipe = tiny_recipe(name);
  ASSERT_GT(recipe.hidden_dropout, 0);
  const std::vector<Result> several = train_processes(recipe, windows, count);
  const Result one = train_union(recipe, windows, count);
  for (const Result& result : several) {
    EXPECT_EQ(result.losses, several[0].losses);
    EXPECT_EQ(result.weights, several[0].weights);
  }
  for (uint64_t step = 0; step < kSteps; ++step) {
    EXPECT_NEAR(several[0].losses[step] / one.losses[step], 1, 1e-5) << "step " << step;
  }
  EXPECT_NE(several[0].weights, weights_of(*tiny_engine(/*threads=*/1)));
}

INSTANTIATE_TEST_SUITE_P(Recipes, SeveralProcesses,
                         testing::Combine(testing::Values("modern", "reference"),
                                          testing::Values(2U, 4U)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)) +
                                  std::to_string(std::get<1>(test.param));
                         });

// ---- on the small engine, which tells what it was asked ----

Recipe small_recipe(const char* name = "modern") {
  Recipe recipe = named_recipe(name, test::small_config());
  recipe.batch_size = 4;
  recipe.learning_rate = 0.05;
  return recipe;
}

/// A trainer of each process on an engine of its own, which is there afterwards.
class SmallProcesses {
 public:
  explicit SmallProcesses(unsigned count) {
    for (unsigned rank = 0; rank < count; ++rank) {
      engines_.push_back(std::make_unique<SmallEngine>(test::small_config()));
      engines_.back()->load_parameters(test::small_weights(1));
    }
  }

  SmallEngine& engine(unsigned rank) { return *engines_[rank]; }

  /// Calls body(trainer, rank) in each; what they threw, as text.
  std::vector<std::string> run(const SmallWindows& windows, const Recipe& recipe,
                               const std::function<void(Trainer&, unsigned)>& body) {
    std::vector<std::string> said;
    const auto thrown =
        run_processes(static_cast<unsigned>(engines_.size()), [&](ProcessGroup& group) {
          const unsigned rank = group.place().rank;
          Trainer trainer(engine(rank), windows.all(), recipe, &group);
          body(trainer, rank);
        });
    for (const std::exception_ptr& one : thrown) {
      said.emplace_back(one ? "" : "nothing");
      try {
        if (one) std::rethrow_exception(one);
      } catch (const std::exception& error) {
        said.back() = error.what();
      }
    }
    return said;
  }

 private:
  std::vector<std::unique_ptr<SmallEngine>> engines_;
};

void train_to_the_end(Trainer& trainer, unsigned) {
  while (!trainer.finished()) {
    trainer.step();
  }
}

/// As DistributedSampler without set_epoch: the permutation of seed 0 in each epoch, padded by its
/// beginning, every count-th window from the rank.
TEST(TrainerOfSeveral, TakesTheReferencesOrder) {
  const SmallWindows windows(30);
  Recipe recipe = small_recipe("reference");
  recipe.seed = 17;
  SmallProcesses processes(4);
  EXPECT_THAT(processes.run(windows, recipe, train_to_the_end), testing::Each("nothing"));
  std::mt19937 generator(0);
  const std::vector<uint32_t> all = torch_randperm(30, generator);
  for (unsigned rank = 0; rank < 4; ++rank) {
    std::vector<uint64_t> seen, expected;
    for (const auto& keys : processes.engine(rank).backward_keys) {
      seen.insert(seen.end(), keys.begin(), keys.end());
    }
    for (unsigned epoch = 0; epoch < recipe.epochs; ++epoch) {
      for (unsigned i = rank; i < 32; i += 4) {
        expected.push_back(all[i % 30]);
      }
    }
    EXPECT_EQ(seen, expected) << "rank " << rank;
  }
}

TEST(TrainerOfSeveral, WeighsAWindowByTheBatchesOfAll) {
  const SmallWindows windows(24);
  Recipe recipe = small_recipe("reference");
  recipe.epochs = 1;
  SmallProcesses processes(4);
  std::vector<TrainStep> steps;
  processes.run(windows, recipe, [&](Trainer& trainer, unsigned rank) {
    while (!trainer.finished()) {
      const TrainStep step = *trainer.step();
      if (rank == 0) steps.push_back(step);
    }
  });
  for (unsigned rank = 0; rank < 4; ++rank) {
    EXPECT_THAT(processes.engine(rank).backward_weights, testing::ElementsAre(1.0 / 16, 1.0 / 8));
    EXPECT_EQ(weights_of(processes.engine(rank)), weights_of(processes.engine(0)));
  }
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].windows, 16U);
  EXPECT_EQ(steps[1].windows, 8U);
  size_t tokens = 0;
  for (const Window& window : windows.all()) tokens += window.ids.size();
  EXPECT_EQ(steps[0].tokens + steps[1].tokens, tokens);
}

TEST(TrainerOfSeveral, OneThatStopsStopsAllAtTheSameStep) {
  const SmallWindows windows(60);
  SmallProcesses processes(3);
  processes.run(windows, small_recipe(), [](Trainer& trainer, unsigned rank) {
    int asked = 0;
    const auto stop_now = [&] { return rank == 1 && ++asked > 4; };
    while (trainer.step({stop_now, {}})) {
    }
  });
  EXPECT_EQ(processes.engine(0).steps(), 4U);
  EXPECT_EQ(processes.engine(1).steps(), 4U);
  EXPECT_EQ(processes.engine(2).steps(), 4U);
  EXPECT_EQ(weights_of(processes.engine(2)), weights_of(processes.engine(1)));
}

TEST(TrainerOfSeveral, AWishOfOneIsKnownToAll) {
  const SmallWindows windows(60);
  SmallProcesses processes(2);
  std::vector<std::string> seen(2);
  processes.run(windows, small_recipe(), [&](Trainer& trainer, unsigned rank) {
    for (int step = 0; step < 3; ++step) {
      const auto wishes = [&] {
        return StepWishes{rank == 0 && step == 2, rank == 1 && step == 1};
      };
      const StepWishes agreed = trainer.step({{}, wishes})->wishes;
      seen[rank] += agreed.stop ? 's' : agreed.snapshot ? 'p' : '-';
    }
  });
  EXPECT_THAT(seen, testing::Each("-ps"));
}

TEST(TrainerOfSeveral, ALossThatIsNoNumberInOneEndsAllAlike) {
  const SmallWindows windows(60);
  SmallProcesses processes(3);
  processes.engine(2).broken_loss_at = 2;
  const auto said = processes.run(windows, small_recipe(), train_to_the_end);
  EXPECT_THAT(said[0], HasSubstr("Step 3: the loss is not finite (nan)"));
  EXPECT_EQ(said[1], "") << "rank 0 says it";
  EXPECT_EQ(said[2], "");
  for (unsigned rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(processes.engine(rank).steps(), 2U);
    EXPECT_EQ(weights_of(processes.engine(rank)), weights_of(processes.engine(0)));
  }
}

TEST(TrainerOfSeveral, OneThatDiesIsMissed) {
  const SmallWindows windows(60);
  SmallProcesses processes(3);
  const auto said = processes.run(windows, small_recipe(), [](Trainer& trainer, unsigned rank) {
    while (!trainer.finished()) {
      if (rank == 1 && trainer.steps() == 3) throw std::runtime_error("dies");
      trainer.step();
    }
  });
  EXPECT_EQ(said[1], "dies");
  EXPECT_EQ(said[0], "Process 1 is gone.");
  EXPECT_EQ(said[2], "Process 1 is gone.");
  EXPECT_EQ(processes.engine(0).steps(), 3U);
}

}  // namespace
}  // namespace bertrand

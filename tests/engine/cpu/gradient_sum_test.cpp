// Gradients of several processes: their sum is that of one which computed the batches of all.
#include <gtest/gtest.h>

#include "distributed/thread_group.h"
#include "engine/cpu/cpu_engine.h"
#include "small_engine.h"

namespace bertrand::test {
namespace {

constexpr Dropout kDropout{/*seed=*/1, /*step=*/2, /*hidden=*/0.1, /*attention=*/0.1};

/// The batch of one process; each has words the others have not.
Batch batch_of_rank(unsigned rank) {
  Batch batch;
  batch.add(/*length=*/9 + rank, /*key=*/2 * rank);
  batch.add(/*length=*/20, /*key=*/2 * rank + 1);
  return batch;
}

/// All gradients after reduce_gradients, by rank; a rank of `idle` computes nothing.
std::vector<std::vector<float>> reduced(const BertConfig& config, unsigned count, unsigned idle) {
  std::vector<std::vector<float>> gradients(count);
  run_good_processes(count, [&](ProcessGroup& group) {
    const unsigned rank = group.place().rank;
    const auto engine = small_engine(config, /*threads=*/1);
    if (rank != idle) {
      const Batch batch = batch_of_rank(rank);
      engine->backward(batch.packed, batch.targets, kDropout, /*weight=*/0.125);
    }
    engine->reduce_gradients(group);
    gradients[rank] = gradients_of(*engine);
  });
  return gradients;
}

std::vector<float> of_one(const BertConfig& config, unsigned count, unsigned idle) {
  const auto engine = small_engine(config, /*threads=*/1);
  for (unsigned rank = 0; rank < count; ++rank) {
    if (rank != idle) {
      const Batch batch = batch_of_rank(rank);
      engine->backward(batch.packed, batch.targets, kDropout, /*weight=*/0.125);
    }
  }
  return gradients_of(*engine);
}

TEST(GradientSum, IsThatOfOneProcessAndTheSameBitsInEach) {
  for (const unsigned count : {2U, 4U}) {
    for (const auto& [heads, size] : {std::pair{2, 16}, std::pair{3, 5}}) {
      const BertConfig config = small_config(heads, size);
      const auto gradients = reduced(config, count, /*idle=*/count);
      for (const auto& others : gradients) {
        EXPECT_EQ(others, gradients[0]);
      }
      EXPECT_LT(relative_difference(gradients[0], of_one(config, count, count)), 1e-6);
    }
  }
}

TEST(GradientSum, TakesAProcessThatComputedNothing) {
  const BertConfig config = small_config(2, 16);
  const auto gradients = reduced(config, 2, /*idle=*/1);
  EXPECT_EQ(gradients[0], gradients[1]);
  EXPECT_EQ(gradients[0], of_one(config, 2, /*idle=*/1));
}

TEST(GradientSum, StepsAreTheSameBitsInEachProcess) {
  const BertConfig config = small_config(2, 16);
  std::vector<std::vector<float>> parameters(4);
  run_good_processes(4, [&](ProcessGroup& group) {
    const unsigned rank = group.place().rank;
    const auto engine = small_engine(config, /*threads=*/1);
    for (uint64_t step = 0; step < 3; ++step) {
      const Batch batch = batch_of_rank((rank + static_cast<unsigned>(step)) % 4);
      engine->backward(batch.packed, batch.targets, {1, step, 0.1, 0.1}, /*weight=*/0.125);
      engine->reduce_gradients(group);
      engine->step(1e-3, OptimizerSettings());
    }
    parameters[rank] = parameters_of(*engine);
  });
  for (const auto& others : parameters) {
    EXPECT_EQ(others, parameters[0]);
  }
  EXPECT_NE(parameters[0], parameters_of(*small_engine(config)));
}

/// Squares are summed while a gradient is made, or after processes have exchanged it.
TEST(GradientSum, NormsAreTheSameBitsWheneverTheyAreTaken) {
  for (const auto& [heads, size] : {std::pair{4, 16}, std::pair{3, 5}, std::pair{13, 16}}) {
    const BertConfig config = small_config(heads, size);
    OptimizerSettings settings;
    settings.clip = GradientClip::per_parameter;
    settings.max_gradient_norm = 1e-3;
    double norms[2] = {};
    std::vector<float> after[2];
    for (const bool exchanges : {false, true}) {
      run_good_processes(1, [&](ProcessGroup& group) {
        const auto engine = small_engine(config);
        for (unsigned part = 0; part < 2; ++part) {
          const Batch batch = batch_of_rank(part);
          engine->backward(batch.packed, batch.targets, kDropout, /*weight=*/0.125);
        }
        double squares = 0;
        for (const float gradient : gradients_of(*engine)) {
          squares += static_cast<double>(gradient) * static_cast<double>(gradient);
        }
        if (exchanges) {
          engine->reduce_gradients(group);
        }
        norms[exchanges] = engine->step(1e-3, settings).gradient_norm;
        EXPECT_NEAR(norms[exchanges], std::sqrt(squares), 1e-12 * std::sqrt(squares));
        after[exchanges] = parameters_of(*engine);
      });
    }
    EXPECT_EQ(norms[0], norms[1]);
    EXPECT_EQ(after[0], after[1]);
  }
}

}  // namespace
}  // namespace bertrand::test

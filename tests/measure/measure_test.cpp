#include "measure/measure.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "measure/blocks.h"
#include "measure/fma_loop.h"
#include "measure/rates.h"
#include "measure/squad_lengths.h"
#include "measure/work.h"

namespace bertrand::measure {
namespace {

size_t windows_of(const std::vector<Block>& blocks) {
  return std::accumulate(blocks.begin(), blocks.end(), size_t{0},
                         [](size_t sum, const Block& block) { return sum + block.lengths.size(); });
}

TEST(UsefulWork, IsThatOfTheMatrices) {
  // W: 84,934,656 weights of matrices in BERT-base, 10,616,832 in MiniLM-L6
  const std::vector<size_t> one = {1};
  EXPECT_DOUBLE_EQ(useful_work(bert_base(), lengths_of(one)) * 1e9,
                   2 * 84'934'656.0 + 4 * 12 * 768);
  EXPECT_DOUBLE_EQ(useful_work(mini_lm(), lengths_of(one)) * 1e9, 2 * 10'616'832.0 + 4 * 6 * 384);
}

TEST(UsefulWork, CountsEachWindowsOwnSquare) {
  const std::vector<size_t> windows = {100, 300};
  const Lengths lengths = lengths_of(windows);
  EXPECT_EQ(lengths.windows, 2);
  EXPECT_EQ(lengths.tokens, 400);
  EXPECT_EQ(lengths.squares, 100'000);
}

TEST(Blocks, HoldEveryInferenceWindowOnce) {
  std::vector<size_t> all;
  for (const Block& block : blocks_of(Work::inference, /*quick=*/false)) {
    EXPECT_TRUE(std::is_sorted(block.lengths.begin(), block.lengths.end()));
    all.insert(all.end(), block.lengths.begin(), block.lengths.end());
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all.size(), 319U);
  EXPECT_TRUE(std::equal(all.begin(), all.end(), std::begin(kInferenceLengths)));
}

TEST(Blocks, OfScalingAreAThirdOfInference) {
  const std::vector<Block> blocks = blocks_of(Work::scaling, /*quick=*/false);
  EXPECT_EQ(blocks.size(), 3U);
  EXPECT_EQ(windows_of(blocks), 3U * 36);
}

TEST(Blocks, OfTrainingAreThreeOfFourSteps) {
  std::mt19937 random(1);
  for (const auto& [work, windows] : {std::pair{Work::training, 32U}, {Work::training_4, 4U}}) {
    const std::vector<Block> blocks = blocks_of(work, /*quick=*/false);
    ASSERT_EQ(blocks.size(), 3U);
    for (const Block& block : blocks) {
      const std::vector<TrainingStep> steps = training_steps(block, random);
      ASSERT_EQ(steps.size(), 4U);
      size_t tokens = 0;
      for (const TrainingStep& step : steps) {
        EXPECT_EQ(step.windows, windows);
        size_t there = 0;
        for (size_t i = 0; i < step.batches.size(); ++i) {
          EXPECT_LE(step.batches[i].tokens(), kBatchTokens);
          EXPECT_EQ(step.targets[i].start.size(), step.batches[i].windows());
          there += step.batches[i].windows();
          tokens += step.batches[i].tokens();
        }
        EXPECT_EQ(there, windows);
      }
      EXPECT_EQ(static_cast<double>(tokens), lengths_of(block.lengths).tokens);
    }
  }
}

TEST(Blocks, AreFewWhenQuick) {
  for (const Work work : {Work::inference, Work::training, Work::training_4, Work::scaling}) {
    EXPECT_LE(windows_of(blocks_of(work, /*quick=*/true)), 10U);
    EXPECT_GE(windows_of(blocks_of(work, /*quick=*/true)), 1U);
  }
}

TEST(RandomBatches, KeepLengthsAndStayWithinTheLimit) {
  std::mt19937 random(1);
  const std::vector<size_t> lengths = {5, 60, 30, 120, 10};
  std::vector<size_t> found;
  for (const PackedBatch& batch : random_batches(lengths, 100, random)) {
    EXPECT_TRUE(batch.tokens() <= 100 || batch.windows() == 1);
    for (size_t i = 0; i < batch.windows(); ++i) found.push_back(batch.length(i));
  }
  EXPECT_EQ(found, lengths);
}

TEST(Quantile, IsAValueThatIsThere) {
  const std::vector<double> values = {5, 1, 4, 2, 3};
  EXPECT_EQ(quantile(values, 0), 1);
  EXPECT_EQ(quantile(values, 0.5), 3);
  EXPECT_EQ(quantile(values, 0.99), 5);
  EXPECT_EQ(quantile(std::vector<double>{7}, 0.99), 7);
}

TEST(FmaLoop, ComputesWhatItCounts) {
  // s -> 0.999 s + 0.001 tends to 1, and the sum over all lanes to their number
  float sum = 0;
  const double flop = fma_loop(100'000, sum);
  const double lanes = flop / (2.0 * 12 * 100'000);
  EXPECT_GE(lanes, 1);
  EXPECT_NEAR(sum, 12 * lanes, 0.01 * 12 * lanes);
}

TEST(Rates, AreMeasured) {
  const Rates rates = measure_rates(mini_lm(), 2, 1);
  EXPECT_GT(rates.fma, 0);
  EXPECT_GT(rates.product, 0);
  ThreadPool pool(2);
  EXPECT_GT(time_fma_loop(pool, 1000), 0);
}

TEST(Blocks, AreHeldAgainstTheBetterOfTheSamplesAroundThem) {
  std::vector<Rates> samples = {{100, 110}, {200, 210}, {50, 300}, {50, 60}};
  size_t taken = 0;
  Blocks blocks([&] { return samples.at(taken++); });
  blocks.add(/*gflop=*/300, /*windows=*/4, /*seconds=*/2);  // 150 GFLOP/s between 100 and 200
  blocks.add(100, 4, 1);                                    // between 200 and 50
  blocks.add(40, 4, 1);                                     // between 50 and 50
  EXPECT_EQ(taken, samples.size());
  EXPECT_EQ(blocks.fractions(), (std::vector<double>{0.75, 0.5, 0.8}));
  const Result result = blocks.result();
  EXPECT_EQ(result.fraction, 0.75);
  EXPECT_EQ(result.gflops, 100);
  EXPECT_EQ(result.seconds, 4);
  EXPECT_EQ(result.windows_per_second, 3);
  EXPECT_EQ(result.rates.product, 200);
  EXPECT_EQ(result.rates.fma, 300);
  EXPECT_FALSE(result.valid) << "200 is less than nine tenths of 300";
}

TEST(Blocks, AreValidFromNineTenthsOn) {
  for (const double product : {89.0, 91.0}) {
    Blocks blocks([&] { return Rates{product, 100}; });
    blocks.run(1, 1, [] {});
    EXPECT_EQ(blocks.result().valid, product > 90);
  }
}

TEST(Latency, ExcessOfTheMachineIsTakenOff) {
  std::vector<double> windows(100, 2);
  std::vector<double> loops(100, 3);
  windows[0] = windows[1] = 5;
  loops[0] = loops[1] = 4;
  const Latency latency = latency_of(windows, loops);
  EXPECT_EQ(latency.median, 2);
  EXPECT_EQ(latency.percentile_99, 5);
  EXPECT_EQ(latency.machine_excess, 1);
  EXPECT_EQ(latency.spread(), 2);
}

TEST(Measure, GivesFiguresThatFitEachOther) {
  BertConfig small = mini_lm();
  small.num_hidden_layers = 1;
  for (const Work work : all_work()) {
    for (const Precision precision : precisions(work)) {
      const Result result = measure(small, work, {2, precision, /*quick=*/true});
      EXPECT_GT(result.seconds, 0);
      EXPECT_GT(result.windows_per_second, 0);
      EXPECT_NEAR(result.fraction, result.gflops / result.rates.product, 1e-9);
      const bool reached = result.rates.product >= kLeastShare * result.rates.fma;
      if (work == Work::scaling) {  // R on one thread decides, too
        EXPECT_TRUE(reached || !result.valid);
      } else {
        EXPECT_EQ(result.valid, reached);
      }
      const bool latency = work == Work::latency_128 || work == Work::latency_384;
      EXPECT_EQ(result.latency.median > 0, latency);
      EXPECT_EQ(result.scaling > 0, work == Work::scaling);
      EXPECT_GE(result.latency.percentile_99, result.latency.median);
    }
  }
}

TEST(Names, AreAllDifferent) {
  std::vector<std::string> names;
  for (const Work work : all_work()) names.emplace_back(name_of(work));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

}  // namespace
}  // namespace bertrand::measure

// The whole network in bf16 and in 8 bits against itself in f32.
#include <algorithm>
#include <utility>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/cpu/bf16.h"
#include "engine/cpu/cpu_engine.h"
#include "engine/cpu/products.h"
#include "small_engine.h"

namespace bertrand::test {
namespace {

TEST(Precision, Bf16IsCloseToF32) {
  if (!cpu_multiplies_bf16()) {
    EXPECT_THROW(make_cpu_engine(small_config(2, 16), {1, Precision::bf16}), Error);
    GTEST_SKIP() << "this CPU has no bf16 instructions";
  }
  // Hidden sizes that are odd, fill panels, and do not.
  for (const auto& [heads, head_size] : {std::pair{4, 16}, {3, 7}, {2, 40}}) {
    const BertConfig config = small_config(heads, head_size);
    const Batch batch = batch_of({100, 60, 3, 1, 1});
    const auto f32 = small_engine(config);
    const SpanLogits expected = f32->forward(batch.packed);
    const Dropout dropout{1, 2, 0.1, 0.1};
    const double loss = f32->backward(batch.packed, batch.targets, dropout, 0.25);
    for (const bool library : {false, true}) {
      const auto bf16 = small_engine(config, CpuOptions{2, Precision::bf16, library});
      const SpanLogits got = bf16->forward(batch.packed);
      EXPECT_LT(relative_difference(got.start, expected.start), 0.03);
      EXPECT_NE(got.start, expected.start);
      EXPECT_NEAR(bf16->backward(batch.packed, batch.targets, dropout, 0.25) / loss, 1, 0.03);
      EXPECT_LT(relative_difference(gradients_of(*bf16), gradients_of(*f32)), 0.06)
          << heads << " heads of " << head_size << ", library " << library;
    }
  }
}

TEST(Precision, Bf16IsTheSameInAnyBatchAndOnAnyNumberOfThreads) {
  if (!cpu::has_bf16_panels() || cpu::library_has_tiles()) {
    GTEST_SKIP() << "products of bf16 are not our own on this CPU";
  }
  const BertConfig config = small_config(4, 16);
  const auto together = small_engine(config, 2, Precision::bf16);
  const auto alone = small_engine(config, 1, Precision::bf16);
  const std::vector<size_t> lengths = {100, 61, 3, 250};
  Batch batch;
  for (const size_t length : lengths) {
    batch.add(length, length);
  }
  const SpanLogits all = together->forward(batch.packed);
  size_t begin = 0;
  for (const size_t length : lengths) {
    Batch one;
    one.add(length, length);
    const SpanLogits got = alone->forward(one.packed);
    ASSERT_TRUE(std::equal(got.start.begin(), got.start.end(),
                           all.start.begin() + static_cast<std::ptrdiff_t>(begin)));
    begin += length;
  }
}

TEST(Precision, Bf16RoundsNewWeightsAnew) {
  if (!cpu_multiplies_bf16()) {
    GTEST_SKIP() << "this CPU has no bf16 instructions";
  }
  const BertConfig config = small_config(2, 16);
  const Batch batch = batch_of({20, 9});
  const auto engine = small_engine(config, 2, Precision::bf16);
  const auto after_step = small_engine(config, 2, Precision::bf16);
  engine->backward(batch.packed, batch.targets, Dropout(), 1);
  engine->step(1e-2, OptimizerSettings());
  const SpanLogits got = engine->forward(batch.packed);
  EXPECT_NE(got.start, after_step->forward(batch.packed).start);
  const auto values = parameters_of(*engine);
  size_t begin = 0;
  after_step->load_parameters([&](const ParameterInfo&, std::span<float> to) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(begin), to.size(), to.begin());
    begin += to.size();
  });
  EXPECT_EQ(after_step->forward(batch.packed).start, got.start);
}

TEST(Precision, Bf16StepsHaveTheSameBitsOnTheSameThreads) {
  if (!cpu_multiplies_bf16()) {
    GTEST_SKIP() << "this CPU has no bf16 instructions";
  }
  // Heads that are odd end in the middle of a word of memory that two threads write to.
  const BertConfig config = small_config(3, 7);
  const Batch batch = batch_of({100, 60, 200, 3, 90});
  for (const bool library : {false, true}) {
    const auto run = [&](unsigned threads) {
      const auto engine = small_engine(config, CpuOptions{threads, Precision::bf16, library});
      std::vector<double> losses;
      for (uint64_t step = 0; step < 3; ++step) {
        losses.push_back(engine->backward(batch.packed, batch.targets, {1, step, 0.1, 0.1}, 0.2));
        engine->step(3e-5, OptimizerSettings());
      }
      return std::pair(losses, parameters_of(*engine));
    };
    const auto [losses, parameters] = run(3);
    EXPECT_EQ(run(3).second, parameters) << "library " << library;
    EXPECT_NEAR(run(1).first.back() / losses.back(), 1, 1e-3) << "library " << library;
  }
}

TEST(Precision, Int8IsCloseToF32AndOnlyAnswers) {
  const BertConfig config = small_config(4, 16);
  const Batch batch = batch_of({100, 60, 3, 1});
  const auto f32 = small_engine(config);
  const auto int8 = small_engine(config, 2, Precision::int8);
  const SpanLogits expected = f32->forward(batch.packed);
  const SpanLogits got = int8->forward(batch.packed);
  // These weights make scores of attention far larger than those of a trained model.
  EXPECT_LT(relative_difference(got.start, expected.start), 0.07);
  EXPECT_NE(got.start, expected.start);
  EXPECT_EQ(small_engine(config, 1, Precision::int8)->forward(batch.packed).start, got.start);
  EXPECT_THROW(int8->backward(batch.packed, batch.targets, Dropout(), 1), Error);
  BertConfig wide = config;
  wide.intermediate_size = 65537;
  EXPECT_THROW(make_cpu_engine(wide, {1, Precision::int8}), Error);
  // New weights are rounded anew.
  int8->load_parameters([](const ParameterInfo&, std::span<float> values) {
    std::fill(values.begin(), values.end(), 0.0F);
  });
  for (const float logit : int8->forward(batch.packed).start) {
    EXPECT_EQ(logit, 0.0F);
  }
}

/// Which one it is depends on the machine.
TEST(Precision, AutoIsFp32OrBf16AndNothingToComputeIn) {
  const BertConfig config = small_config(2, 16);
  for (const Purpose purpose : {Purpose::answers, Purpose::training}) {
    const PrecisionChoice choice = fastest_cpu_precision(config, /*threads=*/2, purpose);
    EXPECT_TRUE(choice.precision == Precision::fp32 ||
                (choice.precision == Precision::bf16 && cpu_multiplies_bf16()));
    EXPECT_EQ(choice.timed.size(), cpu_multiplies_bf16() ? 2U : 0U);
    for (const PrecisionChoice::Timed& timed : choice.timed) {
      EXPECT_GT(timed.seconds, 0);
    }
  }
  EXPECT_THROW(make_cpu_engine(config, {1, Precision::automatic}), Error);
}

}  // namespace
}  // namespace bertrand::test

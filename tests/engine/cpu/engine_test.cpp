// The whole network against the plain one in f64: logits, gradients, dropout, and what is promised
// of threads, batches and steps.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/cpu/cpu_engine.h"
#include "oracle.h"
#include "small_engine.h"

namespace bertrand::test {
namespace {

struct Shape {
  int64_t heads, head_size;
  std::vector<size_t> lengths;
};

class Shapes : public testing::TestWithParam<Shape> {};

TEST_P(Shapes, ForwardIsThePlainNetworks) {
  for (const Activation act : {Activation::gelu, Activation::gelu_tanh}) {
    BertConfig config = small_config(GetParam().heads, GetParam().head_size);
    config.hidden_act = act;
    const auto engine = small_engine(config);
    Batch batch;
    for (const size_t length : GetParam().lengths) {
      batch.add(length, batch.packed.windows());
    }
    const SpanLogits logits = engine->forward(batch.packed);
    const NetworkOracle oracle(config, *engine);
    Doubles start;
    Doubles end;
    // The oracle goes window by window, start then end; so do the logits it keeps.
    oracle.loss(batch.packed, batch.targets, Dropout(), &start, &end);
    ASSERT_EQ(start.size(), batch.packed.tokens());
    for (size_t i = 0; i < start.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(logits.start[i]), start[i], 1e-4);
      ASSERT_NEAR(static_cast<double>(logits.end[i]), end[i], 1e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Lengths, Shapes,
                         testing::Values(Shape{2, 16, {1}}, Shape{1, 32, {1, 1, 2, 3}},
                                         Shape{1, 64, {33}}, Shape{3, 5, {7, 130, 1}},
                                         Shape{2, 7, {48, 49}}, Shape{1, 16, {512}},
                                         Shape{4, 1, {5}}));

TEST(Engine, GradientsAreSlopesOfThePlainNetworkWithDropout) {
  for (const auto& [heads, size] : {std::pair{2, 16}, std::pair{3, 5}}) {
    const BertConfig config = small_config(heads, size);
    const auto engine = small_engine(config);
    const Batch batch = batch_of({5, 1, 9});
    const Dropout dropout{/*seed=*/3, /*step=*/4, /*hidden=*/0.2, /*attention=*/0.3};
    NetworkOracle oracle(config, *engine);
    const double loss = engine->backward(batch.packed, batch.targets, dropout, /*weight=*/0.5);
    EXPECT_NEAR(loss, oracle.loss(batch.packed, batch.targets, dropout), 1e-4);
    engine->store_gradients([&](const ParameterInfo& info, std::span<const float> values) {
      Doubles& parameter = oracle.parameters[info.name];
      const size_t step = std::max<size_t>(1, values.size() / 7);
      for (size_t i = 0; i < values.size(); i += step) {
        const auto half_loss = [&] {
          return oracle.loss(batch.packed, batch.targets, dropout) / 2;
        };
        ASSERT_NEAR(static_cast<double>(values[i]), slope(half_loss, parameter[i], 1e-3), 2e-4)
            << info.name << " element " << i;
      }
    });
  }
}

TEST(Engine, MicroBatchesAddUpToTheBatch) {
  const BertConfig config = small_config(2, 16);
  expect_micro_batches_add_up(*small_engine(config), *small_engine(config));
}

TEST(Engine, ThreadsChangeNothingButRounding) {
  const BertConfig config = small_config(2, 16);
  const Batch batch = batch_of({100, 60, 200, 3, 90});
  const Dropout dropout{1, 2, 0.1, 0.1};
  const auto run = [&](unsigned threads) {
    const auto engine = small_engine(config, threads);
    std::vector<double> losses;
    for (int step = 0; step < 5; ++step) {
      losses.push_back(engine->backward(batch.packed, batch.targets, dropout, 0.2));
      engine->step(3e-5, OptimizerSettings());
    }
    return std::pair(losses, parameters_of(*engine));
  };
  const auto [losses, parameters] = run(2);
  EXPECT_EQ(run(2).second, parameters) << "the same threads give the same bits";
  for (const unsigned threads : {1U, 3U, 4U}) {
    const auto [others, other_parameters] = run(threads);
    for (size_t step = 0; step < losses.size(); ++step) {
      EXPECT_NEAR(others[step] / losses[step], 1, 1e-5);
    }
  }
}

TEST(Engine, LongBatchThenShortThenLong) {
  const auto engine = small_engine(small_config(2, 16));
  const Batch large = batch_of({300, 20});
  const SpanLogits first = engine->forward(large.packed);
  engine->forward(batch_of({1}).packed);
  const SpanLogits again = engine->forward(large.packed);
  EXPECT_EQ(first.start, again.start);
  EXPECT_EQ(first.end, again.end);
}

TEST(Engine, NothingInNothingOut) {
  const auto engine = small_engine(small_config(2, 16));
  EXPECT_TRUE(engine->forward(PackedBatch()).start.empty());
  EXPECT_EQ(engine->backward(PackedBatch(), SpanTargets(), Dropout(), 1), 0);
}

TEST(Engine, ClippingModes) {
  const BertConfig config = small_config(2, 16, /*layers=*/1);
  const Batch batch = batch_of({12});
  OptimizerSettings settings;
  settings.max_gradient_norm = 1e-3;
  std::vector<std::vector<float>> after;
  for (const GradientClip clip :
       {GradientClip::none, GradientClip::global, GradientClip::per_parameter}) {
    settings.clip = clip;
    settings.epsilon = 1e-3;  // large, so that the gradient's size matters to Adam
    const auto engine = small_engine(config);
    engine->backward(batch.packed, batch.targets, Dropout(), 1);
    EXPECT_GT(engine->step(1e-2, settings).gradient_norm, 0.01);
    after.push_back(parameters_of(*engine));
    EXPECT_EQ(engine->steps(), 1U);
    for (const float gradient : gradients_of(*engine)) {
      ASSERT_EQ(gradient, 0);
    }
  }
  EXPECT_NE(after[0], after[1]);
  EXPECT_NE(after[1], after[2]);
}

/// The first step of AdamW with each gradient clipped by its own norm, in f64: query, key and value
/// may be one weight, of which each has its part.
TEST(Engine, ClipsByEachParametersOwnNorm) {
  for (const auto& [heads, size] : {std::pair{2, 16}, std::pair{4, 16}, std::pair{3, 5}}) {
    const auto engine = small_engine(small_config(heads, size));
    const Batch batch = batch_of({12, 30});
    OptimizerSettings settings;
    settings.clip = GradientClip::per_parameter;
    settings.max_gradient_norm = 1e-3;
    settings.epsilon = 1e-3;  // large, so that the gradient's size matters to Adam
    settings.weight_decay = 0;
    engine->backward(batch.packed, batch.targets, Dropout(), 1);
    std::vector<double> expected;
    engine->store_parameters([&](const ParameterInfo&, std::span<const float> values) {
      expected.insert(expected.end(), values.begin(), values.end());
    });
    constexpr double kRate = 0.1;
    size_t next = 0;
    engine->store_gradients([&](const ParameterInfo&, std::span<const float> gradient) {
      double squares = 0;
      for (const float value : gradient) {
        squares += static_cast<double>(value) * static_cast<double>(value);
      }
      const double scale = std::min(1.0, 1e-3 / (std::sqrt(squares) + 1e-6));
      for (const float value : gradient) {
        const double clipped = scale * static_cast<double>(value);
        expected[next++] -= kRate * clipped / (std::fabs(clipped) + 1e-3);
      }
    });
    engine->step(kRate, settings);
    const std::vector<float> found = parameters_of(*engine);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(found[i]), expected[i], 1e-6) << i;
    }
  }
}

TEST(Engine, NanGradientMovesNothing) {
  const auto engine = small_engine(small_config(2, 16));
  const Batch batch = batch_of({12});
  engine->backward(batch.packed, batch.targets, Dropout(),
                   std::numeric_limits<double>::quiet_NaN());
  const auto before = parameters_of(*engine);
  const StepReport report = engine->step(1e-3, OptimizerSettings());
  EXPECT_TRUE(std::isnan(report.gradient_norm));
  EXPECT_EQ(parameters_of(*engine), before);
  EXPECT_EQ(engine->steps(), 0U);
}

#if defined(__SSE__)
/// A row of the word embeddings that no window has for long has such moments: they would stay so
/// small, and slow, for good.
TEST(Engine, DenormalMomentsBecomeZero) {
  const auto engine = small_engine(small_config(2, 16));
  for (const Moment moment : {Moment::first, Moment::second}) {
    engine->load_moments(
        moment,
        [](const ParameterInfo&, std::span<float> values) {
          std::fill(values.begin(), values.end(), 1e-39F);
        },
        /*steps=*/1);
  }
  Batch batch;
  batch.packed.add(std::vector<int32_t>{1, 2, 3}, /*segment_begin=*/1, /*key=*/0);
  batch.targets = {{1}, {2}};
  engine->backward(batch.packed, batch.targets, Dropout(), 1);
  engine->step(1e-3, OptimizerSettings());
  for (const Moment moment : {Moment::first, Moment::second}) {
    engine->store_moments(moment, [](const ParameterInfo& info, std::span<const float> values) {
      if (info.name.ends_with("word_embeddings.weight")) {
        EXPECT_EQ(values.back(), 0);
        EXPECT_NE(values[values.size() / 50], 0) << "of a word that is there";
      }
      for (const float value : values) {
        ASSERT_NE(std::fpclassify(value), FP_SUBNORMAL) << info.name;
      }
    });
  }
}

#endif

TEST(Engine, StateStoredAndLoadedGoesOnBitForBit) {
  const BertConfig config = small_config(2, 16);
  const Batch batch = batch_of({40, 13});
  const auto steps = [&](Engine& engine, uint64_t from, uint64_t to) {
    for (uint64_t step = from; step < to; ++step) {
      engine.backward(batch.packed, batch.targets, Dropout{1, step, 0.1, 0.1}, 0.5);
      engine.step(1e-3, OptimizerSettings());
    }
  };
  const auto straight = small_engine(config);
  steps(*straight, 0, 6);
  const auto first = small_engine(config);
  steps(*first, 0, 3);
  const auto second = make_cpu_engine(config, {/*threads=*/2, Precision::fp32});
  const auto copy = [](const auto& store, const auto& load) {
    std::vector<std::vector<float>> values;
    store([&](const ParameterInfo&, std::span<const float> from) {
      values.emplace_back(from.begin(), from.end());
    });
    size_t next = 0;
    load([&](const ParameterInfo&, std::span<float> to) {
      std::copy(values[next].begin(), values[next].end(), to.begin());
      ++next;
    });
  };
  copy([&](const ParameterWriter& write) { first->store_parameters(write); },
       [&](const ParameterReader& read) { second->load_parameters(read); });
  for (const Moment moment : {Moment::first, Moment::second}) {
    copy([&](const ParameterWriter& write) { first->store_moments(moment, write); },
         [&](const ParameterReader& read) { second->load_moments(moment, read, first->steps()); });
  }
  steps(*second, 3, 6);
  EXPECT_EQ(parameters_of(*second), parameters_of(*straight));
}

TEST(Engine, RefusesWhatIsOutsideTheModel) {
  const auto engine = small_engine(small_config(2, 16));
  EXPECT_THROW(engine->forward(batch_of({513}).packed), Error);
  PackedBatch batch;
  batch.add(std::vector<int32_t>{50}, 1, 0);
  EXPECT_THROW(engine->forward(batch), Error);
  Batch wrong = batch_of({4});
  wrong.targets.end[0] = 4;
  EXPECT_THROW(engine->backward(wrong.packed, wrong.targets, Dropout(), 1), Error);
}

}  // namespace
}  // namespace bertrand::test

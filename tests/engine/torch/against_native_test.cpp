// The two engines check each other on random shapes: they share no code but the definition of
// dropout masks.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "engine/cpu/small_engine.h"
#include "twin.h"

namespace bertrand::test {
namespace {

/// Weights, moments and steps of one engine into another.
void copy_state(const Engine& from, Engine& to) {
  copy_parameters(from, to);
  for (const Moment moment : {Moment::first, Moment::second}) {
    copy_values([&](const ParameterWriter& write) { from.store_moments(moment, write); },
                [&](const ParameterReader& read) { to.load_moments(moment, read, from.steps()); });
  }
}

struct Shape {
  int64_t heads, head_size, layers;
  std::vector<size_t> lengths;
};

class TorchShapes : public testing::TestWithParam<Shape> {
 protected:
  BertConfig config() const {
    return small_config(GetParam().heads, GetParam().head_size, GetParam().layers);
  }
  Batch batch() const {
    Batch made;
    for (const size_t length : GetParam().lengths) {
      made.add(length, 1000 * made.packed.windows() + 7);
    }
    return made;
  }
};

TEST_P(TorchShapes, LogitsAreTheNativeEngines) {
  BERTRAND_NEEDS_TORCH();
  for (const Activation act : {Activation::gelu, Activation::gelu_tanh}) {
    BertConfig shape = config();
    shape.hidden_act = act;
    const auto native = small_engine(shape);
    const Batch windows = batch();
    const SpanLogits expected = native->forward(windows.packed);
    const SpanLogits got = twin_of(*native)->forward(windows.packed);
    ASSERT_EQ(got.start.size(), expected.start.size());
    for (size_t i = 0; i < got.start.size(); ++i) {
      ASSERT_NEAR(got.start[i], expected.start[i], 1e-4);
      ASSERT_NEAR(got.end[i], expected.end[i], 1e-4);
    }
  }
}

TEST_P(TorchShapes, GradientsWithTheSameDropoutAreTheNativeEngines) {
  BERTRAND_NEEDS_TORCH();
  const auto native = small_engine(config());
  const auto torch = twin_of(*native);
  const Batch windows = batch();
  const Dropout dropout{/*seed=*/(uint64_t{5} << 32) + 3, /*step=*/4, /*hidden=*/0.2,
                        /*attention=*/0.3};
  const double expected = native->backward(windows.packed, windows.targets, dropout, 0.5);
  EXPECT_NEAR(torch->backward(windows.packed, windows.targets, dropout, 0.5) / expected, 1, 1e-5);
  EXPECT_LT(relative_difference(gradients_of(*torch), gradients_of(*native)), 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Lengths, TorchShapes,
                         testing::Values(Shape{2, 16, 2, {1, 5}}, Shape{1, 32, 1, {1, 1, 2, 3}},
                                         Shape{1, 64, 2, {33}}, Shape{3, 5, 3, {7, 130, 1, 64, 65}},
                                         Shape{2, 7, 2, {48, 49}}, Shape{1, 16, 1, {512}},
                                         Shape{4, 16, 2, {150, 201, 90, 384}}));

TEST(TorchEngine, MicroBatchesAddUpToTheBatch) {
  BERTRAND_NEEDS_TORCH();
  const auto native = small_engine(small_config(2, 16));
  expect_micro_batches_add_up(*twin_of(*native), *twin_of(*native));
}

TEST(TorchEngine, StepsAreTheNativeEnginesInEachMode) {
  BERTRAND_NEEDS_TORCH();
  const Batch batch = batch_of({12, 30});
  for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::bert_adam}) {
    for (const GradientClip clip :
         {GradientClip::none, GradientClip::global, GradientClip::per_parameter}) {
      OptimizerSettings settings;
      settings.kind = kind;
      settings.clip = clip;
      settings.epsilon = 1e-3;  // large, so that the gradient's size matters to Adam
      settings.weight_decay = 0.1;
      settings.max_gradient_norm = 0.1;
      const auto native = small_engine(small_config(2, 16));
      const auto torch = twin_of(*native);
      const std::vector<float> before = parameters_of(*native);
      for (uint64_t step = 0; step < 4; ++step) {
        const Dropout dropout{1, step, 0.1, 0.1};
        std::vector<double> norms;
        for (Engine* engine :
             {static_cast<Engine*>(native.get()), static_cast<Engine*>(torch.get())}) {
          engine->backward(batch.packed, batch.targets, dropout, 0.5);
          norms.push_back(engine->step(2e-3, settings).gradient_norm);
        }
        // Larger steps would make of the rounding of one, another on each processor, much in the
        // next.
        EXPECT_NEAR(norms[1] / norms[0], 1, step == 0 ? 1e-5 : 1e-4);
      }
      EXPECT_EQ(torch->steps(), 4U);
      EXPECT_GT(relative_difference(before, parameters_of(*native)), 1e-3);
      EXPECT_LT(relative_difference(parameters_of(*torch), parameters_of(*native)), 1e-5);
      for (const float gradient : gradients_of(*torch)) {
        ASSERT_EQ(gradient, 0);
      }
    }
  }
}

/// What one has made the other goes on with.
TEST(TorchEngine, StateOfOneEngineGoesOnInTheOther) {
  BERTRAND_NEEDS_TORCH();
  const Batch batch = batch_of({40, 13});
  OptimizerSettings settings;
  settings.epsilon = 1e-4;  // where a gradient is zero, rounding is not to become a step
  const auto steps = [&](Engine& engine, uint64_t from, uint64_t to) {
    for (uint64_t step = from; step < to; ++step) {
      engine.backward(batch.packed, batch.targets, Dropout{1, step, 0.1, 0.1}, 0.5);
      engine.step(1e-3, settings);
    }
  };
  const auto straight = small_engine(small_config(2, 16));
  const auto first = small_engine(small_config(2, 16));
  const auto begun_by_torch = twin_of(*first);
  steps(*straight, 0, 6);
  steps(*first, 0, 3);
  steps(*begun_by_torch, 0, 3);
  const auto torch = torch_engine(first->config());
  copy_state(*first, *torch);
  EXPECT_EQ(torch->steps(), 3U);
  steps(*torch, 3, 6);
  EXPECT_LT(relative_difference(parameters_of(*torch), parameters_of(*straight)), 1e-5);
  const auto native = make_cpu_engine(first->config(), {/*threads=*/2, Precision::fp32});
  copy_state(*begun_by_torch, *native);
  steps(*native, 3, 6);
  EXPECT_LT(relative_difference(parameters_of(*native), parameters_of(*straight)), 1e-5);
  // And from LibTorch to LibTorch, bit for bit.
  const auto again = torch_engine(first->config());
  copy_state(*begun_by_torch, *again);
  steps(*again, 3, 6);
  steps(*begun_by_torch, 3, 6);
  EXPECT_EQ(parameters_of(*again), parameters_of(*begun_by_torch));
}

/// Two processes that have the same gradients, joined by something else than the plug-in.
class Doubled : public ProcessGroup {
 public:
  ProcessPlace place() const override { return {2, 0}; }
  void sum(std::span<double> values) override { twice(values); }
  void sum(std::span<float> values) override { twice(values); }
  void broadcast(std::span<std::byte>, unsigned) override {}
  void barrier() override {}

 private:
  template <typename Value>
  static void twice(std::span<Value> values) {
    for (Value& value : values) value += value;
  }
};

TEST(TorchEngine, GradientsOfAnyGroupAreSummed) {
  BERTRAND_NEEDS_TORCH();
  const auto engine = twin_of(*small_engine(small_config(2, 16)));
  const Batch batch = batch_of({12, 30});
  engine->backward(batch.packed, batch.targets, Dropout(), 0.5);
  std::vector<float> expected = gradients_of(*engine);
  for (float& gradient : expected) gradient *= 2;
  Doubled group;
  engine->reduce_gradients(group);
  EXPECT_EQ(gradients_of(*engine), expected);
}

TEST(TorchEngine, NanGradientMovesNothing) {
  BERTRAND_NEEDS_TORCH();
  const auto engine = twin_of(*small_engine(small_config(2, 16)));
  const Batch batch = batch_of({12});
  const auto before = parameters_of(*engine);
  engine->backward(batch.packed, batch.targets, Dropout(),
                   std::numeric_limits<double>::quiet_NaN());
  const StepReport report = engine->step(1e-3, OptimizerSettings());
  EXPECT_TRUE(std::isnan(report.gradient_norm));
  EXPECT_FALSE(report.repeat);
  EXPECT_EQ(parameters_of(*engine), before);
  EXPECT_EQ(engine->steps(), 0U);
  engine->backward(batch.packed, batch.targets, Dropout(), 1);
  EXPECT_TRUE(std::isfinite(engine->step(1e-3, OptimizerSettings()).gradient_norm));
}

/// Drawn masks differ from ours, are the same again for the same step, and others for another.
TEST(TorchEngine, DeviceDropoutIsASteps) {
  BERTRAND_NEEDS_TORCH();
  const auto native = small_engine(small_config(2, 16));
  TorchOptions options;
  options.example_masks = false;
  const Batch batch = batch_of({60, 20, 33, 90});
  const auto gradients = [&](uint64_t step) {
    const auto engine = twin_of(*native, options);
    engine->backward(batch.packed, batch.targets, Dropout{1, step, 0.1, 0.1}, 0.25);
    return gradients_of(*engine);
  };
  const std::vector<float> first = gradients(1);
  EXPECT_EQ(gradients(1), first);
  EXPECT_GT(relative_difference(gradients(2), first), 0.05);
  native->backward(batch.packed, batch.targets, Dropout{1, 1, 0.1, 0.1}, 0.25);
  const std::vector<float> ours = gradients_of(*native);
  EXPECT_GT(relative_difference(first, ours), 0.05);
  EXPECT_LT(relative_difference(first, ours), 2);
}

/// Products in bf16, and weights kept in f32: small steps are not lost.
TEST(TorchEngine, Bf16IsCloseToF32) {
  BERTRAND_NEEDS_TORCH();
  const auto native = small_engine(small_config(4, 16));
  TorchOptions options;
  options.precision = Precision::bf16;
  const Batch batch = batch_of({100, 60, 3});
  const auto torch = twin_of(*native, options);
  const SpanLogits expected = native->forward(batch.packed);
  const SpanLogits got = torch->forward(batch.packed);
  EXPECT_LT(relative_difference(got.start, expected.start), 0.05);
  EXPECT_NE(got.start, expected.start);
  const Dropout dropout{1, 0, 0.1, 0.1};
  const double loss = native->backward(batch.packed, batch.targets, dropout, 1.0 / 3);
  EXPECT_NEAR(torch->backward(batch.packed, batch.targets, dropout, 1.0 / 3) / loss, 1, 0.05);
  EXPECT_LT(relative_difference(gradients_of(*torch), gradients_of(*native)), 0.1);
  const std::vector<float> before = parameters_of(*torch);
  torch->step(1e-7, OptimizerSettings());
  EXPECT_NE(parameters_of(*torch), before);
}

/// LibTorch 2.6 and later have halves on the CPU, too.
std::unique_ptr<EngineWithStates> half_twin_of(const Engine& native) {
  TorchOptions options;
  options.precision = Precision::fp16;
  try {
    return twin_of(native, options);
  } catch (const Error&) {
    return nullptr;
  }
}

TEST(TorchEngine, Fp16ScalesLossesByWhatTheyBear) {
  BERTRAND_NEEDS_TORCH();
  const auto native = small_engine(small_config(4, 16));
  const auto torch = half_twin_of(*native);
  if (torch == nullptr) GTEST_SKIP() << "no fp16 on the CPU in this LibTorch";
  const Batch batch = batch_of({100, 60, 3});
  ASSERT_TRUE(torch->loss_scaling());
  EXPECT_FALSE(native->loss_scaling());
  EXPECT_EQ(torch->loss_scaling()->scale, 65536);
  const std::vector<float> before = parameters_of(*torch);
  // A loss so large that it must be scaled by less.
  const double weight = 50;
  int repeats = 0;
  StepReport report;
  do {
    torch->backward(batch.packed, batch.targets, Dropout{1, 0, 0.1, 0.1}, weight);
    report = torch->step(1e-3, OptimizerSettings());
    if (report.repeat) {
      EXPECT_EQ(parameters_of(*torch), before);
      EXPECT_EQ(torch->steps(), 0U);
    }
    ASSERT_LT(++repeats, 20);
  } while (report.repeat);
  EXPECT_GT(repeats, 1);
  EXPECT_EQ(torch->loss_scaling()->scale, 65536 / std::pow(2.0, repeats - 1));
  EXPECT_EQ(torch->loss_scaling()->good_steps, 1U);
  EXPECT_EQ(torch->steps(), 1U);
  native->backward(batch.packed, batch.targets, Dropout{1, 0, 0.1, 0.1}, weight);
  EXPECT_NEAR(report.gradient_norm / native->step(1e-3, OptimizerSettings()).gradient_norm, 1,
              0.05);
  // The factor is no part of what others see, and doubles after steps that went well.
  torch->backward(batch.packed, batch.targets, Dropout(), 1.0 / 3);
  native->backward(batch.packed, batch.targets, Dropout(), 1.0 / 3);
  EXPECT_LT(relative_difference(gradients_of(*torch), gradients_of(*native)), 0.1);
  torch->set_loss_scaling({1024, 1999});
  torch->step(1e-3, OptimizerSettings());  // of gradients scaled by another factor: no matter
  EXPECT_EQ(torch->loss_scaling()->scale, 2048);
  EXPECT_EQ(torch->loss_scaling()->good_steps, 0U);
}

TEST(TorchEngine, NothingInNothingOut) {
  BERTRAND_NEEDS_TORCH();
  const auto engine = twin_of(*small_engine(small_config(2, 16)));
  EXPECT_TRUE(engine->forward(PackedBatch()).start.empty());
  EXPECT_EQ(engine->backward(PackedBatch(), SpanTargets(), Dropout(), 1), 0);
}

TEST(TorchEngine, RefusesWhatIsOutsideTheModel) {
  BERTRAND_NEEDS_TORCH();
  const auto engine = twin_of(*small_engine(small_config(2, 16)));
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

// The engine against tensors dumped from PyTorch (see the shared data's README).
#include "golden.h"

#include <nlohmann/json.hpp>

namespace bertrand::test {
namespace {

constexpr const char* kTiny = "data/golden/bert-tiny/model.safetensors";

/// Their true gradient is zero: a key shift, or one shared by all tokens, changes no softmax.
bool is_zero_gradient(const std::string& name) {
  return name.ends_with("attention.self.key.bias") || name == "qa_outputs.bias" ||
         name == "bert.encoder.layer.2.output.LayerNorm.bias";
}

double norm(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) {
    sum += value * value;
  }
  return std::sqrt(sum);
}

/// Norm of the difference over the norm of what is expected.
double relative_difference(std::span<const float> got, std::vector<double> expected) {
  const double size = norm(expected);
  for (size_t i = 0; i < expected.size(); ++i) {
    expected[i] -= static_cast<double>(got[i]);
  }
  return norm(expected) / size;
}

void expect_logits(const SpanLogits& logits, const TinyBatch& batch, const Golden& golden,
                   double tolerance) {
  const auto start = golden.doubles("start_logits");
  const auto end = golden.doubles("end_logits");
  for (size_t row = 0; row < batch.packed.tokens(); ++row) {
    ASSERT_NEAR(static_cast<double>(logits.start[row]), start[batch.padded_index[row]], tolerance);
    ASSERT_NEAR(static_cast<double>(logits.end[row]), end[batch.padded_index[row]], tolerance);
  }
}

double mean_loss(Engine& engine, const TinyBatch& batch) {
  const auto windows = static_cast<double>(batch.packed.windows());
  return engine.backward(batch.packed, batch.targets, Dropout(), 1 / windows) / windows;
}

TEST(Golden, ForwardIsPyTorchs) {
  BERTRAND_NEEDS_SHARED(kTiny);
  const TinyBatch batch;
  const auto engine = tiny_engine();
  const Golden golden("data/golden/bert-tiny/forward-f64.safetensors");
  expect_logits(engine->forward(batch.packed), batch, golden, 1e-5);
  const auto states = engine->hidden_states(batch.packed);
  ASSERT_EQ(states.size(), 4U);
  const auto hidden = static_cast<size_t>(engine->config().hidden_size);
  for (size_t layer = 0; layer < states.size(); ++layer) {
    const auto expected = golden.doubles("hidden." + std::to_string(layer));
    for (size_t row = 0; row < batch.packed.tokens(); ++row) {
      for (size_t i = 0; i < hidden; ++i) {
        ASSERT_NEAR(static_cast<double>(states[layer][row * hidden + i]),
                    expected[batch.padded_index[row] * hidden + i], 1e-5)
            << "layer " << layer << " row " << row << " column " << i;
      }
    }
  }
  EXPECT_NEAR(mean_loss(*engine, batch), golden.doubles("loss")[0], 1e-5);
}

TEST(Golden, ForwardWithTanhGeluIsPyTorchs) {
  BERTRAND_NEEDS_SHARED(kTiny);
  const TinyBatch batch;
  const auto engine = tiny_engine(Precision::fp32, 2, Activation::gelu_tanh);
  const Golden golden("data/golden/bert-tiny/forward-f64-gelu-tanh.safetensors");
  expect_logits(engine->forward(batch.packed), batch, golden, 1e-5);
  EXPECT_NEAR(mean_loss(*engine, batch), golden.doubles("loss")[0], 1e-5);
}

TEST(Golden, GradientsArePyTorchs) {
  BERTRAND_NEEDS_SHARED(kTiny);
  const TinyBatch batch;
  for (const unsigned threads : {1U, 2U, 3U}) {
    const auto engine = tiny_engine(Precision::fp32, threads);
    mean_loss(*engine, batch);
    const Golden golden("data/golden/bert-tiny/gradients-f64-rounded.safetensors");
    engine->store_gradients([&](const ParameterInfo& info, std::span<const float> values) {
      if (is_zero_gradient(info.name)) {
        std::vector<double> wide(values.begin(), values.end());
        EXPECT_LT(norm(wide), 1e-6) << info.name;
      } else {
        EXPECT_LT(relative_difference(values, golden.doubles(info.name)), 2e-5) << info.name;
      }
    });
  }
}

/// The rates of the stored runs: linear warm-up over the first tenth of 20 steps, then linear
/// decay.
double rate_at(size_t step, bool bert_adam) {
  const double x = static_cast<double>(step) / 20;
  if (x < 0.1) {
    return 1e-3 * x / 0.1;
  }
  return bert_adam ? 1e-3 * std::max((x - 1) / (0.1 - 1), 0.0)
                   : 1e-3 * static_cast<double>(20 - step) / 18;
}

void expect_trajectory(const std::string& name, const OptimizerSettings& settings) {
  const TinyBatch batch;
  const auto engine = tiny_engine();
  std::ifstream file(shared_folder() / "data/golden/bert-tiny/trajectories.json");
  const auto losses = nlohmann::json::parse(file).at(name).at("losses").get<std::vector<double>>();
  ASSERT_EQ(losses.size(), 20U);
  for (size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(mean_loss(*engine, batch) / losses[step], 1, 5e-5) << "step " << step;
    engine->step(rate_at(step, settings.kind == OptimizerKind::bert_adam), settings);
  }
  const Golden golden("data/golden/bert-tiny/" + name + "-after-20.safetensors");
  engine->store_parameters([&](const ParameterInfo& info, std::span<const float> values) {
    if (!is_zero_gradient(info.name)) {
      EXPECT_LT(relative_difference(values, golden.doubles(info.name)), 2e-5) << info.name;
    }
  });
}

TEST(Golden, TwentyStepsOfBertAdam) {
  BERTRAND_NEEDS_SHARED(kTiny);
  OptimizerSettings settings;
  settings.kind = OptimizerKind::bert_adam;
  settings.epsilon = 1e-6;
  settings.clip = GradientClip::per_parameter;
  expect_trajectory("bertadam", settings);
}

TEST(Golden, TwentyStepsOfAdamW) {
  BERTRAND_NEEDS_SHARED(kTiny);
  expect_trajectory("adamw", OptimizerSettings());
}

TEST(Golden, MiniLmLogitsArePyTorchs) {
  BERTRAND_NEEDS_SHARED("models/minilm-squad-reference/model.safetensors");
  const ModelFolder folder = ModelFolder::open(shared_folder() / "models/minilm-squad-reference");
  const auto engine = make_cpu_engine(folder.config(), {/*threads=*/2, Precision::fp32});
  engine->load_parameters(folder.parameters(/*seed=*/1));
  const Golden golden("data/golden/minilm/dev-first-200-windows.safetensors");
  PackedBatch all;
  all.ids = golden.integers<int32_t>("input_ids");
  all.segments = golden.integers<int32_t>("segment_ids");
  all.offsets = golden.integers<int32_t>("offsets");
  all.keys.resize(all.windows());
  const SpanLogits logits = engine->forward(all);
  const auto start = golden.doubles("start_logits");
  const auto end = golden.doubles("end_logits");
  for (size_t row = 0; row < all.tokens(); ++row) {
    ASSERT_NEAR(static_cast<double>(logits.start[row]), start[row], 2e-4);
    ASSERT_NEAR(static_cast<double>(logits.end[row]), end[row], 2e-4);
  }
}

}  // namespace
}  // namespace bertrand::test

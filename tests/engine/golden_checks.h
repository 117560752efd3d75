// What every engine in f32 must give on bert-tiny: tensors dumped from PyTorch (see the shared
// data's README). The engine has the config and the weights of tests/engine/golden.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/golden.h"

namespace bertrand::test {

inline constexpr const char* kTiny = "data/golden/bert-tiny/model.safetensors";

/// Their true gradient is zero: a key shift, or one shared by all tokens, changes no softmax.
inline bool is_zero_gradient(const std::string& name) {
  return name.ends_with("attention.self.key.bias") || name == "qa_outputs.bias" ||
         name == "bert.encoder.layer.2.output.LayerNorm.bias";
}

inline double norm(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) {
    sum += value * value;
  }
  return std::sqrt(sum);
}

/// Norm of the difference over the norm of what is expected.
inline double distance_to(std::span<const float> got, std::vector<double> expected) {
  const double size = norm(expected);
  for (size_t i = 0; i < expected.size(); ++i) {
    expected[i] -= static_cast<double>(got[i]);
  }
  return norm(expected) / size;
}

inline void expect_logits(const SpanLogits& logits, const TinyBatch& batch, const Golden& golden,
                          double tolerance) {
  const auto start = golden.doubles("start_logits");
  const auto end = golden.doubles("end_logits");
  for (size_t row = 0; row < batch.packed.tokens(); ++row) {
    ASSERT_NEAR(static_cast<double>(logits.start[row]), start[batch.padded_index[row]], tolerance);
    ASSERT_NEAR(static_cast<double>(logits.end[row]), end[batch.padded_index[row]], tolerance);
  }
}

inline double mean_loss(Engine& engine, const TinyBatch& batch) {
  const auto windows = static_cast<double>(batch.packed.windows());
  return engine.backward(batch.packed, batch.targets, Dropout(), 1 / windows) / windows;
}

/// Logits, hidden states and loss.
inline void expect_golden_forward(EngineWithStates& engine) {
  const TinyBatch batch;
  const Golden golden("data/golden/bert-tiny/forward-f64.safetensors");
  expect_logits(engine.forward(batch.packed), batch, golden, 1e-5);
  const auto states = engine.hidden_states(batch.packed);
  ASSERT_EQ(states.size(), 4U);
  const auto hidden = static_cast<size_t>(engine.config().hidden_size);
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
  EXPECT_NEAR(mean_loss(engine, batch), golden.doubles("loss")[0], 1e-5);
}

/// The same of an engine with GELU by tanh.
inline void expect_golden_forward_with_tanh_gelu(Engine& engine) {
  const TinyBatch batch;
  const Golden golden("data/golden/bert-tiny/forward-f64-gelu-tanh.safetensors");
  expect_logits(engine.forward(batch.packed), batch, golden, 1e-5);
  EXPECT_NEAR(mean_loss(engine, batch), golden.doubles("loss")[0], 1e-5);
}

inline void expect_golden_gradients(Engine& engine) {
  const TinyBatch batch;
  mean_loss(engine, batch);
  const Golden golden("data/golden/bert-tiny/gradients-f64-rounded.safetensors");
  engine.store_gradients([&](const ParameterInfo& info, std::span<const float> values) {
    if (is_zero_gradient(info.name)) {
      const std::vector<double> wide(values.begin(), values.end());
      EXPECT_LT(norm(wide), 1e-6) << info.name;
    } else {
      EXPECT_LT(distance_to(values, golden.doubles(info.name)), 2e-5) << info.name;
    }
  });
}

/// The rates of the stored runs: linear warm-up over the first tenth of 20 steps, then linear
/// decay.
inline double rate_at(size_t step, bool bert_adam) {
  const double x = static_cast<double>(step) / 20;
  if (x < 0.1) {
    return 1e-3 * x / 0.1;
  }
  return bert_adam ? 1e-3 * std::max((x - 1) / (0.1 - 1), 0.0)
                   : 1e-3 * static_cast<double>(20 - step) / 18;
}

inline OptimizerSettings golden_settings(const std::string& name) {
  OptimizerSettings settings;
  if (name == "bertadam") {
    settings.kind = OptimizerKind::bert_adam;
    settings.epsilon = 1e-6;
    settings.clip = GradientClip::per_parameter;
  }
  return settings;
}

/// 20 steps of "bertadam" or "adamw", as the stored run of that name made them.
inline void expect_golden_trajectory(Engine& engine, const std::string& name) {
  const OptimizerSettings settings = golden_settings(name);
  const TinyBatch batch;
  std::ifstream file(shared_folder() / "data/golden/bert-tiny/trajectories.json");
  const auto losses = nlohmann::json::parse(file).at(name).at("losses").get<std::vector<double>>();
  ASSERT_EQ(losses.size(), 20U);
  for (size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(mean_loss(engine, batch) / losses[step], 1, 5e-5) << "step " << step;
    engine.step(rate_at(step, settings.kind == OptimizerKind::bert_adam), settings);
  }
  const Golden golden("data/golden/bert-tiny/" + name + "-after-20.safetensors");
  engine.store_parameters([&](const ParameterInfo& info, std::span<const float> values) {
    if (!is_zero_gradient(info.name)) {
      EXPECT_LT(distance_to(values, golden.doubles(info.name)), 2e-5) << info.name;
    }
  });
}

}  // namespace bertrand::test

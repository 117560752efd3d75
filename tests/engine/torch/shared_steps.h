// Steps that several processes make together, and one alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cpu/small_engine.h"
#include "engine/torch/torch_tests.h"
#include "engine/torch_group.h"

namespace bertrand::test {

inline TorchGroupOptions group_options(unsigned rank, unsigned count, uint16_t port) {
  TorchGroupOptions options;
  options.place = {count, rank};
  options.port = port;
  options.serves_store = rank == 0;
  options.prefix = count > 2 ? "a-run" : "";
  options.timeout_seconds = 60;
  if (const TestDevice there = test_device(); there.device != "cpu") {
    options.backend = "cncl";
    options.device = there.device;
    options.library = there.library;
  }
  return options;
}

inline constexpr std::array<size_t, 8> kLengths = {20, 7, 33, 64, 12, 50, 41, 9};

/// The windows of one process: every count-th from its rank.
inline Batch share(unsigned rank, unsigned count) {
  Batch batch;
  for (size_t window = rank; window < kLengths.size(); window += count) {
    batch.add(kLengths[window], window);
  }
  return batch;
}

/// Steps as the trainer makes them; the sum of the losses of all windows at each.
inline std::vector<double> make_steps(Engine& engine, const Batch& batch, ProcessGroup* group) {
  OptimizerSettings settings;
  settings.epsilon = 1e-4;  // where a gradient is zero, rounding is not to become a step
  std::vector<double> losses;
  for (uint64_t step = 0; step < 50; ++step) {
    double loss = engine.backward(batch.packed, batch.targets, Dropout{1, step, 0.1, 0.1},
                                  1.0 / kLengths.size());
    if (group != nullptr) {
      group->sum(std::span(&loss, 1));
      engine.reduce_gradients(*group);
    }
    losses.push_back(loss);
    engine.step(3e-5, settings);
  }
  return losses;
}

inline std::unique_ptr<EngineWithStates> seeded_engine(bool is_native) {
  auto native = small_engine(small_config(2, 16), /*threads=*/1);
  if (is_native) return native;
  const std::vector<float> all = parameters_of(*native);
  auto engine = torch_engine(native->config());
  size_t at = 0;
  engine->load_parameters([&](const ParameterInfo&, std::span<float> values) {
    std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(at), values.size(), values.begin());
    at += values.size();
  });
  return engine;
}

}  // namespace bertrand::test

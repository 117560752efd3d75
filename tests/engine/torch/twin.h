#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "torch_tests.h"

namespace bertrand::test {

/// What `store` writes of each parameter is what `load` reads.
template <typename Store, typename Load>
void copy_values(const Store& store, const Load& load) {
  std::vector<std::vector<float>> values;
  store([&](const ParameterInfo&, std::span<const float> stored) {
    values.emplace_back(stored.begin(), stored.end());
  });
  size_t next = 0;
  load([&](const ParameterInfo&, std::span<float> loaded) {
    std::copy(values[next].begin(), values[next].end(), loaded.begin());
    ++next;
  });
}

inline void copy_parameters(const Engine& from, Engine& to) {
  copy_values([&](const ParameterWriter& write) { from.store_parameters(write); },
              [&](const ParameterReader& read) { to.load_parameters(read); });
}

/// The same weights in LibTorch.
inline std::unique_ptr<EngineWithStates> twin_of(const Engine& native,
                                                 const TorchOptions& options = {}) {
  auto engine = torch_engine(native.config(), options);
  copy_parameters(native, *engine);
  return engine;
}

}  // namespace bertrand::test

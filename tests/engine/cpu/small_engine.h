// Small networks of random weights, and batches for them.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/cpu/cpu_engine.h"
#include "oracle.h"

namespace bertrand::test {

inline BertConfig small_config(int64_t heads, int64_t head_size, int64_t layers = 2) {
  BertConfig config;
  config.hidden_size = heads * head_size;
  config.num_attention_heads = heads;
  config.num_hidden_layers = layers;
  config.intermediate_size = 3 * heads * head_size + 1;
  config.vocab_size = 50;
  config.max_position_embeddings = 512;
  return config;
}

inline std::unique_ptr<CpuEngineWithStates> small_engine(const BertConfig& config,
                                                         const CpuOptions& options) {
  auto engine = make_cpu_engine(config, options);
  uint32_t seed = 0;
  engine->load_parameters([&](const ParameterInfo& info, std::span<float> values) {
    const auto random = random_floats(values.size(), ++seed, 0.3F);
    std::copy(random.begin(), random.end(), values.begin());
    if (info.name.ends_with("LayerNorm.weight")) {
      for (float& value : values) {
        value += 1;
      }
    }
  });
  return engine;
}

inline std::unique_ptr<CpuEngineWithStates> small_engine(const BertConfig& config,
                                                         unsigned threads = 2,
                                                         Precision precision = Precision::fp32) {
  return small_engine(config, CpuOptions{threads, precision});
}

/// Windows of random tokens and an answer in each.
struct Batch {
  PackedBatch packed;
  SpanTargets targets;

  void add(size_t length, uint64_t key) {
    std::mt19937 generator(static_cast<uint32_t>(key) + 100);
    std::vector<int32_t> ids(length);
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(generator() % 50);
    }
    packed.add(ids, length / 3, key);
    targets.start.push_back(static_cast<int32_t>(length / 2));
    targets.end.push_back(static_cast<int32_t>(length - 1));
  }
};

inline Batch batch_of(std::initializer_list<size_t> lengths) {
  Batch batch;
  for (const size_t length : lengths) {
    batch.add(length, batch.packed.windows());
  }
  return batch;
}

inline std::vector<float> gradients_of(const Engine& engine) {
  std::vector<float> all;
  engine.store_gradients([&](const ParameterInfo&, std::span<const float> values) {
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

inline std::vector<float> parameters_of(const Engine& engine) {
  std::vector<float> all;
  engine.store_parameters([&](const ParameterInfo&, std::span<const float> values) {
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

/// |a - b| / |b|.
inline double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]);
    const auto y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return std::sqrt(difference / size);
}

/// Two engines with the same weights: `whole` computes a batch at once, `pieces` its windows one by
/// one and in another order; both must come to the same loss and gradients.
inline void expect_micro_batches_add_up(Engine& whole, Engine& pieces) {
  const Dropout dropout{1, 2, 0.1, 0.1};
  const Batch all = batch_of({20, 7, 33});
  const double loss = whole.backward(all.packed, all.targets, dropout, 1.0 / 3);
  double sum = 0;
  for (const auto& [length, key] : {std::pair{33, 2}, std::pair{7, 1}, std::pair{20, 0}}) {
    Batch one;
    one.add(static_cast<size_t>(length), static_cast<uint64_t>(key));
    sum += pieces.backward(one.packed, one.targets, dropout, 1.0 / 3);
  }
  EXPECT_NEAR(loss, sum, 1e-5);
  EXPECT_LT(relative_difference(gradients_of(pieces), gradients_of(whole)), 1e-5);
}

}  // namespace bertrand::test

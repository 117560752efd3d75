#pragma once

#include <memory>
#include <span>

#include "engine/cpu/cpu_engine.h"
#include "small_engine.h"

namespace bertrand::test {

/// A model that trains in a moment, and still has all that a larger one has.
inline BertConfig tiny_config() {
  BertConfig config = small_config();
  config.hidden_size = 32;
  config.num_hidden_layers = 2;
  config.intermediate_size = 64;
  return config;
}

/// The native engine of it, with weights of a sensible size.
inline std::unique_ptr<Engine> tiny_engine(unsigned threads) {
  auto engine = make_cpu_engine(tiny_config(), {threads, Precision::fp32});
  engine->load_parameters(
      [weights = small_weights(5)](const ParameterInfo& info, std::span<float> values) {
        weights(info, values);
        const bool is_scale = info.name.ends_with("LayerNorm.weight");
        for (float& value : values) {
          value = is_scale ? 1.0F : 0.1F * value;
        }
      });
  return engine;
}

}  // namespace bertrand::test

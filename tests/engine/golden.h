#pragma once

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/files.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "engine/engine.h"
#include "shared_data.h"

namespace bertrand::test {

/// All values of a tensor file, floating point as f64, integers too.
class Golden {
 public:
  explicit Golden(const std::string& relative)
      : file_(SafetensorsFile::open(shared_folder() / relative)) {}

  std::vector<double> doubles(const std::string& name) const {
    const TensorView* tensor = file_.find(name);
    if (tensor == nullptr) {
      throw std::runtime_error("no golden tensor " + name);
    }
    std::vector<double> values(static_cast<size_t>(tensor->size()));
    if (tensor->type == DataType::f64) {
      std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
    } else {
      std::vector<float> narrow(values.size());
      to_f32(*tensor, narrow);
      std::copy(narrow.begin(), narrow.end(), values.begin());
    }
    return values;
  }

  template <typename Integer>
  std::vector<Integer> integers(const std::string& name) const {
    const TensorView* tensor = file_.find(name);
    std::vector<Integer> values(static_cast<size_t>(tensor->size()));
    if (tensor->bytes.size() != values.size() * sizeof(Integer)) {
      throw std::runtime_error("golden tensor of another type: " + name);
    }
    std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
    return values;
  }

 private:
  SafetensorsFile file_;
};

/// The stored batch of bert-tiny, packed, and where each token was in the padded one.
struct TinyBatch {
  PackedBatch packed;
  SpanTargets targets;
  std::vector<size_t> padded_index;  // [T]: window * 128 + position

  TinyBatch() {
    const Golden golden("data/golden/bert-tiny/batch.safetensors");
    const auto ids = golden.integers<int64_t>("input_ids");
    const auto mask = golden.integers<int64_t>("attention_mask");
    const auto segments = golden.integers<int64_t>("token_type_ids");
    const auto starts = golden.integers<int64_t>("start_positions");
    const auto ends = golden.integers<int64_t>("end_positions");
    constexpr size_t kLength = 128;
    for (size_t window = 0; window < starts.size(); ++window) {
      for (size_t at = window * kLength; at < (window + 1) * kLength && mask[at] == 1; ++at) {
        packed.ids.push_back(static_cast<int32_t>(ids[at]));
        packed.segments.push_back(static_cast<int32_t>(segments[at]));
        padded_index.push_back(at);
      }
      packed.offsets.push_back(static_cast<int32_t>(packed.ids.size()));
      packed.keys.push_back(window);
      targets.start.push_back(static_cast<int32_t>(starts[window]));
      targets.end.push_back(static_cast<int32_t>(ends[window]));
    }
  }
};

inline BertConfig tiny_config(Activation act = Activation::gelu) {
  BertConfig config = ModelFolder::open(shared_folder() / "data/golden/bert-tiny").config();
  config.hidden_act = act;
  return config;
}

inline void load_tiny(Engine& engine) {
  engine.load_parameters(
      ModelFolder::open(shared_folder() / "data/golden/bert-tiny").parameters(/*seed=*/1));
}

}  // namespace bertrand::test

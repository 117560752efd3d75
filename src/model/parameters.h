#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"

namespace bertrand {

/// One trained tensor. Names are Hugging Face's
/// ("bert.encoder.layer.0.attention.self.query.weight", "qa_outputs.bias"); weights of linear
/// layers are [out, in], row-major.
struct ParameterInfo {
  std::string name;
  std::vector<int64_t> shape;
  bool decays = true;  ///< weight decay applies: all but biases and LayerNorm

  int64_t size() const;
};

/// Every tensor of BERT with a span head, in the order: embeddings, layers, qa_outputs. No pooler.
std::vector<ParameterInfo> bert_parameters(const BertConfig& config);

/// Fills `values` ([info.size()]) with a parameter's values, or takes them from it.
using ParameterReader = std::function<void(const ParameterInfo& info, std::span<float> values)>;
using ParameterWriter =
    std::function<void(const ParameterInfo& info, std::span<const float> values)>;

}  // namespace bertrand

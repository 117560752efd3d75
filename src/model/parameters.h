#pragma once

#include <cstddef>
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

/// A parameter where it is stored. Parts of it may be read at any time and by several threads at
/// once; what it needs for that (a mapped file, say) it holds.
struct StoredParameter {
  /// Fills `values` with the parameter's from `first` on, row-major.
  std::function<void(size_t first, std::span<float> values)> read;

  /// Where it is stored as 8-bit numbers, those, [rows, columns], and a factor for each row: a
  /// value is number * factor. Else both are empty. They last as long as `read`.
  std::span<const int8_t> int8;
  std::span<const float> scales;
};

/// Finds a parameter where it is stored.
using ParameterStore = std::function<StoredParameter(const ParameterInfo& info)>;

/// Reads whole parameters from where they are stored.
ParameterReader read_whole(const ParameterStore& stored);

}  // namespace bertrand

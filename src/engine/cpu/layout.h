#pragma once

#include <cstddef>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"

namespace bertrand::cpu {

/// Where each tensor of a layer begins. Query, key and value stand one after the other, so that
/// they are one matrix [3 * hidden, hidden] and one bias [3 * hidden].
struct LayerLayout {
  size_t qkv_weight, qkv_bias;
  size_t output_weight, output_bias;  ///< of attention
  size_t attention_gamma, attention_beta;
  size_t intermediate_weight, intermediate_bias;
  size_t ffn_weight, ffn_bias;
  size_t gamma, beta;
};

/// All parameters in one array of floats; gradients and moments are arrays of the same layout.
struct Layout {
  explicit Layout(const BertConfig& config);

  std::vector<ParameterInfo> parameters;
  std::vector<size_t> offsets;  ///< of parameters[i]
  size_t word_embeddings = 0, position_embeddings = 0, segment_embeddings = 0;
  size_t gamma = 0, beta = 0;  ///< of the embeddings' LayerNorm
  std::vector<LayerLayout> layers;
  size_t head_weight = 0, head_bias = 0;
  size_t size = 0;
};

}  // namespace bertrand::cpu

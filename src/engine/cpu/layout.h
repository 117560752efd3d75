#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"

namespace bertrand::cpu {

/// The weight [n, k] of one matrix product, y [T, n] = x [T, k] W^T + bias, in panels (packed.h).
struct Weight {
  size_t offset, bias;
  size_t n, k;
  size_t number = 0;      ///< among all weights
  size_t transposed = 0;  ///< where its transposed panels begin among those of its layer
  size_t rounded = 0;     ///< where its panels of bf16 pairs begin among those of all weights
};

/// Where each tensor of a layer begins. Query, key and value are one weight [3 * hidden, hidden]
/// where panels can follow one another without a gap, else three.
struct LayerLayout {
  std::vector<Weight> qkv;
  Weight output;  ///< of attention
  size_t attention_gamma, attention_beta;
  Weight intermediate, ffn;
  size_t gamma, beta;

  std::vector<const Weight*> weights() const;
};

/// All parameters in one array of floats; gradients and moments are arrays of the same layout.
/// The weights of products lie in panels of `panel_width` columns, filled up with zeros, which stay
/// zero: their gradients are.
class Layout {
 public:
  static constexpr size_t kWords = 0;  ///< the word embeddings among the parameters

  Layout(const BertConfig& config, size_t panel_width);

  /// Values of one word's embedding.
  size_t word_width() const { return static_cast<size_t>(parameters[kWords].shape[1]); }

  /// Whether parameters[index] lies in panels; the others lie row-major at their offset.
  bool in_panels(size_t index) const;

  /// parameters[index], if in panels, from rows to its place in `array` and back.
  void load(size_t index, std::span<const float> values, float* array) const;
  void store(size_t index, const float* array, std::span<float> values) const;

  /// load() of some rows, from a multiple of panel_width on.
  void load_rows(size_t index, size_t first_row, std::span<const float> rows, float* array) const;

  std::vector<ParameterInfo> parameters;
  std::vector<size_t> offsets;  ///< of parameters[i]
  std::vector<size_t> sizes;    ///< of parameters[i] with what fills up its panels
  size_t panel_width;
  size_t word_embeddings = 0, position_embeddings = 0, segment_embeddings = 0;
  size_t gamma = 0, beta = 0;  ///< of the embeddings' LayerNorm
  std::vector<LayerLayout> layers;
  size_t head_weight = 0, head_bias = 0;
  size_t size = 0;
  size_t weights_count = 0;
  size_t transposed_size = 0;  ///< of the weights of a layer, transposed
  size_t rounded_size = 0;     ///< of all weights, bf16 pairs
};

}  // namespace bertrand::cpu

#include "engine/cpu/layout.h"

#include <array>

namespace bertrand::cpu {
namespace {

constexpr size_t kAlignment = 16;  // floats, a cache line

/// Gives out places in the array, in any order of the parameters.
class Placer {
 public:
  explicit Placer(Layout& layout) : layout_(layout) {
    layout_.offsets.resize(layout_.parameters.size());
  }

  /// Parameters one after the other without a gap; returns where the first begins.
  template <size_t Count>
  size_t place(const std::array<size_t, Count>& indices) {
    const size_t begin = (layout_.size + kAlignment - 1) / kAlignment * kAlignment;
    layout_.size = begin;
    for (const size_t index : indices) {
      layout_.offsets[index] = layout_.size;
      layout_.size += static_cast<size_t>(layout_.parameters[index].size());
    }
    return begin;
  }
  size_t place(size_t index) { return place(std::array{index}); }

 private:
  Layout& layout_;
};

}  // namespace

Layout::Layout(const BertConfig& config) : parameters(bert_parameters(config)) {
  Placer placer(*this);
  word_embeddings = placer.place(0);
  position_embeddings = placer.place(1);
  segment_embeddings = placer.place(2);
  gamma = placer.place(3);
  beta = placer.place(4);
  size_t next = 5;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    // Weight and bias alternate in the list: query, key, value, then one at a time.
    LayerLayout& at = layers.emplace_back();
    at.qkv_weight = placer.place(std::array{next, next + 2, next + 4});
    at.qkv_bias = placer.place(std::array{next + 1, next + 3, next + 5});
    next += 6;
    for (size_t LayerLayout::*place :
         {&LayerLayout::output_weight, &LayerLayout::output_bias, &LayerLayout::attention_gamma,
          &LayerLayout::attention_beta, &LayerLayout::intermediate_weight,
          &LayerLayout::intermediate_bias, &LayerLayout::ffn_weight, &LayerLayout::ffn_bias,
          &LayerLayout::gamma, &LayerLayout::beta}) {
      at.*place = placer.place(next++);
    }
  }
  head_weight = placer.place(next);
  head_bias = placer.place(next + 1);
}

}  // namespace bertrand::cpu

#include "engine/cpu/layout.h"

#include <algorithm>
#include <array>

#include "engine/cpu/bf16.h"
#include "engine/cpu/packed.h"

namespace bertrand::cpu {
namespace {

constexpr size_t kAlignment = 16;  // floats, a cache line
constexpr size_t kEmbeddings = 5;  // parameters before the first layer
constexpr size_t kOfALayer = 16;   // parameters

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
      layout_.size += layout_.sizes[index];
    }
    return begin;
  }
  size_t place(size_t index) { return place(std::array{index}); }

  /// A weight and, the next parameter, its bias.
  Weight place_weight(size_t index) {
    const auto& shape = layout_.parameters[index].shape;
    const size_t offset = place(index);
    return {offset, place(index + 1), static_cast<size_t>(shape[0]), static_cast<size_t>(shape[1])};
  }

 private:
  Layout& layout_;
};

}  // namespace

std::vector<const Weight*> LayerLayout::weights() const {
  std::vector<const Weight*> all;
  for (const Weight& weight : qkv) {
    all.push_back(&weight);
  }
  all.insert(all.end(), {&output, &intermediate, &ffn});
  return all;
}

Layout::Layout(const BertConfig& config, size_t width)
    : parameters(bert_parameters(config)), panel_width(width) {
  for (size_t index = 0; index < parameters.size(); ++index) {
    const ParameterInfo& info = parameters[index];
    sizes.push_back(in_panels(index) ? panels_size(static_cast<size_t>(info.shape[1]),
                                                   static_cast<size_t>(info.shape[0]), width)
                                     : static_cast<size_t>(info.size()));
  }
  Placer placer(*this);
  word_embeddings = placer.place(kWords);
  position_embeddings = placer.place(1);
  segment_embeddings = placer.place(2);
  gamma = placer.place(3);
  beta = placer.place(4);
  size_t next = kEmbeddings;
  const auto hidden = static_cast<size_t>(config.hidden_size);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    LayerLayout& at = layers.emplace_back();
    // Weight and bias alternate in the list: query, key, value, then one at a time.
    const size_t weights = placer.place(std::array{next, next + 2, next + 4});
    const size_t biases = placer.place(std::array{next + 1, next + 3, next + 5});
    if (hidden % width == 0) {
      at.qkv = {{weights, biases, 3 * hidden, hidden}};
    } else {
      for (size_t i = 0; i < 3; ++i) {
        at.qkv.push_back({weights + i * sizes[next], biases + i * hidden, hidden, hidden});
      }
    }
    at.output = placer.place_weight(next + 6);
    at.attention_gamma = placer.place(next + 8);
    at.attention_beta = placer.place(next + 9);
    at.intermediate = placer.place_weight(next + 10);
    at.ffn = placer.place_weight(next + 12);
    at.gamma = placer.place(next + 14);
    at.beta = placer.place(next + 15);
    next += kOfALayer;
    transposed_size = 0;
    const auto place_transposed = [&](Weight& weight) {
      weight.number = weights_count++;
      weight.transposed = transposed_size;
      transposed_size += panels_size(weight.n, weight.k, width);
      weight.rounded = rounded_size;
      rounded_size += bf16_panels_size(weight.k, weight.n);
    };
    std::for_each(at.qkv.begin(), at.qkv.end(), place_transposed);
    for (Weight* weight : {&at.output, &at.intermediate, &at.ffn}) {
      place_transposed(*weight);
    }
  }
  head_weight = placer.place(next);
  head_bias = placer.place(next + 1);
}

/// The matrices of a layer are; embeddings are looked up and the head is two dot products.
bool Layout::in_panels(size_t index) const {
  return index >= kEmbeddings && index + 2 < parameters.size() &&
         parameters[index].shape.size() == 2;
}

void Layout::load(size_t index, std::span<const float> values, float* array) const {
  load_rows(index, /*first_row=*/0, values, array);
}

void Layout::load_rows(size_t index, size_t first_row, std::span<const float> rows,
                       float* array) const {
  const auto depth = static_cast<size_t>(parameters[index].shape[1]);
  pack_panels(depth, rows.size() / depth, panel_width, rows.data(),
              array + offsets[index] + first_row * depth);
}

void Layout::store(size_t index, const float* array, std::span<float> values) const {
  const auto& shape = parameters[index].shape;
  unpack_panels(static_cast<size_t>(shape[1]), static_cast<size_t>(shape[0]), panel_width,
                array + offsets[index], values.data());
}

}  // namespace bertrand::cpu

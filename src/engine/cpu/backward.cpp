#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "engine/cpu/flush_denormals.h"
#include "engine/cpu/network.h"
#include "engine/cpu/packed.h"
#include "engine/cpu/partial_sums.h"
#include "engine/cpu/products.h"
#include "engine/cpu/task_list.h"

namespace bertrand::cpu {
namespace {

/// Cross-entropy of one softmax over a window: returns -log p[target] and sets
/// gradient = (p - onehot(target)) * weight. Sums in f64.
double cross_entropy(std::span<const float> logits, size_t target, double weight,
                     std::span<float> gradient) {
  const float most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit - most));
  }
  for (size_t i = 0; i < logits.size(); ++i) {
    const double p = std::exp(static_cast<double>(logits[i] - most)) / sum;
    gradient[i] = static_cast<float>((p - (i == target ? 1.0 : 0.0)) * weight);
  }
  return std::log(sum) + static_cast<double>(most) - static_cast<double>(logits[target]);
}

}  // namespace

double Network::backward(const PackedBatch& batch, const SpanTargets& targets,
                         const Dropout& dropout, double weight, const float* parameters,
                         ParameterGradients& all_gradients, bool accumulate) {
  float* gradients = all_gradients.dense.data();
  prepare(batch, parameters, &dropout);
  run_forward([](size_t) {});
  reserve_gradients();
  const double loss = loss_gradient(batch, targets, weight);
  const LayerLayout& top = layout_.layers.back();
  TaskList first;
  transpose_weights(first, {top.ffn, top.intermediate, top.output});
  first.run(pool_);
  for (size_t index = depth(); index-- > 0;) {
    TaskList rows;
    rows.add(blocks(), of_blocks([&](const Block& block) {
               if (index + 1 == depth()) {
                 start_backward(block);
               } else {
                 qkv_backward(index + 1, block);
               }
               ffn_backward(index, block);
             }));
    if (index + 1 < depth()) {
      qkv_weight_gradients(rows, index + 1, gradients, accumulate);
    }
    rows.run(pool_);
    TaskList rest;
    row_weight_gradients(rest, index, gradients, accumulate);
    attend_backward(rest, index);
    transpose_weights(rest, weights_below(index));
    reduce(rest, layer_reductions(index), gradients);
    rest.run(pool_);
    if (bf16_) {
      weight_gradients_bf16(index, gradients, accumulate);
    }
  }
  TaskList rows;
  rows.add(blocks(), of_blocks([&](const Block& block) {
             qkv_backward(/*index=*/0, block);
             embed_backward(block);
           }));
  qkv_weight_gradients(rows, /*index=*/0, gradients, accumulate);
  rows.run(pool_);
  TaskList sums;
  gather_embeddings(sums, all_gradients);
  reduce(sums, embedding_reductions(), gradients);
  sums.run(pool_);
  return loss;
}

/// What the blocks after attend_backward(index) multiply with.
std::vector<Weight> Network::weights_below(size_t index) const {
  std::vector<Weight> weights = layout_.layers[index].qkv;
  if (index > 0) {
    const LayerLayout& below = layout_.layers[index - 1];
    weights.insert(weights.end(), {below.ffn, below.intermediate, below.output});
  }
  return weights;
}

void Network::reserve_gradients() {
  gradients_.hidden.reserve(tokens_, hidden());
  gradients_.ffn.reserve(tokens_, hidden(), bf16_);
  gradients_.intermediate.reserve(tokens_, wide(), bf16_);
  gradients_.attention.reserve(tokens_, hidden(), bf16_);
  gradients_.context.reserve(tokens_, hidden());
  gradients_.qkv.reserve(tokens_, 3 * hidden(), bf16_);
  start_gradient_.resize(tokens_);
  end_gradient_.resize(tokens_);
  partial_stride_ = PartialLayout(hidden(), wide()).size;
  partials_.reserve(blocks() * partial_stride_);
}

double Network::loss_gradient(const PackedBatch& batch, const SpanTargets& targets, double weight) {
  double loss = 0;
  for (size_t window = 0; window < batch.windows(); ++window) {
    const auto first = static_cast<size_t>(batch.offsets[window]);
    const size_t length = batch.length(window);
    const auto one = [&](const std::vector<float>& logits, int32_t target,
                         std::vector<float>& gradient) {
      if (target < 0 || static_cast<size_t>(target) >= length) {
        throw Error(ErrorCode::runtime, "The answer of a window is at token " +
                                            std::to_string(target) + " of " +
                                            std::to_string(length) + ".");
      }
      return cross_entropy({logits.data() + first, length}, static_cast<size_t>(target), weight / 2,
                           {gradient.data() + first, length});
    };
    loss += (one(logits_.start, targets.start[window], start_gradient_) +
             one(logits_.end, targets.end[window], end_gradient_)) /
            2;
  }
  return loss;
}

/// Gradients of the last layer's output and of the head.
void Network::start_backward(const Block& block) {
  const float* weight = parameters_ + layout_.head_weight;
  float* dweight = partial(block) + PartialLayout(hidden(), wide()).ends;
  std::fill_n(dweight, 2 * hidden() + 2, 0.0F);
  for (size_t row = block.begin; row < block.end; ++row) {
    const float* y = output(depth() - 1).f32.row(row);
    float* dy = gradients_.hidden.row(row);
    std::fill_n(dy, hidden(), 0.0F);
    size_t side = 0;
    for (const float gradient : {start_gradient_[row], end_gradient_[row]}) {
      add_scaled(hidden(), gradient, weight + side * hidden(), dy);
      add_scaled(hidden(), gradient, y, dweight + side * hidden());
      dweight[2 * hidden() + side] += gradient;
      ++side;
    }
  }
}

/// From the gradient of a layer's output to those of attention's context and, in `hidden`, of the
/// part of the input that passes attention by.
void Network::ffn_backward(size_t index, const Block& block) {
  const LayerLayout& at = layout_.layers[index];
  const PartialLayout partials(hidden(), wide());
  Layer& state = layers_[index];
  float* sums = partial(block);
  std::fill_n(sums, partials.qkv_bias, 0.0F);
  Rows<float>& dhidden = gradients_.hidden;
  for (size_t row = block.begin; row < block.end; ++row) {
    float* dy = dhidden.row(row);
    layer_norm_backward(hidden(), dy, state.normalized.row(row), state.rstd.data()[row],
                        parameters_ + at.gamma, dy, sums + partials.gamma, sums + partials.beta);
    mask_and_sum(hidden(), dy,
                 mask_again(dropout_[index].output, row, block.worker, state.output_kept),
                 gradients_.ffn.f32.row(row), sums + partials.ffn_bias);
  }
  Rows<float>& dwide = gradients_.intermediate.f32;
  linear_backward(block, gradients_.ffn, /*column=*/0, at.ffn, dwide.row(block.begin),
                  dwide.stride(), /*accumulate=*/false);
  for (size_t row = block.begin; row < block.end; ++row) {
    float* dy = dwide.row(row);
    mask_and_sum(wide(), dy, state.intermediate.row(row), dy, sums + partials.intermediate_bias);
  }
  linear_backward(block, gradients_.intermediate, /*column=*/0, at.intermediate,
                  dhidden.row(block.begin), dhidden.stride(), /*accumulate=*/true);
  for (size_t row = block.begin; row < block.end; ++row) {
    float* dy = dhidden.row(row);
    layer_norm_backward(hidden(), dy, state.attention_normalized.row(row),
                        state.attention_rstd.data()[row], parameters_ + at.attention_gamma, dy,
                        sums + partials.attention_gamma, sums + partials.attention_beta);
    mask_and_sum(hidden(), dy,
                 mask_again(dropout_[index].attention_output, row, block.worker,
                            state.attention_output_kept),
                 gradients_.attention.f32.row(row), sums + partials.output_bias);
  }
  linear_backward(block, gradients_.attention, /*column=*/0, at.output,
                  gradients_.context.row(block.begin), gradients_.context.stride(),
                  /*accumulate=*/false);
}

void Network::attend_backward(TaskList& tasks, size_t index) {
  Layer& state = layers_[index];
  const auto body = [this, &state](const AttentionHead& head, size_t first,
                                   AttentionScratch& scratch) {
    const size_t column = head.head * head.head_size;
    float* dquery = gradients_.qkv.f32.row(first) + column;
    attention_backward(
        head, scratch,
        {state.context.f32.row(first) + column, gradients_.context.row(first) + column,
         gradients_.context.stride(), state.log_sum_exp.data() + head.head * tokens_ + first,
         dquery, dquery + hidden(), dquery + 2 * hidden(), gradients_.qkv.f32.stride()});
  };
  tasks.add(batch_->windows() * heads(), of_heads(body, index));
}

/// Adds the part of the input's gradient that went through query, key and value.
void Network::qkv_backward(size_t index, const Block& block) {
  Operand& dqkv = gradients_.qkv;
  size_t column = 0;
  for (const Weight& weight : layout_.layers[index].qkv) {
    linear_backward(block, dqkv, column, weight, gradients_.hidden.row(block.begin),
                    gradients_.hidden.stride(), /*accumulate=*/true);
    column += weight.n;
  }
  float* sums = partial(block) + PartialLayout(hidden(), wide()).qkv_bias;
  std::fill_n(sums, 3 * hidden(), 0.0F);
  for (size_t row = block.begin; row < block.end; ++row) {
    add(3 * hidden(), dqkv.f32.row(row), sums);
  }
}

/// What the gradients of query, key and value are made of, known once attend_backward is done.
std::vector<Network::WeightSource> Network::qkv_sources(size_t index) {
  std::vector<WeightSource> sources;
  size_t column = 0;
  for (const Weight& weight : layout_.layers[index].qkv) {
    sources.push_back({&weight, &gradients_.qkv, column, &input(index)});
    column += weight.n;
  }
  return sources;
}

/// The same of all other weights, known once ffn_backward is.
std::vector<Network::WeightSource> Network::row_sources(size_t index) {
  const LayerLayout& at = layout_.layers[index];
  const Layer& state = layers_[index];
  return {{&at.output, &gradients_.attention, 0, &state.context},
          {&at.intermediate, &gradients_.intermediate, 0, &state.attended},
          {&at.ffn, &gradients_.ffn, 0, &state.activated}};
}

void Network::qkv_weight_gradients(TaskList& tasks, size_t index, float* gradients,
                                   bool accumulate) {
  if (!bf16_) {
    weight_gradients_f32(tasks, qkv_sources(index), gradients, accumulate);
  }
}

void Network::row_weight_gradients(TaskList& tasks, size_t index, float* gradients,
                                   bool accumulate) {
  if (!bf16_) {
    weight_gradients_f32(tasks, row_sources(index), gradients, accumulate);
  }
}

/// Tiles of about equal work. Each sums over all tokens in one product, so the result does not
/// depend on the threads.
void Network::weight_gradients_f32(TaskList& tasks, std::span<const WeightSource> sources,
                                   float* gradients, bool accumulate) {
  struct Tile {
    WeightSource source;
    size_t first_row, rows, first_panel, panels;
  };
  // The rows' share of the activations stays in the second-level cache; columns are enough to make
  // up for packing it, and few enough that every thread has several tiles.
  constexpr size_t kRows = kMostBlockRows;
  constexpr size_t kTilesAThread = 8;
  const size_t area = hidden() * (4 * hidden() + 2 * wide()) / (pool_.size() * kTilesAThread);
  const size_t most_panels =
      std::clamp(area / kRows, size_t{96}, size_t{384}) / layout_.panel_width;
  std::vector<Tile> tiles;
  for (const WeightSource& source : sources) {
    const Weight& weight = *source.weight;
    const size_t panels = (weight.n + layout_.panel_width - 1) / layout_.panel_width;
    for (size_t row = 0; row < weight.k; row += kRows) {
      for (size_t panel = 0; panel < panels; panel += most_panels) {
        tiles.push_back({source, row, std::min(kRows, weight.k - row), panel,
                         std::min(most_panels, panels - panel)});
      }
    }
  }
  const size_t count = tiles.size();
  tasks.add(
      count, [this, tiles = std::move(tiles), gradients, accumulate](size_t task, unsigned worker) {
        const FlushDenormals flush;
        const Tile& tile = tiles[task];
        const auto& [weight, dout, column, in] = tile.source;
        multiply(GradientProduct{tokens_, weight->k, weight->n, in->f32.row(0), in->f32.stride(),
                                 dout->f32.row(0) + column, dout->f32.stride(),
                                 gradients + weight->offset, tile.first_row, tile.rows,
                                 tile.first_panel, tile.panels, accumulate},
                 scratch_[worker].product.data());
      });
}

/// All weights of a layer, rounded.
void Network::weight_gradients_bf16(size_t index, float* gradients, bool accumulate) {
  std::vector<WeightSource> sources = qkv_sources(index);
  const std::vector<WeightSource> others = row_sources(index);
  sources.insert(sources.end(), others.begin(), others.end());
  struct Tile {
    const WeightSource* source;
    size_t first, rows;
  };
  constexpr size_t kThreadsATile = 4;
  constexpr size_t kLeast = 32;
  const size_t pieces = (pool_.size() + kThreadsATile - 1) / kThreadsATile;
  std::vector<Tile> tiles;
  for (const WeightSource& source : sources) {
    const Weight& weight = *source.weight;
    const size_t rows = std::max(kLeast, hidden() * hidden() / weight.k / pieces);
    for (size_t first = 0; first < weight.n; first += rows) {
      tiles.push_back({&source, first, std::min(rows, weight.n - first)});
    }
  }
  // qkv_backward, which rounds this one, comes after.
  for_each_block([&](const Block& block) {
    for (size_t row = block.begin; row < block.end; ++row) {
      to_bf16(3 * hidden(), gradients_.qkv.f32.row(row), gradients_.qkv.bf16.row(row));
    }
  });
  pool_.for_each(tiles.size(), [&](size_t task, unsigned) {
    const Tile& tile = tiles[task];
    const auto& [weight, dout, column, in] = *tile.source;
    ProductShape shape{tile.rows, weight->k, tokens_};
    shape.transpose_a = true;
    shape.accumulate = accumulate;
    multiply(shape, MatrixBf16{dout->bf16.row(0) + column + tile.first, dout->bf16.stride()},
             MatrixBf16{in->bf16.row(0), in->bf16.stride()},
             gradients + weight->offset + tile.first * weight->k, weight->k);
  });
}

std::vector<Network::Reduction> Network::layer_reductions(size_t index) const {
  const LayerLayout& at = layout_.layers[index];
  const PartialLayout partials(hidden(), wide());
  std::vector<Reduction> all = {{partials.gamma, hidden(), at.gamma},
                                {partials.beta, hidden(), at.beta},
                                {partials.ffn_bias, hidden(), at.ffn.bias},
                                {partials.attention_gamma, hidden(), at.attention_gamma},
                                {partials.attention_beta, hidden(), at.attention_beta},
                                {partials.output_bias, hidden(), at.output.bias},
                                {partials.intermediate_bias, wide(), at.intermediate.bias}};
  if (index + 1 == depth()) {
    all.push_back({partials.ends, 2 * hidden(), layout_.head_weight});
    all.push_back({partials.ends + 2 * hidden(), 2, layout_.head_bias});
  } else {
    all.push_back({partials.qkv_bias, 3 * hidden(), layout_.layers[index + 1].qkv.front().bias});
  }
  return all;
}

std::vector<Network::Reduction> Network::embedding_reductions() const {
  const PartialLayout partials(hidden(), wide());
  return {{partials.qkv_bias, 3 * hidden(), layout_.layers[0].qkv.front().bias},
          {partials.ends, hidden(), layout_.gamma},
          {partials.ends + hidden(), hidden(), layout_.beta},
          {partials.ends + 2 * hidden(), 2 * hidden(), layout_.segment_embeddings}};
}

void Network::reduce(TaskList& tasks, const std::vector<Reduction>& reductions, float* gradients) {
  tasks.add(reductions.size(), [this, reductions, gradients](size_t task, unsigned) {
    const Reduction& reduction = reductions[task];
    for (size_t block = 0; block < blocks(); ++block) {
      add(reduction.columns, partials_.data() + block * partial_stride_ + reduction.begin,
          gradients + reduction.target);
    }
  });
}

}  // namespace bertrand::cpu

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/cpu/network.h"
#include "engine/cpu/partial_sums.h"
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
  check_targets(batch, targets);
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
      weight_gradients(rows, qkv_sources(index + 1), all_gradients, accumulate);
    }
    rows.run(pool_);
    TaskList rest;
    weight_gradients(rest, row_sources(index), all_gradients, accumulate);
    attend_backward(rest, index);
    transpose_weights(rest, weights_below(index));
    reduce(rest, layer_reductions(index), gradients);
    rest.run(pool_);
  }
  TaskList rows;
  rows.add(blocks(), of_blocks([&](const Block& block) {
             qkv_backward(/*index=*/0, block);
             embed_backward(block);
           }));
  weight_gradients(rows, qkv_sources(/*index=*/0), all_gradients, accumulate);
  rows.run(pool_);
  TaskList sums;
  gather_embeddings(sums, all_gradients);
  reduce(sums, embedding_reductions(), gradients);
  sums.run(pool_);
  all_gradients.squares->set_known(!library_);
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
  gradients_.ffn.reserve(tokens_, hidden(), product_only_);
  gradients_.intermediate.reserve(tokens_, wide(), product_only_);
  if (bf16_) {
    gradients_.intermediate.f32.reserve(pool_.size() * block_rows_, wide());
  }
  gradients_.attention.reserve(tokens_, hidden(), product_only_);
  gradients_.context.reserve(tokens_, hidden());
  gradients_.qkv.reserve(tokens_, 3 * hidden(), kept_);
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
                 gradients_.ffn.target(row), sums + partials.ffn_bias);
  }
  Rows<float>& dwide = gradients_.intermediate.f32;
  const Block rows = intermediate_rows(block);
  linear_backward(block, gradients_.ffn, /*column=*/0, at.ffn, dwide.row(rows.begin),
                  dwide.stride(), /*accumulate=*/false);
  for (size_t row = 0; row < block.rows(); ++row) {
    mask_and_sum(wide(), dwide.row(rows.begin + row), state.intermediate.row(block.begin + row),
                 gradients_.intermediate.product_target(block.begin + row),
                 sums + partials.intermediate_bias);
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
                 gradients_.attention.target(row), sums + partials.output_bias);
  }
  linear_backward(block, gradients_.attention, /*column=*/0, at.output,
                  gradients_.context.row(block.begin), gradients_.context.stride(),
                  /*accumulate=*/false);
}

void Network::attend_backward(TaskList& tasks, size_t index) {
  Layer& state = layers_[index];
  const auto body = [this, &state](const AttentionHead& head, size_t first,
                                   WorkerScratch& scratch) {
    const size_t column = head.head * head.head_size;
    float* dquery = gradients_.qkv.f32.row(first) + column;
    attention_backward(
        head, scratch.attention,
        {state.context.f32.row(first) + column, gradients_.context.row(first) + column,
         gradients_.context.stride(), state.log_sum_exp.data() + head.head * tokens_ + first,
         dquery, dquery + hidden(), dquery + 2 * hidden(), gradients_.qkv.f32.stride()});
    for (const size_t begin : {column, column + hidden(), column + 2 * hidden()}) {
      round_rows(first, first + head.length, begin, head.head_size, gradients_.qkv);
    }
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

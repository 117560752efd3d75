#include "engine/cpu/network.h"

namespace bertrand::cpu {

SpanLogits Network::forward(const PackedBatch& batch, const float* parameters) {
  prepare(batch, parameters, /*dropout=*/nullptr);
  run_forward([](size_t) {});
  return logits_;
}

std::vector<std::vector<float>> Network::hidden_states(const PackedBatch& batch,
                                                       const float* parameters) {
  prepare(batch, parameters, /*dropout=*/nullptr);
  std::vector<std::vector<float>> states;
  run_forward([&](size_t) {
    std::vector<float>& state = states.emplace_back();
    for (size_t row = 0; row < tokens_; ++row) {
      const float* values = embedded_.f32.row(row);
      state.insert(state.end(), values, values + hidden());
    }
  });
  return states;
}

/// Tokens meet only in attention, so between two attentions a block of rows goes through all the
/// steps while it is in the cache. after_layer(0) follows the embeddings, after_layer(l) layer l.
void Network::run_forward(const std::function<void(size_t)>& after_layer) {
  for_each_block([&](const Block& block) {
    embed(block);
    project_qkv(/*index=*/0, block);
  });
  after_layer(0);
  for (size_t index = 0; index < depth(); ++index) {
    attend(index);
    for_each_block([&](const Block& block) {
      after_attention(index, block);
      if (index + 1 < depth()) {
        project_qkv(index + 1, block);
      } else {
        score(block);
      }
    });
    after_layer(index + 1);
  }
}

/// LayerNorm(word + position + segment), then dropout.
void Network::embed(const Block& block) {
  for (size_t row = block.begin; row < block.end; ++row) {
    const size_t position = row - static_cast<size_t>(batch_->offsets[row_windows_[row]]);
    const float* word =
        parameters_ + layout_.word_embeddings + static_cast<size_t>(batch_->ids[row]) * hidden();
    const float* place = parameters_ + layout_.position_embeddings + position * hidden();
    const float* segment = parameters_ + layout_.segment_embeddings +
                           static_cast<size_t>(batch_->segments[row]) * hidden();
    float* y = embedded_.f32.row(row);
    float* normalized = training_ ? embedding_normalized_.row(row) : y;
    const float rstd =
        layer_norm(hidden(), word, place, /*mask=*/nullptr, segment, parameters_ + layout_.gamma,
                   parameters_ + layout_.beta, static_cast<float>(config_.layer_norm_eps),
                   normalized, {y, nullptr});
    if (training_) {
      embedding_rstd_.data()[row] = rstd;
      if (const float* factors = mask(embedding_dropout_, row, block.worker, embedding_kept_)) {
        multiply_in_place(hidden(), factors, y);
      }
    }
  }
  round_rows(block.begin, block.end, /*column=*/0, hidden(), embedded_);
}

void Network::project_qkv(size_t index, const Block& block) {
  const LayerLayout& at = layout_.layers[index];
  Rows<float>& qkv = layer(index).qkv;
  size_t column = 0;
  for (const Weight& weight : at.qkv) {
    float* out = qkv.row(block.begin) + column;
    linear(block, input(index), weight, out, qkv.stride());
    if (const float* bias = bias_still_to_add(weight)) {
      add_bias(block.rows(), weight.n, bias, out, qkv.stride());
    }
    column += weight.n;
  }
}

void Network::attend(size_t index) {
  Layer& state = layer(index);
  const auto heads_of_windows = of_heads(
      [&](const AttentionHead& head, size_t first, WorkerScratch& scratch) {
        float* context = state.context.f32.row(first) + head.head * head.head_size;
        const size_t stride = state.context.f32.stride();
        if (int8_ && head.length <= kMostInt8Depth) {
          attention_int8(head, scratch.int8_attention, context, stride);
        } else {
          attention_forward(head, scratch.attention, context, stride,
                            state.log_sum_exp.data() + head.head * tokens_ + first);
        }
      },
      index);
  pool_.for_each(batch_->windows() * heads(), heads_of_windows);
}

/// attended = LayerNorm(input + dropout(context Wo^T + bo));
/// output = LayerNorm(attended + dropout(GELU(attended W1^T + b1) W2^T + b2)).
void Network::after_attention(size_t index, const Block& block) {
  const LayerLayout& at = layout_.layers[index];
  const auto epsilon = static_cast<float>(config_.layer_norm_eps);
  Layer& state = layer(index);
  Rows<float>& attended = state.attended.f32;
  round_rows(block.begin, block.end, /*column=*/0, hidden(), state.context);
  linear(block, state.context, at.output, attended.row(block.begin), attended.stride());
  for (size_t row = block.begin; row < block.end; ++row) {
    float* y = attended.row(row);
    const float rstd = layer_norm(
        hidden(), y, bias_still_to_add(at.output),
        mask(dropout_[index].attention_output, row, block.worker, state.attention_output_kept),
        input(index).f32.row(row), parameters_ + at.attention_gamma,
        parameters_ + at.attention_beta, epsilon,
        training_ ? state.attention_normalized.row(row) : y, state.attended.target(row));
    if (training_) {
      state.attention_rstd.data()[row] = rstd;
    }
  }
  const Block rows = wide_rows(block);
  Rows<float>& intermediate = training_ ? state.intermediate : state.activated.f32;
  linear(block, state.attended, at.intermediate, intermediate.row(rows.begin),
         intermediate.stride());
  const bool tanh_form = config_.hidden_act == Activation::gelu_tanh;
  const float* bias = bias_still_to_add(at.intermediate);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const RowTarget y = state.activated.product_target(row);
    if (training_) {
      bias_gelu_with_slope(tanh_form, wide(), bias, intermediate.row(row), y);
    } else {
      bias_gelu(tanh_form, wide(), bias, intermediate.row(row), y);
    }
  }
  Rows<float>& result = output(index).f32;
  linear(rows, state.activated, at.ffn, result.row(block.begin), result.stride());
  for (size_t row = block.begin; row < block.end; ++row) {
    float* y = result.row(row);
    const float rstd =
        layer_norm(hidden(), y, bias_still_to_add(at.ffn),
                   mask(dropout_[index].output, row, block.worker, state.output_kept),
                   attended.row(row), parameters_ + at.gamma, parameters_ + at.beta, epsilon,
                   training_ ? state.normalized.row(row) : y, output(index).target(row));
    if (training_) {
      state.rstd.data()[row] = rstd;
    }
  }
}

void Network::score(const Block& block) {
  const float* weight = parameters_ + layout_.head_weight;
  const float* bias = parameters_ + layout_.head_bias;
  for (size_t row = block.begin; row < block.end; ++row) {
    const float* y = output(depth() - 1).f32.row(row);
    logits_.start[row] = dot(hidden(), y, weight) + bias[0];
    logits_.end[row] = dot(hidden(), y, weight + hidden()) + bias[1];
  }
}

}  // namespace bertrand::cpu

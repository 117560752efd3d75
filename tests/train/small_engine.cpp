#include "small_engine.h"

#include <cmath>
#include <limits>
#include <random>

#include "base/random.h"

namespace bertrand::test {

BertConfig small_config() {
  BertConfig config;
  config.hidden_size = 4;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 2;
  config.intermediate_size = 8;
  config.vocab_size = 30;
  config.max_position_embeddings = 80;
  return config;
}

ParameterReader small_weights(uint32_t seed) {
  return [generator = std::mt19937(seed)](const ParameterInfo&, std::span<float> values) mutable {
    for (float& value : values) {
      value = static_cast<float>(generator() % 2001) / 1000.0F - 1.0F;
    }
  };
}

SmallEngine::SmallEngine(const BertConfig& config)
    : config_(config), infos_(bert_parameters(config)) {
  for (const ParameterInfo& info : infos_) {
    weights_.emplace_back(static_cast<size_t>(info.size()), 0.0F);
  }
  gradients_ = first_ = second_ = weights_;
}

void SmallEngine::load(Values& values, const ParameterReader& read) const {
  for (size_t i = 0; i < infos_.size(); ++i) {
    read(infos_[i], values[i]);
  }
}

void SmallEngine::store(const Values& values, const ParameterWriter& write) const {
  for (size_t i = 0; i < infos_.size(); ++i) {
    write(infos_[i], values[i]);
  }
}

float* SmallEngine::embedding(Values& values, int32_t id) const {
  return values[0].data() + static_cast<size_t>(id) * static_cast<size_t>(config_.hidden_size);
}

std::vector<float> SmallEngine::dropout_mask(const PackedBatch& batch,
                                             const Dropout& dropout) const {
  std::vector<float> keep;
  for (size_t window = 0; window < batch.windows(); ++window) {
    for (uint32_t token = 0; token < batch.length(window); ++token) {
      const auto bits = Philox::generate({token, static_cast<uint32_t>(batch.keys[window]),
                                          static_cast<uint32_t>(dropout.step), 0},
                                         {static_cast<uint32_t>(dropout.seed), 0});
      const bool kept = static_cast<double>(bits[0]) / 4294967296.0 >= dropout.hidden;
      keep.push_back(kept ? static_cast<float>(1 / (1 - dropout.hidden)) : 0.0F);
    }
  }
  return keep;
}

SpanLogits SmallEngine::scores(const PackedBatch& batch, const std::vector<float>& keep) const {
  const auto hidden = static_cast<size_t>(config_.hidden_size);
  const std::vector<float>& head = weights_[infos_.size() - 2];
  const std::vector<float>& bias = weights_[infos_.size() - 1];
  SpanLogits logits;
  for (size_t token = 0; token < batch.tokens(); ++token) {
    float sums[2] = {bias[0], bias[1]};
    const float* row = weights_[0].data() + static_cast<size_t>(batch.ids[token]) * hidden;
    for (size_t i = 0; i < hidden; ++i) {
      sums[0] += head[i] * row[i] * keep[token];
      sums[1] += head[hidden + i] * row[i] * keep[token];
    }
    logits.start.push_back(sums[0]);
    logits.end.push_back(sums[1]);
  }
  return logits;
}

SpanLogits SmallEngine::forward(const PackedBatch& batch) {
  return scores(batch, std::vector<float>(batch.tokens(), 1.0F));
}

double SmallEngine::backward(const PackedBatch& batch, const SpanTargets& targets,
                             const Dropout& dropout, double weight) {
  backward_keys.push_back(batch.keys);
  backward_weights.push_back(weight);
  dropouts.push_back(dropout);
  const std::vector<float> keep = dropout_mask(batch, dropout);
  const SpanLogits logits = scores(batch, keep);
  const auto hidden = static_cast<size_t>(config_.hidden_size);
  const std::vector<float>& head = weights_[infos_.size() - 2];
  std::vector<float>& head_gradient = gradients_[infos_.size() - 2];
  std::vector<float>& bias_gradient = gradients_[infos_.size() - 1];
  double loss = 0;
  for (size_t window = 0; window < batch.windows(); ++window) {
    const auto begin = static_cast<size_t>(batch.offsets[window]);
    for (size_t side = 0; side < 2; ++side) {
      const float* score = (side == 0 ? logits.start : logits.end).data() + begin;
      const auto target = static_cast<size_t>((side == 0 ? targets.start : targets.end)[window]);
      double sum = 0;
      for (size_t token = 0; token < batch.length(window); ++token) {
        sum += std::exp(static_cast<double>(score[token]));
      }
      loss += (std::log(sum) - static_cast<double>(score[target])) / 2;
      for (size_t token = 0; token < batch.length(window); ++token) {
        const double part = std::exp(static_cast<double>(score[token])) / sum;
        const auto slope = static_cast<float>(weight * (part - (token == target ? 1.0 : 0.0)) / 2);
        float* gradient = embedding(gradients_, batch.ids[begin + token]);
        const float* row = embedding(weights_, batch.ids[begin + token]);
        for (size_t i = 0; i < hidden; ++i) {
          head_gradient[side * hidden + i] += slope * row[i] * keep[begin + token];
          gradient[i] += slope * head[side * hidden + i] * keep[begin + token];
        }
        bias_gradient[side] += slope;
      }
    }
  }
  return broken_loss_at == steps_ ? std::numeric_limits<double>::quiet_NaN() : loss;
}

void SmallEngine::reduce_gradients(ProcessGroup& group) {
  for (std::vector<float>& gradient : gradients_) {
    group.sum(gradient);
  }
}

StepReport SmallEngine::step(double learning_rate, const OptimizerSettings& settings) {
  rates.push_back(learning_rate);
  double sum = 0;
  for (const auto& gradient : gradients_) {
    for (const float value : gradient) {
      sum += static_cast<double>(value) * static_cast<double>(value);
    }
  }
  if (broken_gradient_at == steps_) {
    return {std::numeric_limits<double>::infinity()};
  }
  ++steps_;
  const auto beta1 = static_cast<float>(settings.beta1);
  const auto beta2 = static_cast<float>(settings.beta2);
  for (size_t p = 0; p < infos_.size(); ++p) {
    for (size_t i = 0; i < weights_[p].size(); ++i) {
      const float g = gradients_[p][i];
      first_[p][i] = beta1 * first_[p][i] + (1 - beta1) * g;
      second_[p][i] = beta2 * second_[p][i] + (1 - beta2) * g * g;
      weights_[p][i] -= static_cast<float>(learning_rate) * first_[p][i] /
                        (std::sqrt(second_[p][i]) + static_cast<float>(settings.epsilon));
      gradients_[p][i] = 0;
    }
  }
  return {std::sqrt(sum)};
}

void SmallEngine::store_moments(Moment moment, const ParameterWriter& write) const {
  store(moment == Moment::first ? first_ : second_, write);
}

void SmallEngine::load_moments(Moment moment, const ParameterReader& read, uint64_t steps) {
  load(moment == Moment::first ? first_ : second_, read);
  steps_ = steps;
}

}  // namespace bertrand::test

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace bertrand::test {

/// A BERT's parameters of which only the word embeddings and the head are used: a token's scores
/// are qa_outputs applied to its embedding. Real gradients, dropout and Adam; small enough to check
/// by eye, and quick.
class SmallEngine : public Engine {
 public:
  explicit SmallEngine(const BertConfig& config);

  const BertConfig& config() const override { return config_; }
  const std::vector<ParameterInfo>& parameters() const override { return infos_; }
  void load_parameters(const ParameterReader& read) override { load(weights_, read); }
  void store_parameters(const ParameterWriter& write) const override { store(weights_, write); }
  SpanLogits forward(const PackedBatch& batch) override;
  double backward(const PackedBatch& batch, const SpanTargets& targets, const Dropout& dropout,
                  double weight) override;
  void reduce_gradients(ProcessGroup& group) override;
  void store_gradients(const ParameterWriter& write) const override { store(gradients_, write); }
  StepReport step(double learning_rate, const OptimizerSettings& settings) override;
  uint64_t steps() const override { return steps_; }
  void store_moments(Moment moment, const ParameterWriter& write) const override;
  void load_moments(Moment moment, const ParameterReader& read, uint64_t steps) override;

  /// What was asked of it.
  std::vector<std::vector<uint64_t>> backward_keys;
  std::vector<double> backward_weights;
  std::vector<Dropout> dropouts;
  std::vector<double> rates;

  /// The loss of the step after so many steps is not a number.
  std::optional<uint64_t> broken_loss_at;
  /// So is the gradient.
  std::optional<uint64_t> broken_gradient_at;

 private:
  using Values = std::vector<std::vector<float>>;  // [parameter][its size]

  void load(Values& values, const ParameterReader& read) const;
  void store(const Values& values, const ParameterWriter& write) const;
  float* embedding(Values& values, int32_t id) const;
  SpanLogits scores(const PackedBatch& batch, const std::vector<float>& keep) const;
  std::vector<float> dropout_mask(const PackedBatch& batch, const Dropout& dropout) const;

  BertConfig config_;
  std::vector<ParameterInfo> infos_;
  Values weights_, gradients_, first_, second_;
  uint64_t steps_ = 0;
};

/// A config so small that every test's file is.
BertConfig small_config();

/// Initial weights of a small model, the same for the same seed.
ParameterReader small_weights(uint32_t seed);

}  // namespace bertrand::test

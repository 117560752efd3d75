#pragma once

#include <cstdint>
#include <memory>
#include <torch/nn/module.h>
#include <vector>

#include "engine/torch/attention.h"
#include "engine/torch/batch.h"
#include "engine/torch/dropout.h"
#include "engine/torch_border.h"

namespace bertrand::plugin {

/// How a pass is computed.
struct Pass {
  at::ScalarType products = at::kFloat;  ///< what products of matrices are computed in
  AttentionKind attention = AttentionKind::plain;
  PassDropout dropout;
};

/// Scores of every token, [T] each, f32.
struct Scores {
  at::Tensor start, end;
};

/// BERT with a span head over packed tokens. Its parameters, all f32, bear the names and shapes of
/// bert_parameters(); their values are not set.
class Model : public torch::nn::Module {
 public:
  Model(const BertrandTorchConfig& config, const c10::Device& device);
  ~Model() override;

  /// Passes without gradients whose products are of this type, not f32, read the weights of layers
  /// as they are now, rounded to it; to be called again when they have changed. The rounded ones
  /// stay where they are in memory.
  void round_weights(at::ScalarType type);

  /// What leaves the embeddings and each layer goes to `states` where that is not null, [T,
  /// hidden_size] each.
  Scores forward(const DeviceBatch& batch, const Pass& pass,
                 std::vector<at::Tensor>* states = nullptr);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// The sum over windows of (start + end cross-entropy) / 2, each a softmax over the window's own
/// tokens; a scalar. Source: Devlin et al., arXiv:1810.04805, section 4.2.
at::Tensor span_loss(const Scores& scores, const DeviceBatch& batch);

}  // namespace bertrand::plugin

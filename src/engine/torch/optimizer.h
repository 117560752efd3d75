#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

#include "engine/torch/lists.h"
#include "engine/torch_border.h"

namespace bertrand::plugin {

/// Adam over all parameters in few kernels, whatever their number. The two forms and the clipping
/// are those of the native engine: AdamW (Loshchilov, Hutter, arXiv:1711.05101) and BertAdam.
class Optimizer {
 public:
  /// `decays` says of which parameters weight decay applies.
  Optimizer(std::vector<at::Tensor> parameters, std::vector<bool> decays);

  /// One step with the gradients divided by `gradient_scale`, which are used up: afterwards they
  /// hold nothing of use. A norm that is not finite leaves parameters and moments as they are.
  /// Returns the norm of all gradients.
  double step(double learning_rate, const BertrandTorchOptimizer& settings, double gradient_scale,
              std::vector<at::Tensor>& gradients);

  uint64_t steps() const { return steps_; }
  void set_steps(uint64_t steps) { steps_ = steps; }

  const std::vector<at::Tensor>& first_moments() const { return first_; }
  const std::vector<at::Tensor>& second_moments() const { return second_; }

 private:
  std::vector<at::Tensor> those(const std::vector<at::Tensor>& all, bool decay) const;
  void fused_step(double learning_rate, const BertrandTorchOptimizer& settings,
                  const std::vector<at::Tensor>& gradients);
  void list_step(double learning_rate, const BertrandTorchOptimizer& settings,
                 const std::vector<at::Tensor>& gradients);

  Lists lists_;
  std::vector<at::Tensor> parameters_;
  std::vector<bool> decays_;
  std::vector<at::Tensor> first_, second_;
  uint64_t steps_ = 0;
};

}  // namespace bertrand::plugin
